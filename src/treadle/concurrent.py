"""A kernel for code that knows nothing of Treadle: the interface of `concurrent.futures`.

    with TreadlePoolExecutor(Config(executors=[...])) as pool:
        for result in pool.map(simulate, range(1000), buffersize=50):
            ...

The futures are `AppFuture`s: passed to another call, or to an app, they are dependencies.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from itertools import islice
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from treadle.app.python import PythonApp
from treadle.data_provider.files import File
from treadle.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader
from treadle.errors import NoDataFlowKernelError
from treadle.serialize._by_name import hide

if TYPE_CHECKING:
    from treadle.config import Config
    from treadle.dataflow._bundles import Bundler, Rows
    from treadle.dataflow.futures import AppFuture

#: Keywords with a meaning for apps or in the signature of `ParslExecutor.submit`; code that knows
#: nothing of Treadle means something else by them (`stdout=subprocess.PIPE` is -1, too).
_MEANT_OTHERWISE = frozenset(
    {"self", "func", "resource_specification", "stdout", "stderr", "outputs"}
)

P = ParamSpec("P")
T = TypeVar("T")


class TreadlePoolExecutor(Executor):
    """Runs calls as tasks of a kernel.

    Args:
        config: start a kernel of its own with this configuration; `shutdown` cleans it up. If no
            kernel is loaded, it is also the one that `treadle.dfk()` gives.
        dfk: use this kernel, which goes on after `shutdown`.
        executors: `'all'`, or the labels of the kernel's executors to use.

    Raises:
        ValueError: not exactly one of `config` and `dfk` is given.
    """

    def __init__(
        self,
        config: Config | None = None,
        dfk: DataFlowKernel | None = None,
        executors: Sequence[str] = "all",
    ) -> None:
        if (config is None) == (dfk is None):
            got = "neither" if config is None else "both"
            raise ValueError(
                f"TreadlePoolExecutor takes either a config, to start a kernel of its own, or a "
                f"dfk, to use a kernel that runs; it got {got}"
            )
        self.executors = executors
        self._lock = threading.Lock()
        self._is_shut_down = False
        #: Futures of calls that have not ended.
        self._open: set[Future[Any]] = set()
        self._apps: dict[Any, PythonApp[..., Any]] = {}
        self._functions: weakref.WeakSet[Any] = weakref.WeakSet()
        self._owns_kernel = config is not None
        self._kernel = dfk if dfk is not None else _start_kernel(cast("Config", config))
        #: Read by libraries that ask how wide an executor is.
        self._max_workers = _width(self._kernel, executors)

    @property
    def app_count(self) -> int:
        """How many different functions this executor has seen and that still exist."""
        return len({*self._apps, *self._functions})

    def get_app(self, fn: Callable[P, T]) -> PythonApp[P, T]:
        """The function as an app of this executor's kernel; the same app each time."""
        app = self._apps.get(fn)
        if app is None:
            app = PythonApp(fn, data_flow_kernel=self._kernel, executors=self.executors)
            self._apps[fn] = app
        return cast("PythonApp[P, T]", app)

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> AppFuture[T]:
        """Call `fn(*args, **kwargs)` as a task.

        Raises:
            RuntimeError: the executor has been shut down, or its kernel is gone.
        """
        self._check_open()
        self._remember(fn)
        future = self._submit(fn, args, kwargs)
        with self._lock:
            self._open.add(future)
        future.add_listener(self._open.discard)
        try:
            self._check_open()  # `shutdown` may have come between, and not have seen the future
        except RuntimeError:
            future.cancel()
            raise
        return future

    def _check_open(self) -> None:
        with self._lock:
            if self._is_shut_down:
                raise RuntimeError("cannot schedule new futures after shutdown")

    def _submit(
        self, fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
    ) -> AppFuture[Any]:
        if not _MEANT_OTHERWISE.isdisjoint(kwargs):
            fn, args, kwargs = _by_name(fn, args, kwargs)
        try:
            return self._kernel.submit(
                fn, app_args=args, executors=self.executors, app_kwargs=kwargs
            )
        except NoDataFlowKernelError as error:
            raise RuntimeError(f"cannot schedule new futures: {error}") from error

    def _remember(self, fn: Any) -> None:
        try:
            self._functions.add(fn)
        except TypeError:
            return  # it cannot be hashed or referred to weakly: it is not counted

    def map(
        self,
        fn: Callable[..., T],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
    ) -> Iterator[T]:
        """Like the builtin `map`, with the calls as tasks; results come in the order of the items.

        When the iterator is closed, times out or meets an error, the calls that have not begun
        are cancelled. Where an executor takes many calls at once, that is done, and each is a call
        of its own all the same: `chunksize` changes nothing then.

        Args:
            fn: called with one item of each iterable.
            timeout: seconds that all results together may take.
            chunksize: calls that are one task; an error in one of them ends its task.
            buffersize: tasks that may be ahead of the consumer; items are taken from the
                iterables only as results are taken. None: all at once.

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
        calls = zip(*iterables, strict=False)
        bundler = self._bundler(fn)
        if bundler is not None:
            most = bundler.most if buffersize is None else max(1, buffersize // 4)
            parts = self._submit_parts(fn, calls, bundler, min(most, bundler.most))
            ahead = None if buffersize is None else buffersize // most
            return _row_results(parts, end_s, ahead)
        if chunksize == 1:
            tasks = (self.submit(fn, *call) for call in calls)
            return _results(tasks, end_s, buffersize)
        chunks = iter(lambda: tuple(islice(calls, chunksize)), ())
        tasks_of_chunks = (self._submit_chunk(fn, chunk) for chunk in chunks)
        return _flat(_results(tasks_of_chunks, end_s, buffersize))

    def _submit_chunk(
        self, fn: Callable[..., T], chunk: Sequence[tuple[Any, ...]]
    ) -> AppFuture[list[T]]:
        # All arguments in one row: a future among them is still an argument of the task.
        row = [argument for call in chunk for argument in call]
        return self.submit(_run_chunk, fn, len(chunk), *row)

    def _bundler(self, fn: Callable[..., Any]) -> Bundler | None:
        self._check_open()
        self._remember(fn)
        try:
            return self._kernel.bundler(fn, self.executors, False, {})
        except NoDataFlowKernelError as error:
            raise RuntimeError(f"cannot schedule new futures: {error}") from error

    def _submit_parts(
        self,
        fn: Callable[..., T],
        calls: Iterator[tuple[Any, ...]],
        bundler: Bundler,
        most: int,
    ) -> Iterator[Rows | AppFuture[T]]:
        """Submit calls, so many at once, or each alone where that cannot be."""
        while rows := list(islice(calls, most)):
            self._check_open()
            taken = bundler.submit(rows)
            if taken is None:  # there are futures or files in them
                yield from (self.submit(fn, *row) for row in rows)
                continue
            with self._lock:
                self._open.add(taken.future)
            taken.future.add_listener(self._open.discard)
            yield taken

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; end the kernel too, if it is the executor's own.

        Args:
            wait: return when all calls have ended; otherwise at once.
            cancel_futures: cancel the calls that have not ended, as far as they can be.
        """
        with self._lock:
            first = not self._is_shut_down
            self._is_shut_down = True
            left = list(self._open)
        if cancel_futures:
            for future in left:
                future.cancel()
        if wait:
            self._finish(left, first)
        elif first and self._owns_kernel:
            # Not a daemon: the calls that were submitted still run, even at the program's end.
            finisher = threading.Thread(
                target=self._finish, args=(left, first), name="treadle-shutdown"
            )
            finisher.start()

    def _finish(self, left: Sequence[Future[Any]], first: bool) -> None:
        wait(left)
        if first and self._owns_kernel:
            self._kernel.cleanup()


