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
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import (
    CANCELLED,
    CANCELLED_AND_NOTIFIED,
    FINISHED,
    PENDING,
    RUNNING,
)
from typing import TYPE_CHECKING, Any, TypeVar, cast

from treadle.log import logger

if TYPE_CHECKING:
    from logging import Logger

T = TypeVar("T")

_log = logger("futures")

# Re-entrant: garbage collection may run a user's __del__, which may submit, while we hold it.
lock = threading.RLock()

OPEN = (PENDING, RUNNING)

#: How deep callbacks of one future may be called within each other before they queue up.
_MAX_NESTED = 50


def renew_lock() -> None:
    """In a forked child the lock may be held by a thread that is not there."""
    global lock
    lock = threading.RLock()


def is_main_thread() -> bool:
    """Whether Ctrl-C may strike here."""
    return threading.current_thread() is threading.main_thread()


def log_exception(log: Logger, text: str, *args: object) -> None:
    """Log the exception that is being handled; to show it is user code, which may raise too."""
    try:
        log.exception(text, *args)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and is_main_thread():
            raise
        log.error("%s, and what it raised cannot be shown", text % args)


def pass_gate(gate: threading.Lock, timeout: float | None) -> bool:
    """Wait until a locked lock is released; False if it is not in time.

    The main thread looks up now and then: a Ctrl-C that strikes just before it falls asleep wakes
    nobody.
    """
    until = None if timeout is None else time.monotonic() + timeout
    nap_s = _FIRST_NAP_S if is_main_thread() else threading.TIMEOUT_MAX
    while True:
        left_s = nap_s if until is None else min(nap_s, max(0.0, until - time.monotonic()))
        if gate.acquire(timeout=left_s):
            return True
        if until is not None and time.monotonic() >= until:
            return False
        nap_s = min(nap_s * 2, _LAST_NAP_S)


#: How long the main thread sleeps at first, and at most, before it looks up.
_FIRST_NAP_S = 0.05
_LAST_NAP_S = 1.0


class EngineThread:
    """Where the engine thread is, and how it gets rid of user code; set by `runtime`."""

    ident: int | None = None
    offload: Callable[[Callable[[], None]], None] | None = None


class Callbacks:
    """What is to be called when a future is done, and how far that has got."""

    __slots__ = ("depth", "items", "runner")

    def __init__(self) -> None:
        self.items: deque[Callable[[Any], object]] | list[Callable[[Any], object]] = []
        #: The thread that calls them now; None: nobody does yet.
        self.runner: int | None = None
        #: How many of them are under way in that thread, one inside the other.
        self.depth = 0


class Sync:
    """What only a future that somebody waits for needs."""

    __slots__ = ("condition", "gates", "guard", "waiters")

    def __init__(self) -> None:
        # `with guard` cannot be interrupted between taking it and knowing that it is taken;
        # `with condition` can, because entering a condition is Python code.
        self.guard = threading.Lock()
        self.condition = threading.Condition(self.guard)
        self.waiters: list[Any] = []
        #: One locked lock for each thread in `result`, to be released when the future is done. A
        #: condition's own way of waiting can be interrupted where it holds too much or too little.
        self.gates: list[threading.Lock] = []

    def take(self) -> None:
        """Take the guard, even from one who will never give it back.

        Ctrl-C may strike inside `concurrent.futures.wait` while it takes the conditions of many
        futures: it leaves them taken. Whoever holds one does so for microseconds, so after a long
        wait (and a short one, once that has happened) it is ours, and is free again after us.
        """
        global _lost_until
        if self.guard.acquire(blocking=False):
            return
        patience_s = _SOON_S if time.monotonic() < _lost_until else _PATIENCE_S
        if not self.guard.acquire(timeout=patience_s):
            _lost_until = time.monotonic() + _LOST_S


#: How long a guard may be held before it counts as lost; how long, just after one was lost.
_PATIENCE_S = 0.5
_SOON_S = 0.001
#: How long "just after" is.
_LOST_S = 5.0
_lost_until = 0.0


