"""Waiting for several futures: for all, for the first, or for each as it ends.

What is waited for may be of any client, also of an asynchronous one: then `wait` gives an
awaitable, and `as_completed` is walked through by `async for`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from treadle.client._flows import Flow, Pending, await_for, left, until, wait_for
from treadle.client._futures import ClientFuture
from treadle.client._nests import each
from treadle.dataflow._lazy import LazyFuture

if TYPE_CHECKING:
    from typing import Self

ALL_COMPLETED: Final = "ALL_COMPLETED"
FIRST_COMPLETED: Final = "FIRST_COMPLETED"
FIRST_EXCEPTION: Final = "FIRST_EXCEPTION"


class DoneAndNotDone(NamedTuple):
    """What `wait` has found."""

    done: set[ClientFuture[Any]]
    not_done: set[ClientFuture[Any]]


def wait(
    futures: Any, timeout: float | None = None, return_when: str = ALL_COMPLETED
) -> DoneAndNotDone:
    """Wait until futures are done, whatever has become of them.

    Args:
        futures: a future, or lists, tuples, sets and dicts of them.
        timeout: seconds; None: any.
        return_when: 'ALL_COMPLETED', 'FIRST_COMPLETED' or 'FIRST_EXCEPTION'.

    Returns:
        the done and the others; if their client is asynchronous, an awaitable of that.

    Raises:
        TimeoutError: that is not so in time.
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(
            f"return_when={return_when!r}: give 'ALL_COMPLETED', 'FIRST_COMPLETED' or "
            f"'FIRST_EXCEPTION'"
        )
    if timeout is not None and (isinstance(timeout, bool) or not isinstance(timeout, int | float)):
        raise TypeError(f"timeout={timeout!r}: give seconds; futures go into one list")
    nest = list(futures) if isinstance(futures, Iterator) else futures
    mine = list(dict.fromkeys(each(nest, ClientFuture)))
    found: DoneAndNotDone = _drive(mine, _wait(mine, timeout, return_when))
    return found


def _drive(futures: Sequence[ClientFuture[Any]], flow: Flow[Any]) -> Any:
    if futures and futures[0].client.asynchronous:
        return await_for(flow)
    return wait_for(flow)


def _wait(
    futures: Sequence[ClientFuture[Any]], timeout: float | None, return_when: str
) -> Flow[DoneAndNotDone]:
    least = min(1, len(futures)) if return_when == FIRST_COMPLETED else len(futures)
    yield from settled(futures, least, timeout, eager=return_when == FIRST_EXCEPTION)
    done = {future for future in futures if future.done()}
    return DoneAndNotDone(done, set(futures) - done)


def settled(
    futures: Sequence[ClientFuture[Any]],
    least: int,
    timeout: float | None = None,
    *,
    eager: bool = False,
    bring: bool = False,
) -> Flow[None]:
    """Wait until so many of these are done.

    Args:
        eager: or one of them has no result.
        bring: and their results are on this machine.

    Raises:
        TimeoutError: they are not, in so many seconds.
    """
    if not least:
        return
    gate: LazyFuture[None] = LazyFuture()
    countdown = _Countdown(least, gate, eager=eager)
    listen = countdown.brought if bring else countdown.done
    for future in futures:
        future.add_listener(listen)
    if not gate.done():
        yield Pending(gate, timeout)


class _Countdown:
    """Opens a gate when so many futures are done."""

    __slots__ = ("_eager", "_gate", "_least", "_lock")

    def __init__(self, least: int, gate: LazyFuture[None], *, eager: bool) -> None:
        self._least = least
        self._gate = gate
        self._eager = eager
        self._lock = threading.Lock()

    def done(self, future: ClientFuture[Any]) -> None:
        """It is done."""
        self._one()
        if self._eager and (future._exception is not None or future.cancelled()):
            self._gate._finish("FINISHED", None, None)

    def brought(self, future: ClientFuture[Any]) -> None:
        """It is done: have its result brought, if it is not here."""
        remote: Any = future._remote
        if remote is None or remote.is_here:
            self.done(future)
        else:
            future.bring(self._one)

    def _one(self) -> None:
        with self._lock:
            self._least -= 1
            last = not self._least
        if last:
            self._gate._finish("FINISHED", None, None)


def fire_and_forget(futures: Any) -> None:
    """Have these tasks run to their end, whoever may have lost interest in them.

    Args:
        futures: a future, or lists, tuples, sets and dicts of them.
    """
    by_client: dict[Any, list[ClientFuture[Any]]] = {}
    for future in each(futures, ClientFuture):
        by_client.setdefault(future.client, []).append(future)
    for client, mine in by_client.items():
        client._fire(mine)


