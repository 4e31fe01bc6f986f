"""The futures of a client: each wants one result of a scheduler's, for as long as it lives.

A future that was pickled is its identifier. Who unpickles it gets one whose slots are empty: it
belongs to the client that is current when it is first used, and says then what it wants.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED, PENDING
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar
from weakref import ref

from treadle.client._current import current_client
from treadle.cluster._calls import HERE
from treadle.cluster._task_here import aside, awaiting
from treadle.dataflow._lazy import OPEN, LazyFuture, lock
from treadle.errors import KeyConflict, ResultLost, SchedulerLost

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.dataflow._sink import RemoteValue
    from treadle.wire import TaskId

T = TypeVar("T")

#: What is at hand is loaded within this time; who waits longer for it gives up his turn.
_AT_HAND_S: Final = 0.05


class Owner(Protocol):
    """What a future needs of its client."""

    asynchronous: bool

    def cancel(self, futures: Any, *, force: bool = False, reason: str = "") -> Any:
        """Stop the tasks of these futures."""

    def retry(self, futures: Any) -> Any:
        """Try the tasks of these futures again."""

    def hold(self, future: ClientFuture[Any]) -> None:
        """Keep this future until it is done: somebody wants to hear of it."""

    def forget(self, id: TaskId) -> None:
        """The last future of this result is gone. Takes no lock: a garbage collector says it."""

    def disown(self, future: ClientFuture[Any]) -> None:
        """This future wants its result no longer."""

    def pickled(self, id: TaskId) -> None:
        """A future of this result was pickled: let it linger when the last one here is gone."""


class ClientFuture(LazyFuture[T]):
    """A result, now or later, here or on a worker.

    It is done when the outcome is known; the value is brought and loaded when `result` is first
    called, in the thread that calls it. Pass it to `submit`, `map` or `gather` without waiting.

    Attributes:
        key: what the task is called.
    """

    __slots__ = ("_client", "_loading", "_origin", "_print", "_reason", "_remote", "id", "key")

    #: Empty in a future that was unpickled, until it is first used.
    _client: Owner
    #: What the task is known to be, for those whose key a user chose.
    _print: bytes
    #: Why it was cancelled.
    _reason: str
    #: The future of the same result that was here first, if this one was unpickled beside it.
    _origin: ClientFuture[T] | None

    def __init__(self, client: Owner, id: TaskId, key: str) -> None:
        self.id = id
        self.key = key
        self._fill(client)

    def _fill(self, client: Owner) -> None:
        """Belong to this client."""
        self._result = self._exception = None
        self._sync = self._callbacks = self._listeners = None
        #: The result, until it has been loaded.
        self._remote: RemoteValue | None = None
        self._loading: threading.Lock | None = None
        self._origin = None
        self._print = b""
        self._reason = ""
        self._state = PENDING
        self._client = client

    def __getattr__(self, name: str) -> Any:
        if name in _SLOTS and not is_bound(self):
            current_client()._adopt(self)
            return getattr(self, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def client(self) -> Any:
        """The client that it belongs to."""
        return self._client

    @property
    def status(self) -> str:
        """'pending', 'finished', 'error' or 'cancelled'."""
        if self._state in OPEN:
            return "pending"
        if self._state == FINISHED:
            return "finished" if self._exception is None else "error"
        return "cancelled"

    @property
    def type(self) -> str:
        """The name of the result's type, as far as it is known."""
        remote = self._remote
        if remote is not None:
            return str(getattr(remote, "type", ""))
        return "" if self._state != FINISHED else type(self._result).__name__

    @property
    def nbytes(self) -> int | None:
        """The size of the result; None if that is not known (any more)."""
        return None if self._remote is None else self._remote.nbytes

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, at most `timeout` seconds; that covers its way here.

        Raises:
            TimeoutError: it is not there yet.
            CancelledError: it was cancelled; the text says why, as far as it is known.
            ResultLost, SchedulerLost: it is gone.
            BaseException: whatever the call raised.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if self._state != FINISHED:
            self._wait(timeout)
        if self._remote is not None:
            self._load(until)
        try:
            return LazyFuture.result(self)
        finally:
            del self  # the traceback holds this frame, which would hold the future

    def _load(self, until: float | None) -> None:
        loading = self._loading
        if loading is None:
            with lock:
                loading = self._loading = self._loading or threading.Lock()
        if not loading.acquire(timeout=-1.0 if until is None else _left(until)):
            raise TimeoutError
        try:
            remote = self._remote
            if remote is not None:
                self._result = _loaded(remote, until)
                self._remote = None
        finally:
            loading.release()

    def _wait(self, timeout: float | None) -> None:
        if self._state in OPEN:
            with aside(), suppress(CancelledError):
                LazyFuture._wait(self, timeout)
        if self._state != FINISHED:
            raise CancelledError(*([self._reason] if self._reason else []))

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(future)` once it is done; the future is kept until then."""
        if self._state in OPEN:
            self._client.hold(self)
        LazyFuture.add_done_callback(self, fn)

    def bring(self, then: Callable[[], None]) -> None:
        """Have the value brought to this machine, once the outcome is known; then call this."""

        def known(_: object) -> None:
            remote = self._remote
            if remote is None:
                then()
            else:
                remote.bring(then)

        self.add_listener(known)

    def cancel(self) -> bool:
        """Stop the task, and what waits for it; True if it is cancelled."""
        if self._state in OPEN:
            self._client.cancel([self])
        return self.cancelled()

    def retry(self) -> Any:
        """Try the task again, if it has failed, from the first that failed."""
        return self._client.retry([self])

    def release(self) -> None:
        """Want the result no longer; as the last reference to the future does when it goes."""
        if self._origin is None:
            self._client.disown(self)
        if self._state in OPEN:
            self._stop("it was released")

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # noqa: PLC0415 - only programs that await pay for it, and have

        loop = asyncio.get_running_loop()
        waiter = loop.create_future()

        def wake() -> None:
            if not waiter.done():
                waiter.set_result(None)

        def arrived() -> None:
            try:
                loop.call_soon_threadsafe(wake)
            except RuntimeError:
                return  # that loop has been closed: nobody waits any more

        self.bring(arrived)
        try:
            with awaiting():
                yield from waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.result()

    def __reduce__(self) -> Any:
        if HERE.arguments:
            raise TypeError("a future in an argument stands for its result")
        if is_bound(self):
            self._client.pickled(self.id)
        return revived, (type(self), self.id, self.key)

    # --- on the engine thread ----------------------------------------------------------------

    def _arrive(self, remote: RemoteValue) -> None:
        """There is a result."""
        self._remote = remote
        self._finish(FINISHED, None, None)

    def _stop(self, reason: str = "") -> None:
        """It was cancelled; or its result, which was there, was taken away."""
        self._reason = reason
        if not self._finish(CANCELLED_AND_NOTIFIED, None, None) and self._state == FINISHED:
            with lock:
                self._state = CANCELLED_AND_NOTIFIED
                self._remote = self._result = self._exception = None

    def _is_stale(self) -> bool:
        """Whether it stands for nothing any longer, so that the same call is to be made anew."""
        if self._state in OPEN:
            return False
        if self._state != FINISHED or isinstance(self._exception, ResultLost | SchedulerLost):
            return True
        return getattr(self._remote, "failure", None) is not None

    def _follow(self, origin: ClientFuture[T]) -> None:
        """End as the future of the same result has."""
        self._remote = origin._remote
        self._reason = origin._reason
        self._finish(origin._state, origin._result, origin._exception)

    def _reopen(self) -> None:
        """It had failed, and is tried again."""
        with lock:
            if self._state == FINISHED and self._exception is not None:
                self._exception = None
                self._state = PENDING

    def _same(self, seal: bytes) -> ClientFuture[T]:
        """This future, for who submits the same again.

        Raises:
            KeyConflict: it is another task.
        """
        if seal and self._print and seal != self._print:
            raise KeyConflict(
                f"the key {self.key!r} is that of another task ({self.status}), with another "
                f"function or other arguments: choose another key, or let go of that future first"
            )
        return self

    def __repr__(self) -> str:
        if not is_bound(self):
            return f"<{type(self).__name__} {self.key}: not used yet>"
        kind = f", {self.type}" if self.type else ""
        return f"<{type(self).__name__} {self.key}: {self.status}{kind}>"


class Hold(ref[ClientFuture[Any]]):
    """How a client knows a future: it is told when the future is gone.

    Not by the future's `__del__`: while that runs, other threads still find the future alive.
    """

    __slots__ = ("id",)

    id: TaskId


def held(future: ClientFuture[Any], gone: Callable[[Any], None]) -> Hold:
    """A hold on a future."""
    hold = Hold(future, gone)
    hold.id = future.id
    return hold


_SLOTS: Final = frozenset((*ClientFuture.__slots__, *LazyFuture.__slots__)) - {"id", "key"}


def is_bound(future: ClientFuture[Any]) -> bool:
    """Whether the future belongs to a client."""
    try:
        object.__getattribute__(future, "_client")
    except AttributeError:
        return False
    return True


def revived(kind: type[ClientFuture[Any]], id: TaskId, key: str) -> ClientFuture[Any]:
    """A future as it comes out of a pickle."""
    future = kind.__new__(kind)
    future.id = id
    future.key = key
    return future


def _loaded(remote: RemoteValue, until: float | None) -> Any:
    """The value. Where it has to be computed again, the turn is another's meanwhile."""
    left_s = None if until is None else _left(until)
    if getattr(remote, "is_here", True) or (left_s is not None and left_s <= _AT_HAND_S):
        return remote.load(left_s)
    try:
        return remote.load(_AT_HAND_S)
    except TimeoutError:
        with aside():
            return remote.load(None if until is None else _left(until))


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
