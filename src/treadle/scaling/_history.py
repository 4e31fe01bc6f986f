"""What became of an executor's blocks: which of them live, and how many died at once in a row.

A block is *proven* when it has run for a while, or when a worker of it has been heard of. One that
fails before that died at once: the next will most likely do the same.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from treadle.scaling._states import TERMINAL_STATES, JobState

#: Who runs for so long has not died at once.
EARLY_S = 30.0

_FAILURES = frozenset({JobState.FAILED, JobState.MISSING})
_SAYS_NOTHING = frozenset({JobState.CANCELLED, JobState.SCALED_IN})


class Past:
    """What is known of one block."""

    __slots__ = ("proven", "runs_since", "seen_at", "state")

    def __init__(self, now: float) -> None:
        self.seen_at = now
        #: When it was first seen running; None: never.
        self.runs_since: float | None = None
        self.proven = False
        self.state = JobState.UNKNOWN

    @property
    def ended(self) -> bool:
        """Whether it has ended."""
        return self.state in TERMINAL_STATES

    @property
    def died_at_once(self) -> bool:
        """Whether it failed before it was proven."""
        return self.state in _FAILURES and not self.proven


class History:
    """The blocks of one executor, in the order in which they were started."""

    def __init__(self, *, early_s: float = EARLY_S) -> None:
        self.early_s = early_s
        self.blocks: dict[str, Past] = {}
        #: When the last block died at once; None: none has.
        self.died_at: float | None = None

    def saw(
        self, states: Mapping[str, JobState], now: float, *, worked: Collection[str] = ()
    ) -> None:
        """Take note of the states of all blocks that are known; others are forgotten.

        Args:
            worked: blocks of which workers have been heard.
        """
        for block_id in self.blocks.keys() - states.keys():
            del self.blocks[block_id]
        for block_id, state in states.items():
            past = self.blocks.get(block_id)
            if past is None:
                past = self.blocks[block_id] = Past(now)
            if past.ended:
                continue
            if block_id in worked:
                past.proven = True
            if state is not JobState.UNKNOWN:
                self._moved(past, state, now)
            if past.runs_since is not None and now - past.runs_since >= self.early_s:
                past.proven = True

    def _moved(self, past: Past, state: JobState, now: float) -> None:
        past.state = state
        if state is JobState.RUNNING and past.runs_since is None:
            past.runs_since = now
        if past.died_at_once and past.runs_since is not None:
            past.proven = now - past.runs_since >= self.early_s
        if past.died_at_once:
            self.died_at = now

    @property
    def alive(self) -> list[str]:
        """The blocks that have not ended: they run, or wait to."""
        return [block_id for block_id, past in self.blocks.items() if not past.ended]

    @property
    def unproven(self) -> int:
        """How many blocks live of which it is not known whether they are any good."""
        return sum(not past.ended and not past.proven for past in self.blocks.values())

    @property
    def streak(self) -> int:
        """How many blocks have died at once since one was any good."""
        count = 0
        for past in reversed(self.blocks.values()):
            if past.died_at_once:
                count += 1
            elif past.proven or (past.ended and past.state not in _SAYS_NOTHING):
                break
        return count

    def is_hopeless(self, threshold: int) -> bool:
        """Whether so many blocks have died at once in a row, and none is left."""
        return self.streak >= threshold and not self.alive