def _by_name(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]:
    """Hide from kernel and executor the keywords that are the function's own affair."""
    names = _MEANT_OTHERWISE
    if _are_files(kwargs.get("outputs")):
        names = names - {"outputs"}
    return hide(names, fn, args, kwargs)


def _are_files(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(item, File) for item in value)


def _start_kernel(config: Config) -> DataFlowKernel:
    return DataFlowKernel(config) if _is_kernel_loaded() else DataFlowKernelLoader.load(config)


def _is_kernel_loaded() -> bool:
    try:
        DataFlowKernelLoader.dfk()
    except NoDataFlowKernelError:
        return False
    return True


def _width(kernel: DataFlowKernel, labels: Sequence[str]) -> int:
    """How many calls the executors can run at once, as far as they say."""
    used = [
        executor
        for label, executor in kernel.executors.items()
        if (not label.startswith("_") if labels == "all" else label in labels)
    ]
    widths = [getattr(executor, "max_threads", None) for executor in used]
    known = sum(width for width in widths if isinstance(width, int))
    return known or os.cpu_count() or 1


def _run_chunk(fn: Callable[..., T], count: int, *row: Any) -> list[T]:
    width = len(row) // count
    return [fn(*row[i * width : (i + 1) * width]) for i in range(count)]


def _results(tasks: Iterator[AppFuture[T]], end_s: float | None, ahead: int | None) -> Iterator[T]:
    """Submit now, up to `ahead` tasks; the iterator submits one more for each result it gives."""
    submitted = deque(tasks if ahead is None else islice(tasks, ahead))

    def results() -> Iterator[T]:
        try:
            while submitted:
                # The future is dropped before its result is handed out: with it goes the last
                # reference of ours to the result.
                result = [_result_or_cancel(submitted.popleft(), end_s)]
                if ahead is not None:
                    submitted.extend(islice(tasks, 1))
                yield result.pop()
        finally:
            for future in submitted:
                future.cancel()

    return results()


def _row_results(
    parts: Iterator[Rows | AppFuture[T]], end_s: float | None, ahead: int | None
) -> Iterator[T]:
    """The same where many calls are one part."""
    submitted = deque(parts if ahead is None else islice(parts, ahead))

    def results() -> Iterator[T]:
        try:
            while submitted:
                part = submitted[0]
                if isinstance(part, Future):
                    chunk = [_result_or_cancel(part, end_s)]
                else:
                    left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
                    chunk = part.take(left_s)
                    chunk.reverse()
                over = isinstance(part, Future) or not part.left
                if over:
                    submitted.popleft()
                del part
                while chunk:
                    yield chunk.pop()
                if over and ahead is not None:
                    submitted.extend(islice(parts, 1))
        finally:
            for part in submitted:
                part.cancel()

    return results()


def _result_or_cancel(future: Future[T], end_s: float | None) -> T:
    try:
        left_s = None if end_s is None else max(0.0, end_s - time.monotonic())
        return future.result(left_s)
    finally:
        future.cancel()
        # Break the circle of an exception, its traceback and this frame.
        del future


def _flat(chunks: Iterator[list[T]]) -> Iterator[T]:
    for chunk in chunks:
        chunk.reverse()
        while chunk:
            yield chunk.pop()
