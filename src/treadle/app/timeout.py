"""Walltimes of Python functions.

Python can interrupt a thread only between two steps of Python code: an exception is left for the
thread and raised at its next step. So a loop is interrupted at once, and a call into C
(`time.sleep`, a long NumPy operation, a read from a socket) when it returns. Either way the
outcome is `AppTimeout`, also where the function swallowed the exception and returned a value.

Two rules keep the exception where it belongs. Whoever comes first, the end of the function or the
deadline, is decided once, by one atomic step. And when the deadline has won, the thread does not
leave here before the exception has been raised, so it never hits anyone else.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from treadle.app._timer import call_later
from treadle.errors import AppTimeout

#: Far more steps than it takes until an exception that was left is raised.
_STEPS = 1_000_000


class _WalltimeOver(AppTimeout):
    """What is raised inside the function; nobody sees it but the function itself."""


class _Race:
    """Which came first, the end of the function or its deadline."""

    __slots__ = ("_thread_id", "_told", "_winner")

    def __init__(self) -> None:
        self._thread_id = threading.get_ident()
        self._winner: dict[str, str] = {}
        self._told = False

    def deadline_reached(self) -> None:
        """Interrupt the function, unless it has ended; called by the timer."""
        if self._won_by("deadline"):
            _set_async_exception(self._thread_id, _WalltimeOver)
            self._told = True

    def function_ended(self) -> None:
        """Keep the deadline from interrupting what comes next; may be called again."""
        if self._won_by("function"):
            return
        while not self._told:  # the timer is between two lines of its own
            time.sleep(0.0001)
        _have_it_raised(self._thread_id)

    @property
    def is_late(self) -> bool:
        return self._winner.get("first") == "deadline"

    def _won_by(self, who: str) -> bool:
        # One step that cannot be interrupted: unlike a lock, it cannot be left half done by the
        # very exception that it guards against.
        return self._winner.setdefault("first", who) == who


def call_with_walltime(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    limit_s: float,
    name: str,
) -> Any:
    """Call a function that may run for so many seconds.

    Raises:
        AppTimeout: it ran longer; what it raised itself by then is chained.
    """
    race = _Race()
    error: BaseException | None = None
    result: Any = None
    alarm = None
    # The exception comes at most once, so a second try to end the race cannot be interrupted.
    try:
        try:
            alarm = call_later(limit_s, race.deadline_reached)
            result = func(*args, **kwargs)
        finally:
            race.function_ended()
    except BaseException as caught:  # noqa: BLE001 - looked at below
        error = caught
    try:
        race.function_ended()
    except _WalltimeOver as caught:
        error = error or caught
        race.function_ended()
    if alarm is not None:
        alarm.cancel()
    if race.is_late:
        raise _timed_out(name, limit_s, error)
    if error is not None:
        raise error
    return result


def _timed_out(name: str, limit_s: float, error: BaseException | None) -> AppTimeout:
    timeout = AppTimeout(f"app {name} ran longer than its walltime of {limit_s:g} s")
    if isinstance(error, _WalltimeOver):
        # The traceback shows where the function was.
        return timeout.with_traceback(error.__traceback__)
    timeout.__cause__ = error
    return timeout


@lru_cache(maxsize=1)
def _setter() -> Callable[[Any, Any], int]:
    # Loaded with the first walltime that runs out: most programs never need it.
    import ctypes  # noqa: PLC0415

    function = ctypes.pythonapi.PyThreadState_SetAsyncExc
    return lambda thread_id, what: function(ctypes.c_ulong(thread_id), ctypes.py_object(what))


def _set_async_exception(thread_id: int, what: type[BaseException]) -> None:
    """Leave an exception for a thread; it takes the place of one that was not raised yet."""
    _setter()(thread_id, what)


def _have_it_raised(thread_id: int) -> None:
    """Make sure that no exception is left for this very thread.

    One that was left can be taken back too, but then the interpreter goes on looking for it, in
    all threads and for ever: everything is slower, and under a profiler nothing ends any more. So
    another is put in its place, and is raised here.
    """
    try:
        _set_async_exception(thread_id, _WalltimeOver)
        for _ in range(_STEPS):
            pass
    except _WalltimeOver:
        pass
