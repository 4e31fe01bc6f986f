"""Many calls of one function as one task: a bundle, whose rows end a few at a time.

A bundle is one record and a range of numbers: row `i` is task `id + i`. Its future ends when all
rows have; what the rows result in goes to `Rows`, which gives it out in order. A bundle is always
handed over early: who cannot be (a cached app, an executor without references, files and futures
in the rows) is called row by row.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from treadle.data_provider.data_future import DataFuture
from treadle.data_provider.files import File
from treadle.dataflow._lazy import pass_gate
from treadle.dataflow._remote import LateError, Remote
from treadle.dataflow.dependency_resolvers import ATOMS, SHALLOW_DEPENDENCY_RESOLVER
from treadle.dataflow.futures import AppFuture
from treadle.dataflow.taskrecord import TaskRecord
from treadle.errors import SerializationError

if TYPE_CHECKING:
    from treadle.dataflow._references import References
    from treadle.dataflow._sink import SinkTask
    from treadle.dataflow.dependency_resolvers import DependencyResolver

#: Rows of one bundle: enough that its own cost does not show, few enough that several fit into a
#: window, so that one can be filled while another runs.
MOST_ROWS = 4096


class Bundle(TaskRecord):
    """The record of a bundle."""

    __slots__ = ("tell", "total")

    #: How many rows it had.
    total: int
    #: Takes the first number of rows that have ended, how many, and their results or their error.
    tell: Callable[[int, int, Remote | LateError], None]


class Rows:
    """What the rows of a bundle result in, in order; read by one thread at a time.

    Args:
        first: number of the first row.
        count: how many rows there are.
        future: of the bundle.
    """

    def __init__(self, first: int, count: int, future: AppFuture[Any]) -> None:
        self.future = future
        self._next = first
        self._end = first + count
        #: What has ended, by the number of the first row: how many rows, results or error.
        self._parts: dict[int, tuple[int, Remote | LateError]] = {}
        #: The row that somebody waits for, and what wakes him.
        self._awaited: tuple[int, threading.Lock] | None = None

    @property
    def left(self) -> int:
        """How many rows have not been taken."""
        return self._end - self._next

    def tell(self, number: int, rows: int, outcome: Remote | LateError) -> None:
        """Rows have ended; on the engine thread."""
        self._parts[number] = (rows, outcome)
        awaited = self._awaited
        if awaited is not None and awaited[0] == number:
            self._wake(awaited)

    def over(self, future: object) -> None:
        """The bundle has ended: what has not been told never will be."""
        awaited = self._awaited
        if awaited is not None:
            self._wake(awaited)

    def _wake(self, awaited: tuple[int, threading.Lock]) -> None:
        self._awaited = None
        awaited[1].release()

    def take(self, timeout: float | None = None) -> list[Any]:
        """The results of the next rows, loaded in this thread.

        Raises:
            TimeoutError: they are not here yet.
            BaseException: what the next row raised.
        """
        until = None if timeout is None else time.monotonic() + timeout
        rows, outcome = self._parts.get(self._next) or self._wait(timeout)
        if isinstance(outcome, LateError):
            self._go_past(rows)
            try:
                raise outcome.get()
            finally:
                del self, outcome  # the traceback holds this frame
        left_s = None if until is None else max(0.0, until - time.monotonic())
        results: list[Any] = outcome.get(left_s)
        self._go_past(rows)
        return results

    def _go_past(self, rows: int) -> None:
        self._parts.pop(self._next, None)
        self._next += rows

    def _wait(self, timeout: float | None) -> tuple[int, Remote | LateError]:
        gate = threading.Lock()
        gate.acquire()
        self._awaited = (self._next, gate)
        # It may have come, or all may have ended, before we were known to wait.
        if self._next not in self._parts and not self.future.done():
            in_time = pass_gate(gate, timeout)
            if not in_time and self._next not in self._parts and not self.future.done():
                self._awaited = None
                raise TimeoutError
        self._awaited = None
        # Else it was cancelled, or failed as a whole: by a dependency, or with its kernel.
        return self._parts.get(self._next) or (self.left, LateError(self._why))

    def _why(self) -> BaseException:
        self.future.result()
        return RuntimeError(f"row {self._next} of a map was not told")

    def cancel(self) -> None:
        """Cancel the rows that have not ended."""
        self.future.cancel()
        self._parts.clear()


class Bundler:
    """Makes bundles of the rows of one map.

    Args:
        references: the way to the executor.
        resolver: finds the futures in rows.
        number: takes so many numbers in a row; returns the first.
        begin: takes the record of a bundle, ready but for what all bundles of the map share.
        task: what the bundles have in common.
        most: how many rows a bundle may have.
    """

    def __init__(
        self,
        *,
        references: References,
        resolver: DependencyResolver,
        number: Callable[[int], int],
        begin: Callable[[Bundle], None],
        task: SinkTask,
        most: int,
    ) -> None:
        self._references = references
        self._resolver = resolver
        self._number = number
        self._begin = begin
        self._task = task
        self.most = most

    def submit(self, rows: Sequence[tuple[Any, ...]]) -> Rows | None:
        """Start these rows; None if they are to be called one by one.

        Raises:
            NoDataFlowKernelError, KernelForked, EngineCrashed: the kernel has ended.
        """
        if not self._references.is_open or not self._are_plain(rows):
            return None
        try:
            packed = self._references.sink.pack_rows(rows)
        except SerializationError:
            return None  # the row that cannot be pickled will say so
        count = len(rows)
        first = self._number(count)
        record = Bundle(first)
        record.total = record.rows = count
        record.early = True
        future: AppFuture[Any] = AppFuture(record)
        record._future = future
        told = Rows(first, count, future)
        record.tell = told.tell
        record.stage = replace(self._task, id=first, rows=packed)
        future.add_listener(told.over)
        self._begin(record)
        return told

    def _are_plain(self, rows: Sequence[tuple[Any, ...]]) -> bool:
        """Whether no row has a file or a future in it."""
        kinds = {type(argument) for row in rows for argument in row}
        if kinds <= ATOMS:
            return True
        if any(issubclass(kind, (File, DataFuture, Future)) for kind in kinds):
            return False
        if self._resolver is SHALLOW_DEPENDENCY_RESOLVER:
            return True
        gather = self._resolver.traverse_to_gather
        return not any(gather(argument) for row in rows for argument in row)


def has_files(kwargs: Mapping[str, Any]) -> bool:
    """Whether what all rows have in common needs the kernel's care for each of them."""
    if any(kwargs.get(name) is not None for name in ("stdout", "stderr", "inputs", "outputs")):
        return True
    return any(isinstance(value, (File, DataFuture)) for value in kwargs.values())
