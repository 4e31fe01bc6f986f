"""The brake on submissions: a batch system in trouble, or a block that cannot work, is not asked for
block after block.

- A bucket of tokens bounds how many blocks are started in a minute, whatever the reason.
- After a block that died at once the next one waits, twice as long each time; and until one is
  proven, there is never more than one that is not.
- The same, with longer waits, after a submission that was refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.scaling._history import History

#: The wait after the first block that died at once, and after the first that was refused.
_DIED_WAIT_S = 1.0
_REFUSED_WAIT_S = 5.0
_GROWTH = 2.0
_REFUSED_GROWTH = 3.0
_MOST_WAIT_S = 300.0

#: The bucket: how many submissions may come at once besides a full set of blocks; how fast it
#: fills: so many a minute, and so much of a full set.
_SPARE = 5
_REFILL_PER_MINUTE = 6.0
_REFILL_SHARE = 0.1


class Brake:
    """How many blocks may be started now."""

    def __init__(self) -> None:
        self._tokens: float | None = None
        self._filled_at = 0.0
        #: Submissions in a row that were refused.
        self.refusals = 0
        self._refused_at = 0.0
        #: When more may be allowed; None: there is nothing to wait for.
        self.opens_at: float | None = None

    def allow(self, wanted: int, history: History, now: float, *, max_blocks: int) -> int:
        """How many of the blocks that are wanted may be started now."""
        self.opens_at = None
        if wanted <= 0:
            return 0
        allowed = wanted
        until = self._closed_until(history)
        if until is not None:
            if now < until:
                self.opens_at = until
                return 0
            # What is on trial decides; its end, or its success, brings the next look.
            allowed = min(allowed, 1 - history.unproven)
        return max(0, self._within_rate(allowed, now, max_blocks))

    def took(self, asked: int, got: int, now: float) -> None:
        """So many of the blocks that were ordered could be started."""
        if self._tokens is not None:
            self._tokens -= got + (got < asked)
        if got < asked:
            self.refusals = 1 if got else self.refusals + 1
            self._refused_at = now
        elif got:
            self.refusals = 0

    def _closed_until(self, history: History) -> float | None:
        """Until when nothing is started; None: all has been well lately."""
        times = []
        deaths = history.streak
        if self.refusals:
            wait_s = _REFUSED_WAIT_S * _REFUSED_GROWTH ** min(self.refusals - 1, 10)
            times.append(self._refused_at + min(wait_s, _MOST_WAIT_S))
        if deaths and history.died_at is not None:
            wait_s = _DIED_WAIT_S * _GROWTH ** min(deaths - 1, 20)
            times.append(history.died_at + min(wait_s, _MOST_WAIT_S))
        return max(times, default=None)

    def _within_rate(self, wanted: int, now: float, max_blocks: int) -> int:
        size = float(max_blocks + _SPARE)
        per_second = max(_REFILL_PER_MINUTE, _REFILL_SHARE * max_blocks) / 60.0
        if self._tokens is None:
            self._tokens = size
        else:
            gained = max(0.0, now - self._filled_at) * per_second
            self._tokens = min(size, self._tokens + gained)
        self._filled_at = now
        if wanted > 0 and self._tokens < 1.0:
            self.opens_at = now + (1.0 - self._tokens) / per_second
        return min(wanted, int(self._tokens))
