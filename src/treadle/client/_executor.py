"""A client for code that knows nothing of clients: the interface of `concurrent.futures`.

    with client.get_executor(retries=2) as pool:
        for result in pool.map(simulate, range(1000)):
            ...

Its futures are the client's own: passed to another call they are dependencies, and `cancel` stops
also what runs. As in the standard library, a call that was submitted runs, whether or not anybody
keeps its future: also if the program ends meanwhile.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import inspect
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from treadle import wire
from treadle.client._tasks import TaskCalls
from treadle.cluster import _wanting
from treadle.serialize._by_name import hide

if TYPE_CHECKING:
    from treadle.client._client import Client
    from treadle.client._futures import ClientFuture
    from treadle.wire import TaskId

P = ParamSpec("P")
T = TypeVar("T")

#: Options of single tasks, which make no sense for all calls of an executor.
_OF_ONE = frozenset({"key", "actor", "metadata"})
_PARAMETERS = inspect.signature(TaskCalls.submit).parameters.values()
#: What `submit` takes by keyword; a function may mean something else by these names.
_KEYWORDS = frozenset(p.name for p in _PARAMETERS if p.kind is p.KEYWORD_ONLY)
_TAKEN = _KEYWORDS | {"self", "func"}
_OPTIONS = sorted(_KEYWORDS - _OF_ONE)

#: Calls of all executors that have not ended.
_held: set[ClientFuture[Any]] = set()


class ClientExecutor(concurrent.futures.Executor):
    """Runs calls as tasks of a client, which goes on after `shutdown`.

    Args:
        client: whose tasks they are.
        options: of `Client.submit`, for all of them; they are not `pure` unless that is said.

    Raises:
        ValueError: there is no such option.
    """

    def __init__(self, client: Client, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        if unknown := [name for name in given if name not in _OPTIONS]:
            raise ValueError(
                f"get_executor(): {', '.join(map(repr, unknown))} cannot be said for all calls of "
                f"an executor; what can: {', '.join(_OPTIONS)}"
            )
        self._client = client
        self._options = {"pure": False, **given}
        self._is_shut_down = False
        #: Calls that have not ended.
        self._open: set[ClientFuture[Any]] = set()
        _AtExit.register()

    @property
    def _max_workers(self) -> int:
        """How many calls run at once; libraries ask an executor for this attribute."""
        if self._client.asynchronous:
            return os.cpu_count() or 1
        return max(1, sum(self._client.nthreads().values()))

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> ClientFuture[T]:
        """Call `fn(*args, **kwargs)` as a task.

        Raises:
            RuntimeError: the executor has been shut down, or its client closed.
            SerializationError: something cannot be pickled; the text has the path.
        """
        self._check_open()
        target, values, named = hide(_TAKEN, fn, args, kwargs)
        future: ClientFuture[T] = self._client.submit(target, *values, **{**named, **self._options})
        self._keep((future,))
        return future

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like the builtin `map`, with the calls as tasks; results come in the order of the items.

        When the iterator is closed, times out or meets an error, the other calls are cancelled.
        Calls travel together anyhow, and each is a call of its own all the same: `chunksize`
        changes nothing.

        Args:
            fn: called with one item of each iterable.
            timeout: seconds that all results together may take.
            chunksize: at least 1.
            buffersize: calls that may be ahead of the consumer; items are taken from the iterables
                only as results are taken. None: all at once.

        Raises:
            TimeoutError: by the iterator, when a result is not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        end_s = None if timeout is None else time.monotonic() + timeout
        self._check_open()
        if buffersize is None:
            futures = self._client.map(fn, *iterables, **self._options)
            self._keep(futures)
            return _results(deque(futures), iter(()), end_s)
        rows = zip(*iterables, strict=False)
        ahead = deque(self._submit_rows(fn, list(islice(rows, buffersize))))
        return _results(ahead, self._submit_each(fn, rows), end_s)

    def _submit_each(
        self, fn: Callable[..., T], rows: Iterator[tuple[Any, ...]]
    ) -> Iterator[ClientFuture[T]]:
        for row in rows:
            yield from self._submit_rows(fn, [row])

    def _submit_rows(
        self, fn: Callable[..., T], rows: list[tuple[Any, ...]]
    ) -> list[ClientFuture[T]]:
        if not rows:
            return []
        self._check_open()
        futures = self._client.map(fn, *zip(*rows, strict=True), **self._options)
        self._keep(futures)
        return futures

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The client goes on, and so do the calls.

        Args:
            wait: return when all calls have ended; otherwise at once.
            cancel_futures: cancel the calls that no worker has been given yet.
        """
        self._is_shut_down = True
        left = list(self._open)
        if cancel_futures and left:
            self._cancel_waiting([future.id for future in left])
        if wait:
            concurrent.futures.wait(left)

    def _cancel_waiting(self, ids: Sequence[TaskId]) -> None:
        session = self._client._session

        def placed(_: object) -> None:
            why = "its executor has been shut down"
            session.do(partial(_wanting.cancel_waiting, ids=ids, reason=why))

        # Once something is answered, what was said before has been given to whom is free for it.
        session.request(lambda ask: wire.WhoHas(ask, ()), placed)

    def _check_open(self) -> None:
        if self._is_shut_down:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _AtExit.has_come:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")

    def _keep(self, futures: Sequence[ClientFuture[Any]]) -> None:
        """Have these run to their end, whoever keeps them."""
        self._open.update(futures)
        _held.update(futures)
        for future in futures:
            future.add_listener(self._ended)
        try:
            self._check_open()  # `shutdown` may have come between, and not have seen them
        except RuntimeError:
            for future in futures:
                future.cancel()
            raise

    def _ended(self, future: ClientFuture[Any]) -> None:
        self._open.discard(future)
        _held.discard(future)

    def __reduce__(self) -> Any:
        raise TypeError(
            "an executor of a Client belongs to its process and cannot be pickled; in a task, call "
            "treadle.get_client().get_executor()"
        )

    def __repr__(self) -> str:
        state = "shut down" if self._is_shut_down else f"{len(self._open)} calls"
        return f"<ClientExecutor of {self._client!r}: {state}>"