class as_completed:
    """Futures, each as it ends; more can be added while they are walked through.

    Args:
        futures: some to begin with.
        timeout: seconds from now until all must have ended; None: any.
        with_results: give pairs of a future and its result. The result of a cancelled one is a
            CancelledError.
        raise_errors: with results, raise the error of one that failed; else it is its result.

    Raises:
        TimeoutError: while waiting, when the time is up.
    """

    def __init__(
        self,
        futures: Iterable[ClientFuture[Any]] = (),
        *,
        timeout: float | None = None,
        with_results: bool = False,
        raise_errors: bool = True,
    ) -> None:
        self.with_results = with_results
        self.raise_errors = raise_errors
        self._end = until(timeout)
        self._lock = threading.Lock()
        #: Those that have ended, and how often each of the others was added.
        self._ended: deque[ClientFuture[Any]] = deque()
        self._open: dict[ClientFuture[Any], int] = {}
        #: Told when something has ended.
        self._waiters: list[LazyFuture[None]] = []
        self.update(futures)

    def add(self, future: ClientFuture[Any]) -> None:
        """Wait for this too; as often as it is added it will be given."""
        if not isinstance(future, ClientFuture):
            raise TypeError(f"{future!r} is no future of a client")
        with self._lock:
            known = self._open.get(future, 0)
            self._open[future] = known + 1
        if not known:
            listen: Callable[[Any], None] = self._brings if self.with_results else self._ends
            future.add_listener(listen)

    def update(self, futures: Iterable[ClientFuture[Any]]) -> None:
        """Wait for these too."""
        for future in futures:
            self.add(future)

    def count(self) -> int:
        """How many have not been given."""
        with self._lock:
            return len(self._ended) + sum(self._open.values())

    def is_empty(self) -> bool:
        """Whether all have been given."""
        return not self._open and not self._ended

    def has_ready(self) -> bool:
        """Whether the next one has ended."""
        return bool(self._ended)

    def clear(self) -> None:
        """Wait for none of them any longer."""
        with self._lock:
            self._open.clear()
            self._ended.clear()
        self._wake()

    # --- walking through -------------------------------------------------------------------------

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        if not self._ended:
            wait_for(self._next())
        future = self._take()
        if future is None:
            raise StopIteration
        return self._given(future)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if not self._ended:
            await await_for(self._next())
        future = self._take()
        if future is None:
            raise StopAsyncIteration
        return self._given(future)

    def next_batch(self, block: bool = True) -> Any:
        """All that have ended, in a list; waits for one if `block` and none has.

        Of asynchronous clients: an awaitable of it. It is empty when there are no more.
        """
        first = next(iter([*self._open, *self._ended]), None)
        flow = self._batch(block)
        return (
            await_for(flow) if first is not None and first.client.asynchronous else wait_for(flow)
        )

    def batches(self) -> Iterator[list[Any]]:
        """Lists of those that have ended, until there are no more."""
        while batch := wait_for(self._batch(block=True)):
            yield batch

    async def abatches(self) -> AsyncIterator[list[Any]]:
        """The same for `async for`."""
        while batch := await await_for(self._batch(block=True)):
            yield batch

    def _batch(self, block: bool) -> Flow[list[Any]]:
        if block and not self._ended:
            yield from self._next()
        batch = []
        while (future := self._take()) is not None:
            batch.append(self._given(future))
        return batch

    def _next(self) -> Flow[None]:
        """Wait until one has ended, or there are none."""
        while True:
            with self._lock:
                if self._ended or not self._open:
                    return
                waiter: LazyFuture[None] = LazyFuture()
                self._waiters.append(waiter)
            yield Pending(waiter, left(self._end))

    def _take(self) -> ClientFuture[Any] | None:
        try:
            return self._ended.popleft()
        except IndexError:
            return None

    def _given(self, future: ClientFuture[Any]) -> Any:
        if not self.with_results:
            return future
        try:
            return future, future.result()
        except CancelledError as error:
            return future, error
        except Exception as error:
            if self.raise_errors:
                raise
            return future, error

    # --- told ------------------------------------------------------------------------------------

    def _brings(self, future: ClientFuture[Any]) -> None:
        remote: Any = future._remote
        if remote is None or remote.is_here:
            self._ends(future)
        else:
            future.bring(lambda: self._ends(future))

    def _ends(self, future: ClientFuture[Any]) -> None:
        with self._lock:
            times = self._open.pop(future, 0)
            self._ended.extend([future] * times)
        if times and self._waiters:
            self._wake()

    def _wake(self) -> None:
        with self._lock:
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter._finish("FINISHED", None, None)
