"""One timer that is set anew only when it must ring earlier."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

#: Not set.
NEVER = math.inf


class Alarm:
    """Rings at the earliest time that was wanted; who wants to be woken again says so then.

    Args:
        loop: where it rings.
        ring: called, at most once for each time that was set.
        clock: what the times are of.
    """

    __slots__ = ("_clock", "_handle", "_loop", "_ring", "at")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ring: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._loop = loop
        self._ring = ring
        self._clock = clock
        self._handle: asyncio.TimerHandle | None = None
        #: When it rings. Look at it before calling `want`: mostly there is nothing to do.
        self.at = NEVER

    def want(self, at: float) -> None:
        """Ring at this time at the latest."""
        if at >= self.at:
            return
        if self._handle is not None:
            self._handle.cancel()
        self.at = at
        # Loops count in milliseconds: one that rings too early would be set again and again.
        delay = math.ceil(max(0.0, at - self._clock()) * 1000) / 1000
        self._handle = self._loop.call_later(delay, self._fire)

    def cancel(self) -> None:
        """Do not ring."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.at = NEVER

    def _fire(self) -> None:
        self._handle = None
        self.at = NEVER
        self._ring()
