"""The futures of a client: each wants one result of a scheduler's, for as long as it lives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from treadle.dataflow._lazy import OPEN, LazyFuture

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.dataflow._sink import RemoteValue
    from treadle.wire import TaskId

T = TypeVar("T")


class Owner(Protocol):
    """What a future needs of its client."""

    def cancel(self, futures: Any, *, force: bool = False, reason: str = "") -> None:
        """Stop the tasks of these futures."""

    def hold(self, future: ClientFuture[Any]) -> None:
        """Keep this future until it is done: somebody wants to hear of it."""

    def forget(self, id: TaskId) -> None:
        """The last future of this result is gone. Takes no lock: a garbage collector says it."""


class ClientFuture(LazyFuture[T]):
    """A result, now or later, here or on a worker.

    It is done when the outcome is known; the value is brought and loaded when `result` is first
    called, in the thread that calls it. Pass it to `submit`, `map` or `gather` without waiting.

    Attributes:
        key: what the task is called.
    """

    __slots__ = ("_client", "_loading", "_remote", "id", "key")

    def __init__(self, client: Owner, id: TaskId, key: str) -> None:
        LazyFuture.__init__(self)
        self.id = id
        self.key = key
        self._client = client
        #: The result, until it has been loaded.
        self._remote: RemoteValue | None = None
        self._loading = threading.Lock()

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
            CancelledError: it was cancelled.
            ResultLost, SchedulerLost: it is gone.
            BaseException: whatever the call raised.
        """
        until = None if timeout is None else time.monotonic() + timeout
        if self._state != FINISHED:
            self._wait(timeout)
        if self._remote is not None:
            left_s = -1.0 if until is None else max(0.0, until - time.monotonic())
            if not self._loading.acquire(timeout=left_s):
                raise TimeoutError
            try:
                self._load(None if until is None else max(0.0, until - time.monotonic()))
            finally:
                self._loading.release()
        return LazyFuture.result(self)

    def _load(self, timeout: float | None) -> None:
        remote = self._remote
        if remote is not None:
            self._result = remote.load(timeout)
            self._remote = None

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

    def release(self) -> None:
        """Want the result no longer; as the last reference to the future does when it goes."""
        self._client.forget(self.id)

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
            yield from waiter
        except asyncio.CancelledError:
            self.cancel()
            raise
        return self.result()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a ClientFuture belongs to this process and cannot be pickled; pass it to submit() as "
            "an argument, or pass result()"
        )

    def __del__(self) -> None:
        try:
            self._client.forget(self.id)
        except AttributeError:
            return  # its constructor did not get that far

    # --- on the engine thread ----------------------------------------------------------------

    def _arrive(self, remote: RemoteValue) -> None:
        """There is a result."""
        self._remote = remote
        self._finish(FINISHED, None, None)

    def _stop(self) -> None:
        self._finish(CANCELLED_AND_NOTIFIED, None, None)

    def __repr__(self) -> str:
        kind = f", {self.type}" if self.type else ""
        return f"<ClientFuture {self.key}: {self.status}{kind}>"