class _AtExit:
    """Waits for what was submitted before the program ends, as executors do."""

    is_registered = False
    has_come = False

    @classmethod
    def register(cls) -> None:
        """Have it waited for, once for all executors."""
        if cls.is_registered:
            return
        cls.is_registered = True
        # `atexit` comes after other executors' threads have been waited for, which may wait for
        # calls of ours; the hook that concurrent.futures itself uses has no public name.
        register: Callable[..., object] = getattr(threading, "_register_atexit", atexit.register)
        try:
            register(cls.come)
        except RuntimeError:  # the interpreter is shutting down already
            cls.has_come = True

    @classmethod
    def come(cls) -> None:
        """The program ends."""
        cls.has_come = True
        concurrent.futures.wait(list(_held))


def _results(
    ahead: deque[ClientFuture[T]], more: Iterator[ClientFuture[T]], end_s: float | None
) -> Iterator[T]:
    """The results of those ahead, and of one more for each that is given."""
    try:
        while ahead:
            # The future is dropped before its result is handed out: with it goes the last
            # reference of ours to the result.
            result = [_result_or_cancel(ahead.popleft(), end_s)]
            ahead.extend(islice(more, 1))
            yield result.pop()
    finally:
        for future in ahead:
            future.cancel()


def _result_or_cancel(future: ClientFuture[T], end_s: float | None) -> T:
    try:
        return future.result(None if end_s is None else max(0.0, end_s - time.monotonic()))
    finally:
        future.cancel()
        # Break the circle of an exception, its traceback and this frame.
        del future


def _forget_parent() -> None:
    """In a forked child: the calls are the parent's, and so is the wait for them."""
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
