"""An executor that takes references, in this process: the port's contract, and who holds it.

Tasks run on threads of its own (or one by one when a test says so), in the order of their
dependencies; a result stays in the sink until somebody loads it. What the kernel must not do is
noted in `complaints`, which every test that uses the sink asserts to be empty.
"""

from __future__ import annotations

import io
import pickle
import queue
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import cloudpickle
from msgspec.structs import replace

from treadle.dataflow._outcomes import show
from treadle.dataflow._sink import SinkOutcome, SinkTask, Try
from treadle.dataflow.futures import LazyFuture, PutFuture
from treadle.errors import (
    DependencyError,
    InvalidResourceSpecification,
    ResultLost,
    SchedulerLost,
    SerializationError,
)
from treadle.executors.base import ParslExecutor
from treadle.runtime.engine import Engine
from treadle.runtime.threads import start_daemon
from treadle.serialize import dumps_result


@dataclass(frozen=True)
class Ref:
    """Stands in a call for the result of a task."""

    number: int


class Packer(cloudpickle.CloudPickler):
    """Pickles a call with references in it."""

    def __init__(self, file: io.BytesIO, number_of: Callable[[Any], int | None]) -> None:
        super().__init__(file, protocol=5)
        self._number_of = number_of

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, PutFuture):
            return ("value", obj._result)
        number = self._number_of(obj)
        return None if number is None else ("result", number)


class Unpacker(pickle.Unpickler):
    """Loads it again, with values in place of references."""

    def __init__(self, data: bytes, value_of: Callable[[int], Any]) -> None:
        super().__init__(io.BytesIO(data))
        self._value_of = value_of

    def persistent_load(self, pid: Any) -> Any:
        return self._value_of(pid[1]) if pid[0] == "result" else pid[1]


class FakeValue:
    """A result in the sink."""

    def __init__(self, sink: FakeSink, number: int, data: Any) -> None:
        self._sink = sink
        self._number = number
        self._data = data
        self._near = not sink.is_far
        self.lost: BaseException | None = None

    @property
    def nbytes(self) -> int:
        return len(self._data) if isinstance(self._data, bytes) else 0

    @property
    def is_near(self) -> bool:
        return self._near

    def load(self, timeout: float | None = None, *, writable: bool = True) -> Any:
        self._sink.loads.append((self._number, threading.current_thread().name))
        if not self._near and not self._sink.transfers.wait(timeout):
            raise TimeoutError
        if self.lost is not None:
            raise self.lost
        self._near = True
        return self._sink.unpacked(self._data)

    def bring(self, then: Callable[[], None]) -> None:
        self._sink.brought.append(self._number)

        def come() -> None:
            self._near = True
            then()

        self._sink.deliver(come)


@dataclass
class Work:
    """A task in the sink."""

    task: SinkTask
    waits: set[int] = field(default_factory=set)
    dependents: list[int] = field(default_factory=list)
    #: Rows that have not ended.
    rows: list[int] = field(default_factory=list)
    over: bool = False


