"""Coroutine functions as tasks: each on an event loop of its own, in the task's thread.

When the loop has nothing to do, and something that it waits for is another task's, the turn is
somebody else's until it has.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treadle.cluster._slot_aside import Asides


def run_here(coroutine: Coroutine[Any, Any, Any], asides: Asides) -> Any:
    """What the coroutine returns."""

    def make() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(_Selector(asides))

    asides.loop_thread = threading.get_ident()
    try:
        with asyncio.Runner(loop_factory=make) as runner:
            return runner.run(coroutine)
    finally:
        asides.loop_thread = 0
        asides.awaits = 0


class _Selector(selectors.DefaultSelector):
    """Steps aside while it waits, if the wait is for others."""

    def __init__(self, asides: Asides) -> None:
        super().__init__()
        self._asides = asides

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if not self._asides.awaits or (timeout is not None and timeout <= 0):
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        with self._asides.aside():
            return super().select(timeout)
