"""Which threads are Treadle's own.

A call that may have to wait for room (`max_pending`) must not wait on a thread that makes room:
the engine, the pool, and the threads that run tasks are marked, and never wait.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import update_wrapper
from typing import Any


class _Mark(threading.local):
    ours = False


_mark = _Mark()


def is_ours() -> bool:
    """True on a thread that Treadle started."""
    return _mark.ours


class Marked:
    """A function that runs on threads of others, which are ours while it runs."""

    __slots__ = ("__dict__", "func")

    def __init__(self, func: Callable[..., Any]) -> None:
        update_wrapper(self, func)
        self.func = func

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        before, _mark.ours = _mark.ours, True
        try:
            return self.func(*args, **kwargs)
        finally:
            _mark.ours = before

    def __reduce__(self) -> Any:
        return Marked, (self.func,)


def start_daemon(name: str, run: Callable[[], None]) -> threading.Thread:
    """Start a marked thread that does not keep the interpreter alive."""

    def marked() -> None:
        _mark.ours = True
        run()

    thread = threading.Thread(target=marked, name=name, daemon=True)
    thread.start()
    return thread