class LazyFuture(Future[T]):
    """A future that makes its lock and lists when they are first touched."""

    __slots__ = ("_callbacks", "_exception", "_listeners", "_result", "_state", "_sync")

    _state: str
    _result: T | None
    _exception: BaseException | None
    _sync: Sync | None
    _callbacks: Callbacks | None
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
        callbacks = self._callbacks
        return [] if callbacks is None else list(callbacks.items)

    def _synced(self) -> Sync:
        sync = self._sync
        if sync is None:
            fresh = Sync()  # made outside the lock: making it may run garbage collection
            with lock:
                sync = self._sync
                if sync is None:
                    sync = self._sync = fresh
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
        sync = self._synced()
        gate = threading.Lock()
        gate.acquire()
        with sync.guard:
            if self._state in OPEN:
                sync.gates.append(gate)
        if self._state in OPEN and not pass_gate(gate, timeout):
            with sync.guard:
                if gate in sync.gates:
                    sync.gates.remove(gate)
            if self._state in OPEN:
                raise TimeoutError
        if self._state != FINISHED:
            raise CancelledError

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(future)` once it is done: callbacks of one future in the order added.

        An exception that it raises is logged and harms nobody.
        """
        with lock:
            callbacks = self._callbacks
            if callbacks is None and self._state in OPEN:
                callbacks = self._callbacks = Callbacks()
            if callbacks is not None:
                callbacks.items.append(fn)
                if not self._is_nested(callbacks):
                    return
        if callbacks is None:
            self._call(fn)
        else:
            self._run_callbacks()

    def _is_nested(self, callbacks: Callbacks) -> bool:
        """Whether a callback of this very future adds another, and may wait for it.

        Then that is called within, as in the standard library, but not to any depth.
        """
        return callbacks.runner == threading.get_ident() and callbacks.depth < _MAX_NESTED

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
        # Whoever waits looks at the state under the condition: they must see it change once.
        sync = self._synced()
        with sync.guard, lock:
            if self._state == CANCELLED:
                self._state = CANCELLED_AND_NOTIFIED
                self._tell_waiters(sync.waiters)
            elif self._state != CANCELLED_AND_NOTIFIED:
                raise RuntimeError(f"a future cannot begin to run twice: {self!r}")
        return False

    def _begin_run(self) -> bool:
        """As above for an executor of ours; False too if it was failed before it could begin."""
        with lock:
            if self._state == PENDING:
                self._state = RUNNING
                return True
        if self._state == CANCELLED:
            self.set_running_or_notify_cancel()
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
        if sync is not None and not self._finish_in_sight(sync, state, result, exception, allowed):
            return False
        if self._listeners is not None:
            listeners, self._listeners = self._listeners, None
            for listener in listeners:
                listener(self)
        if type(self._callbacks) is Callbacks:
            self._call_back()
        return True

    def _finish_in_sight(
        self,
        sync: Sync,
        state: str,
        result: Any,
        exception: BaseException | None,
        allowed: tuple[str, ...],
    ) -> bool:
        """The same where somebody may be waiting."""
        sync.take()
        try:
            with lock:
                if self._state not in allowed:
                    return False
                self._result = result
                self._exception = exception
                self._state = state
            for gate in sync.gates:
                gate.release()
            sync.gates.clear()
            sync.condition.notify_all()
            self._tell_waiters(sync.waiters)
            return True
        finally:
            sync.guard.release()

    def _tell_waiters(self, waiters: list[Any]) -> None:
        for waiter in waiters:
            if self._state == CANCELLED_AND_NOTIFIED:
                waiter.add_cancelled(self)
            elif self._exception is not None:
                waiter.add_exception(self)
            elif self._state == FINISHED:
                waiter.add_result(self)

    def _call_back(self) -> None:
        """Have the callbacks called: here, but on the engine thread by the pool."""
        if EngineThread.ident == threading.get_ident() and EngineThread.offload is not None:
            EngineThread.offload(self._run_callbacks)
        else:
            self._run_callbacks()

    def _run_callbacks(self) -> None:
        """Call all callbacks in the order added; later ones queue up behind until none is left."""
        callbacks = self._callbacks
        if callbacks is None:
            return
        callbacks.runner = threading.get_ident()
        callbacks.depth += 1
        interrupt: KeyboardInterrupt | None = None
        while (fn := self._next_callback(callbacks)) is not None:
            try:
                self._call(fn)
            except KeyboardInterrupt as error:  # for the program, once all have been called
                interrupt = error
        callbacks.depth -= 1
        if interrupt is not None:
            raise interrupt

    def _next_callback(self, callbacks: Callbacks) -> Callable[[Any], object] | None:
        with lock:
            items = callbacks.items
            if items:
                if type(items) is list:
                    if len(items) == 1:
                        return items.pop()
                    items = callbacks.items = deque(items)
                return cast("deque[Callable[[Any], object]]", items).popleft()
            if callbacks.depth == 1:
                self._callbacks = None
            return None

    def _call(self, fn: Callable[[Any], object]) -> None:
        try:
            fn(self)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and is_main_thread():
                raise  # Ctrl-C is not the callback's: it is for the program
            log_exception(_log, "a callback of %s raised", type(self).__name__)

    def _reset(self) -> None:
        """In a forked child: locks may be held, and callbacks are the parent's to call."""
        self._sync = None
        self._callbacks = None

    def __repr__(self) -> str:
        name, state = type(self).__name__, self._state.lower()
        if self._state == FINISHED:
            outcome = self._exception if self._exception is not None else self._result
            verb = "raised" if self._exception is not None else "returned"
            state = f"{state} {verb} {type(outcome).__name__}"
        return f"<{name} at {id(self):#x} state={state}>"
