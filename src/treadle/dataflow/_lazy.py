"""Futures that cost nothing until somebody waits.

`LazyFuture` is a `concurrent.futures.Future` by class and by behaviour, but it makes its lock,
its waiters and its list of callbacks when they are first touched: a future nobody listens to is
settled by three assignments under one shared lock.

Two rules. *State* is changed under the shared lock, and under the future's own condition too once
that exists, so that the standard library's `wait` and `as_completed` work unchanged. *User code*
(callbacks) never runs under a lock, nor on the engine thread: there it is handed to the pool.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
)
from typing import Any, TypeVar, cast

from treadle.log import logger

T = TypeVar("T")

_log = logger("futures")

# Re-entrant: garbage collection may run a user's __del__, which may submit, while we hold it.
lock = threading.RLock()

OPEN = (PENDING, RUNNING)


def renew_lock() -> None:
    """In a forked child the lock may be held by a thread that is not there."""
    global lock
    lock = threading.RLock()


class EngineThread:
    """Where the engine thread is, and how it gets rid of user code; set by `runtime`."""

    ident: int | None = None
    offload: Callable[[Callable[[], None]], None] | None = None


class Sync:
    """What only a future that somebody waits for needs."""

    __slots__ = ("condition", "waiters")

    def __init__(self) -> None:
        self.condition = threading.Condition()
        self.waiters: list[Any] = []


class LazyFuture(Future[T]):
    """A future that makes its lock and lists when they are first touched."""

    __slots__ = ("_callbacks", "_exception", "_listeners", "_result", "_state", "_sync")

    _state: str
    _result: T | None
    _exception: BaseException | None
    _sync: Sync | None
    _callbacks: list[Callable[[Any], object]] | None
    _listeners: list[Callable[[Any], None]] | None

    def __init__(self) -> None:
        self._state = PENDING
        self._result = None
        self._exception = None
        self._sync = None
        self._callbacks = None
        self._listeners = None

    # --- what the standard library looks at -----------------------------------------------------

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override]
        return self._synced().condition

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        return self._synced().waiters

    @property
    def _done_callbacks(self) -> list[Callable[[Any], object]]:
        return self._callbacks or []

    def _synced(self) -> Sync:
        sync = self._sync
        if sync is None:
            with lock:
                sync = self._sync
                if sync is None:
                    sync = self._sync = Sync()
        return sync

    # --- asking ---------------------------------------------------------------------------------

    def done(self) -> bool:
        """True once the outcome is known; it never changes after that."""
        return self._state not in OPEN

    def running(self) -> bool:
        """True while an executor says that it runs."""
        return self._state == RUNNING

    def cancelled(self) -> bool:
        """True if it was cancelled."""
        return self._state in (CANCELLED, CANCELLED_AND_NOTIFIED)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, at most `timeout` seconds.

        Raises:
            TimeoutError: it is not there yet.
            CancelledError: it was cancelled.
            BaseException: whatever the call raised.
        """
        if self._state != FINISHED:
            self._wait(timeout)
        if self._exception is not None:
            try:
                raise self._exception
            finally:
                del self  # the traceback holds this frame, which would hold the future
        return cast("T", self._result)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the exception (None: there is a result), at most `timeout` seconds."""
        if self._state != FINISHED:
            self._wait(timeout)
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        condition = self._condition
        with condition:
            if self._state in OPEN:
                condition.wait_for(self.done, timeout)
            if self._state in OPEN:
                raise TimeoutError
        if self._state != FINISHED:
            raise CancelledError

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(future)` once it is done: callbacks of one future in the order added.

        An exception that it raises is logged and harms nobody.
        """
        with lock:
            if self._state in OPEN or self._callbacks is not None:
                if self._callbacks is None:
                    self._callbacks = []
                self._callbacks.append(fn)
                return
        try:
            fn(self)
        except Exception:  # noqa: BLE001 - a callback's exception harms nobody, as in the library
            _log.exception("exception calling callback for %r", self)

    def add_listener(self, fn: Callable[[Any], None]) -> None:
        """Like `add_done_callback`, for Treadle's own short functions that run no user code.

        It is called where the future is settled, which may be the engine thread.
        """
        with lock:
            if self._state in OPEN:
                if self._listeners is None:
                    self._listeners = []
                self._listeners.append(fn)
                return
        fn(self)

    # --- settling -------------------------------------------------------------------------------

    def cancel(self) -> bool:
        """Cancel it if it does not run yet; True if it is cancelled."""
        if self._finish(CANCELLED, None, None, (PENDING,)):
            return True
        return self.cancelled()

    def set_running_or_notify_cancel(self) -> bool:
        """For executors: False if it was cancelled, else it runs from now on."""
        with lock:
            if self._state == PENDING:
                self._state = RUNNING
                return True
            if self._state == CANCELLED:
                self._state = CANCELLED_AND_NOTIFIED
            elif self._state != CANCELLED_AND_NOTIFIED:
                raise InvalidStateError(f"{self._state}: {self!r}")
            sync = self._sync
        if sync is not None:
            with sync.condition:
                for waiter in sync.waiters:
                    waiter.add_cancelled(self)
        return False

    def set_result(self, result: T) -> None:
        """For executors: the call has returned."""
        if not self._finish(FINISHED, result, None):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def set_exception(self, exception: BaseException | None) -> None:
        """For executors: the call has raised."""
        if not self._finish(FINISHED, None, exception):
            raise InvalidStateError(f"{self._state}: {self!r}")

    def _finish(
        self,
        state: str,
        result: Any,
        exception: BaseException | None,
        allowed: tuple[str, ...] = OPEN,
    ) -> bool:
        """Settle it, once; False if it was settled before."""
        with lock:
            if self._state not in allowed:
                return False
            sync = self._sync
            if sync is None:
                self._result = result
                self._exception = exception
                self._state = state
        if sync is not None:
            with sync.condition, lock:
                if self._state not in allowed:
                    return False
                self._result = result
                self._exception = exception
                self._state = state
                sync.condition.notify_all()
                self._tell_waiters(sync)
        if self._listeners is not None:
            listeners, self._listeners = self._listeners, None
            for listener in listeners:
                listener(self)
        if self._callbacks is not None:
            if EngineThread.ident == threading.get_ident() and EngineThread.offload is not None:
                EngineThread.offload(self._run_callbacks)
            else:
                self._run_callbacks()
        return True

    def _tell_waiters(self, sync: Sync) -> None:
        for waiter in sync.waiters:
            if self._state == CANCELLED_AND_NOTIFIED:
                waiter.add_cancelled(self)
            elif self._exception is not None:
                waiter.add_exception(self)
            elif self._state == FINISHED:
                waiter.add_result(self)

    def _run_callbacks(self) -> None:
        """Call all callbacks in the order added; later ones queue up behind until none is left."""
        callbacks = self._callbacks
        if callbacks is None:
            return
        index = 0
        while True:
            with lock:
                if index == len(callbacks):
                    self._callbacks = None
                    return
                fn = callbacks[index]
            index += 1
            try:
                fn(self)
            except BaseException:  # noqa: BLE001 - it is the callback's own, and ends here
                _log.exception("exception calling callback for %r", self)

    def __repr__(self) -> str:
        name, state = type(self).__name__, self._state.lower()
        if self._state == FINISHED:
            outcome = self._exception if self._exception is not None else self._result
            verb = "raised" if self._exception is not None else "returned"
            state = f"{state} {verb} {type(outcome).__name__}"
        return f"<{name} at {id(self):#x} state={state}>"