class FakeSink:
    """Implements `treadle.dataflow._sink.TaskSink`.

    Args:
        listener: the kernel's.
        threads: how many tasks run at once; 0: `run` runs them, in the thread that calls it.
        copies: calls and results are pickled, as they are between processes.
        is_far: values must be brought before they can be loaded.
        rows_at_once: rows of a map that are told together.
    """

    def __init__(
        self,
        listener: Callable[[Sequence[SinkOutcome]], None],
        *,
        threads: int = 2,
        copies: bool = True,
        is_far: bool = False,
        rows_at_once: int = 7,
    ) -> None:
        self._listener = listener
        self.copies = copies
        self.is_far = is_far
        self.rows_at_once = rows_at_once
        self.complaints: list[str] = []
        #: Dependencies of tasks. (task, thread) of each load. Numbers of what was brought.
        self.loads: list[tuple[int, str]] = []
        self.brought: list[int] = []
        self.admitted: dict[int, tuple[int, ...]] = {}
        self.batches: list[int] = []
        self.released: list[int] = []
        self.cancelled: list[int] = []
        self.told: Counter[int] = Counter()
        self.packs = 0
        self.writable: list[bool] = []
        #: What tasks asked for.
        self.asked: list[dict[str, Any]] = []
        #: Cleared: transfers, and what comes of them, wait.
        self.transfers = threading.Event()
        self.transfers.set()
        #: What is raised in place of the first attempts of tasks of a name.
        self.flaws: dict[str, list[BaseException]] = {}
        self.works: dict[int, Work] = {}
        self.values: dict[int, FakeValue] = {}
        self._rows: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._ready: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._outbox: list[SinkOutcome] = []
        self._held_back: list[Callable[[], None]] = []
        self._engine = Engine.acquire()
        self._threads = [start_daemon(f"fake-slot-{i}", self._serve) for i in range(threads)]
        self.closed = False

    # --- the port ---------------------------------------------------------------------------------

    def pack(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        number_of: Callable[[Any], int | None],
        writable: bool = False,
    ) -> Any:
        self.packs += 1
        self.writable.append(writable)
        call = (func, tuple(args), dict(kwargs))
        if not self.copies:
            return _named(call, number_of)
        file = io.BytesIO()
        try:
            Packer(file, number_of).dump(call)
        except BaseException as error:
            raise SerializationError(f"call of {func!r}: {show(error)}") from error
        return file.getvalue()

    def pack_rows(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
        try:
            return [cloudpickle.dumps(row) for row in rows]
        except Exception as error:
            raise SerializationError(f"a row: {error}") from error

    def options(self, specification: Mapping[str, Any], retries: float) -> Any:
        if set(specification) - {"cores", "priority", "walltime"}:
            raise InvalidResourceSpecification(dict(specification), "cores and priority only")
        self.asked.append(dict(specification))
        return (dict(specification), retries)

    def admit(self, tasks: Sequence[SinkTask]) -> None:
        self._on_engine("admit")
        self.batches.append(len(tasks))
        with self._lock:
            for task in tasks:
                self._admit(task)

    def release(self, ids: Sequence[int]) -> None:
        self._on_engine("release")
        with self._lock:
            for number in ids:
                if number in self.released or number in self.cancelled:
                    self.complaints.append(f"{number} is released twice, or was cancelled")
                if not self.told[number] and not self.closed:
                    self.complaints.append(f"{number} is released before it was told")
                self.released.append(number)
                self.values.pop(number, None)

    def cancel(self, ids: Sequence[int]) -> None:
        self._on_engine("cancel")
        with self._lock:
            for number in ids:
                self.cancelled.append(number)
                work = self.works.get(number)
                if work is None:
                    self.complaints.append(f"{number} is cancelled and was never admitted")
                    continue
                work.over = True
                work.rows = []
                self.values.pop(number, None)
                self._stop_dependents(work, SchedulerLost("a dependency was cancelled"))
            self._outbox = [o for o in self._outbox if o.id not in self.cancelled]

    def _on_engine(self, what: str) -> None:
        if not self._engine.is_current():
            self.complaints.append(f"{what} is called on {threading.current_thread().name}")

    # --- running ----------------------------------------------------------------------------------

    def _admit(self, task: SinkTask) -> None:
        if task.id in self.admitted:
            self.complaints.append(f"{task.id} is admitted twice")
        self.admitted[task.id] = task.dependencies
        work = self.works[task.id] = Work(task)
        work.rows = list(range(len(task.rows or ())))
        for number in task.dependencies:
            dependency = self.works.get(number)
            if dependency is None:
                self.complaints.append(f"{task.id} depends on {number}, which was never admitted")
            elif number in self.released or number in self.cancelled:
                self.complaints.append(f"{task.id} depends on {number}, which nobody wants")
            elif not dependency.over:
                work.waits.add(number)
                dependency.dependents.append(task.id)
            elif number not in self.values:
                self._fail(work, DependencyError([], task.id), blame=number)
                return
        if not work.waits:
            self._ready.put(task.id)

    def run(self, count: int = 1_000_000) -> None:
        """Without threads: run so many of the tasks that are ready, here and now."""
        for _ in range(count):
            try:
                number = self._ready.get_nowait()
            except queue.Empty:
                return
            if number is not None:
                self._run(number)

    def _serve(self) -> None:
        while (number := self._ready.get()) is not None:
            self._run(number)

    def _run(self, number: int) -> None:
        work = self.works[number]
        if work.task.rows is not None:
            self._run_rows(work)
            return
        tries: list[Try] = []
        while not work.over:
            try:
                result, error = self._attempt(work), None
            except BaseException as failure:
                result, error = None, failure
            # `retries` is a budget that each failure takes one from, as at a scheduler.
            again = len(tries) < work.task.options[1] and not isinstance(error, DependencyError)
            if error is None or not again:
                break
            tries.append(Try(show(error), lambda error=error: error))
        with self._lock:
            if work.over:
                return
            if error is not None:
                own = isinstance(error, DependencyError)
                self._fail(work, error, tries=tries, dependency=own)
                return
            work.over = True
            work.task = replace(work.task, call=None)  # arguments go with the attempt
            value = self.values[number] = FakeValue(self, number, result)
            self._tell(SinkOutcome(number, value, tries=tries))
            self._free_dependents(work)

    def _attempt(self, work: Work) -> Any:
        task = work.task
        flaws = self.flaws.get(task.name)
        if flaws:
            raise flaws.pop(0)
        func, args, kwargs = self._call_of(task)
        return self.packed(func(*args, **kwargs), func)

    def _call_of(self, task: SinkTask) -> Any:
        if self.copies:
            return Unpacker(task.call, self._value_of).load()
        return _valued(task.call, self._value_of)

    def _value_of(self, number: int) -> Any:
        with self._lock:
            value = self.values[number]
        if value.lost is not None:
            raise value.lost
        return self.unpacked(value._data)

    def _run_rows(self, work: Work) -> None:
        func, args, kwargs = self._call_of(work.task)
        rows = work.task.rows or ()
        number = work.task.id
        while work.rows:
            start, results, error = work.rows[0], [], None
            for index in work.rows[: self.rows_at_once]:
                try:
                    result = func(*args, *pickle.loads(rows[index]), **kwargs)
                    results.append(self.packed(result, func))
                except BaseException as failure:
                    error = failure
                    break
            with self._lock:
                if work.over:
                    return
                if results:
                    value = FakeValue(self, number + start, results)
                    self.values[number + start] = value
                    self._tell(SinkOutcome(number + start, value, rows=len(results)))
                if error is not None:
                    bad = number + start + len(results)
                    make, text = (lambda e=error: e), show(error)
                    self._tell(SinkOutcome(bad, error=make, text=text))
                del work.rows[: len(results) + (error is not None)]
        work.over = True

    def _free_dependents(self, work: Work) -> None:
        for number in work.dependents:
            dependent = self.works[number]
            dependent.waits.discard(work.task.id)
            if not dependent.waits and not dependent.over:
                self._ready.put(number)

    def _fail(self, work: Work, error: BaseException, **more: Any) -> None:
        work.over = True
        work.task = replace(work.task, call=None)
        number, rows = work.task.id, max(1, len(work.rows))
        self._tell(SinkOutcome(number, error=lambda: error, text=show(error), rows=rows, **more))
        self._stop_dependents(work, error)

    def _stop_dependents(self, work: Work, error: BaseException) -> None:
        for number in work.dependents:
            dependent = self.works[number]
            if not dependent.over:
                self._fail(dependent, error, blame=work.task.id)

    # --- telling ----------------------------------------------------------------------------------

    def _tell(self, outcome: SinkOutcome) -> None:
        first = not self._outbox
        self._outbox.append(outcome)
        self.told[outcome.id] += 1
        if first:
            self._engine.call_soon(self._post)

    def _post(self) -> None:
        with self._lock:
            outbox, self._outbox = self._outbox, []
        if outbox:
            self._listener(outbox)

    def deliver(self, come: Callable[[], None]) -> None:
        """A transfer ends, unless they are held back: then when `let_come` is called."""
        if self.transfers.is_set():
            self._engine.call_soon(come)
        else:
            self._held_back.append(come)

    def let_come(self) -> None:
        """Transfers go on."""
        self.transfers.set()
        held_back, self._held_back = self._held_back, []
        for come in held_back:
            self._engine.call_soon(come)

    def lose(self, number: int) -> None:
        """Every copy of a result is gone, and it cannot be computed again."""
        self.values[number].lost = ResultLost(f"task {number}: all that had its result are gone")

    def packed(self, value: Any, func: Any) -> Any:
        return dumps_result(value, func) if self.copies else value

    def unpacked(self, data: Any) -> Any:
        if isinstance(data, list) and self.copies:
            return [pickle.loads(item) for item in data]
        return pickle.loads(data) if self.copies else data

    def close(self) -> None:
        """End: what has been admitted ends first."""
        if self.closed:
            return
        self.closed = True
        if not self._threads:
            self.run()
        while any(not work.over for work in self.works.values()) and self._threads:
            threading.Event().wait(0.002)
        for _ in self._threads:
            self._ready.put(None)
        for thread in self._threads:
            thread.join(10)
        told = threading.Event()
        self._engine.call_soon(told.set)
        assert self._engine.is_current() or told.wait(10)
        self._engine.release(wait=False)


class FakeCluster(ParslExecutor):
    """An executor with a sink; keywords are the sink's."""

    def __init__(self, label: str = "fake", **options: Any) -> None:
        self.label = label
        self._options = options
        self.sinks: list[FakeSink] = []
        #: Functions that came by value.
        self.submitted: list[Any] = []
        self.kernel_tasks: Mapping[int, Any] = {}
        #: The kernel it is in, for tests.
        self.kernel: Any = None

    @property
    def sink(self) -> FakeSink:
        return self.sinks[-1]

    def start(self) -> None:
        pass

    def open_sink(self, listener: Callable[[Sequence[SinkOutcome]], None]) -> FakeSink:
        self.sinks.append(FakeSink(listener, **self._options))
        return self.sink

    def submit(
        self, func: Any, resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        self.submitted.append(func)
        future: LazyFuture[Any] = LazyFuture()

        def run() -> None:
            if not future._begin_run():
                return
            try:
                future.set_result(func(*args, **kwargs))
            except BaseException as error:
                future.set_exception(error)

        start_daemon("fake-value-slot", run)
        return future

    def shutdown(self, block: bool = True) -> None:
        for sink in self.sinks:
            if not block:
                for work in sink.works.values():
                    work.over = True
            sink.close()


def _named(item: Any, number_of: Callable[[Any], int | None]) -> Any:
    number = number_of(item)
    if number is not None:
        return Ref(number)
    if isinstance(item, PutFuture):
        return item._result
    if type(item) in (list, tuple, set):
        return type(item)(_named(part, number_of) for part in item)
    if type(item) is dict:
        return {_named(k, number_of): _named(v, number_of) for k, v in item.items()}
    return item


def _valued(item: Any, value_of: Callable[[int], Any]) -> Any:
    if isinstance(item, Ref):
        return value_of(item.number)
    if type(item) in (list, tuple, set):
        return type(item)(_valued(part, value_of) for part in item)
    if type(item) is dict:
        return {_valued(k, value_of): _valued(v, value_of) for k, v in item.items()}
    return item
