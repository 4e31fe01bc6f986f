"""The scaling machine of one executor: looks go in, orders for blocks come out.

Three strategies:

- `none`: `init_blocks` are started once, and that is all.
- `simple`: as many blocks as the open tasks need, between `min_blocks` and `max_blocks`; when there
  has been no task for a while, what is above `min_blocks` is ended.
- `htex_auto_scale`: also ends single idle blocks while there are tasks, but fewer than slots.

Blocks below `min_blocks` are replaced when they die. The laws: never more than `max_blocks`; what is
ended is never below `min_blocks`, nor below what the open tasks need; an order is the answer to a
look, and the next one waits for the next look.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from treadle.scaling._brake import Brake
from treadle.scaling._events import (
    Closing,
    Command,
    Event,
    Limits,
    Looked,
    ScaleIn,
    ScaleOut,
    Started,
)
from treadle.scaling._history import EARLY_S, History

STRATEGIES = ("none", "simple", "htex_auto_scale")

#: Sums of fractions are not exact.
_CLOSE = 1e-9
#: More tasks or workers than this are no figures.
_MOST = 1e12
#: A block that was started and that no look has shown for so long is not there.
_UNSEEN_S = 120.0


class Scaler:
    """Decides how many blocks one executor has.

    Args:
        strategy: one of `STRATEGIES`.
        max_idle_s: for how long blocks without work are kept.
        early_s: a block that has run for so long has not died at once.
    """

    def __init__(
        self, strategy: str = "simple", *, max_idle_s: float = 120.0, early_s: float = EARLY_S
    ) -> None:
        if strategy not in STRATEGIES:
            raise ValueError(f"strategy={strategy!r}: one of {', '.join(STRATEGIES)}")
        self.strategy = strategy
        self.max_idle_s = max_idle_s
        self.history = History(early_s=early_s)
        self.brake = Brake()
        #: When another look is wanted at the latest; None: the next regular one will do.
        self.wake_at: float | None = None
        self._closing = False
        #: How many of `init_blocks` have still to be started; None: nobody has looked yet.
        self._first: int | None = None
        #: Since when there has been no task, with more blocks than there must be.
        self._idle_since: float | None = None
        #: When blocks were started that no look has shown yet.
        self._new: dict[str, float] = {}

    def handle(self, event: Event, *, now: float) -> list[Command]:
        """Take note of what has happened; returns what is to be done."""
        match event:
            case Looked():
                return self._looked(event, now)
            case Started():
                self._started(event, now)
            case Closing():
                self._closing = True
        return []

    @property
    def alive(self) -> int:
        """How many blocks there are: they run, wait to, or have just been started."""
        return len(self.history.alive) + len(self._new)

    # --- what there is ----------------------------------------------------------------------------

    def _looked(self, look: Looked, now: float) -> list[Command]:
        self.history.saw(look.states, now, worked=look.worked)
        self._new = {
            block_id: at
            for block_id, at in self._new.items()
            if block_id not in look.states and now - at < _UNSEEN_S
        }
        self.wake_at = None
        alive = self.alive
        limits = look.limits
        if self._first is None:
            self._first = max(0, limits.init_blocks - len(look.states))
        needed = _blocks_for(look)
        room = limits.max_blocks - alive - look.leaving
        wanted = min(self._wanted(needed, alive, limits), room)
        allowed = self.brake.allow(wanted, self.history, now, max_blocks=limits.max_blocks)
        self._wake(self.brake.opens_at)
        if allowed > 0:
            self._idle_since = None
            return [ScaleOut(allowed)]
        return self._scale_in(look, needed, alive, now) if wanted <= 0 else []

    def _wanted(self, needed: int, alive: int, limits: Limits) -> int:
        """How many blocks more than there are."""
        first = 0 if self._closing or self._first is None else self._first
        if self.strategy == "none":
            return first
        least = 0 if self._closing else min(limits.min_blocks, limits.max_blocks)
        return max(first, least - alive, needed - alive)

    def _started(self, event: Started, now: float) -> None:
        got = len(event.blocks)
        self.brake.took(event.asked, got, now)
        self._new.update(dict.fromkeys(event.blocks, now))
        if self._first is not None:
            self._first = max(0, self._first - got)

    # --- what is too much -------------------------------------------------------------------------

    def _scale_in(self, look: Looked, needed: int, alive: int, now: float) -> list[Command]:
        if self.strategy == "none":
            return []
        least = min(look.limits.min_blocks, look.limits.max_blocks)
        if alive <= least:
            self._idle_since = None
            return []
        if look.tasks > 0:
            self._idle_since = None
            return self._end_idle(alive - max(least, needed, 1))
        if self._idle_since is None:
            self._idle_since = now
        until = self._idle_since + self.max_idle_s
        if now < until:
            self._wake(until)
            return []
        return [ScaleIn(alive - least)]

    def _end_idle(self, spare: int) -> list[Command]:
        if self.strategy != "htex_auto_scale" or spare <= 0:
            return []
        return [ScaleIn(spare, self.max_idle_s)]

    def _wake(self, at: float | None) -> None:
        if at is not None:
            self.wake_at = at if self.wake_at is None else min(self.wake_at, at)

    # --- in words ---------------------------------------------------------------------------------

    def explain(self, now: float, messages: Mapping[str, str | None]) -> str:
        """Why tasks may be waiting for blocks, in one sentence.

        Args:
            messages: what the provider says of blocks, such as why one waits.
        """
        alive = {i: self.history.blocks[i] for i in self.history.alive}
        running = sum(past.runs_since is not None for past in alive.values())
        parts = [f"{running} of {len(alive)} blocks run"]
        for block_id, past in alive.items():
            if past.runs_since is None:
                minutes = (now - past.seen_at) / 60
                why = f" ({message})" if (message := messages.get(block_id)) else ""
                parts.append(f"block {block_id} is {past.state.name}{why} for {minutes:.0f} min")
        if deaths := self.history.streak:
            parts.append(f"{deaths} died at once")
        if self.brake.refusals:
            parts.append(f"{self.brake.refusals} were refused by the provider")
        if self.brake.opens_at is not None:
            parts.append(f"the next is started in {max(0.0, self.brake.opens_at - now):.0f} s")
        return "; ".join(parts)


def _blocks_for(look: Looked) -> int:
    """How many blocks the open tasks need; at least one if there is any."""
    tasks = _figure(look.tasks)
    if tasks <= 0:
        return 0
    workers = _figure(look.workers_per_node)
    per_block = (workers if workers > 0 else 1.0) * max(1, look.limits.nodes)
    wished = tasks * _figure(look.limits.parallelism) / per_block
    return max(1, math.ceil(wished - _CLOSE))


def _figure(value: float) -> float:
    """The number, or the nearest that one can reckon with."""
    if value != value or value < 0:  # NaN
        return 0.0
    return min(float(value), _MOST)
