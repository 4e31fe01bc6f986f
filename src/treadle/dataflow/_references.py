"""The kernel's way to an executor that takes references: tasks go at once, outcomes come back.

Two halves. In the *caller's thread* a call is packed, with the numbers of tasks in place of their
futures, if all of these are, or have been, with the same executor. On the *engine thread* what is
admitted, cancelled and released in one turn goes to the sink together, in this order, and what the
sink tells becomes events of the machine.

What is released: a task that has ended without a result at once; one with a result when the last
`Remote` of it is gone, which nobody announces: the queue is looked into at the end of each turn,
and now and then while results are held.
"""

from __future__ import annotations

import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures._base import FINISHED
from functools import partial
from types import FunctionType
from typing import TYPE_CHECKING, Any

from treadle.dataflow import _events as ev
from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._node import Phase
from treadle.dataflow._remote import LateError, Remote
from treadle.dataflow._routes import for_process
from treadle.dataflow._sink import SinkOutcome, SinkTask
from treadle.dataflow.dependency_resolvers import (
    DEEP_DEPENDENCY_RESOLVER,
    SHALLOW_DEPENDENCY_RESOLVER,
    is_extended,
)
from treadle.dataflow.futures import AppFuture, LiftedFuture, PutFuture
from treadle.dataflow.taskrecord import TaskRecord

if TYPE_CHECKING:
    from treadle.dataflow._bundles import Bundle
    from treadle.dataflow._machine import Machine
    from treadle.dataflow._shell import Shell
    from treadle.dataflow._sink import TaskSink
    from treadle.dataflow.dependency_resolvers import DependencyResolver
    from treadle.runtime.engine import Engine

#: In the stage of a record, in place of a result: its executor has told that there is none, and
#: has an error to forget, or nothing.
_FAILED, _OVER = object(), object()

#: How soon, and how late, results that nobody holds are looked for while nothing else happens.
_SOON_S = 0.25
_LATE_S = 5.0

NumberOf = Callable[[Any], int | None]


class References:
    """What one kernel has with one sink.

    Args:
        executor: the sink's; has a method `open_sink`.
        early: tasks may be handed over before their dependencies have ended.
        retries: what the failures of one task may cost, of which the sink spends one each.
        leave: told how many rows of a bundle have ended before the others.
    """

    def __init__(
        self,
        executor: Any,
        *,
        shell: Shell,
        machine: Machine,
        engine: Engine,
        resolver: DependencyResolver,
        early: bool,
        retries: float,
        leave: Callable[[int], None],
    ) -> None:
        self._executor = executor
        self._has_bad_state = hasattr(executor, "bad_state_is_set")
        self._label: str = executor.label
        self._shell = shell
        self._machine = machine
        self._engine = engine
        self._resolver = resolver
        self._early = early
        self._retries = retries
        self._leave = leave
        #: Numbers of results that nobody holds any more; appended to by garbage collection.
        self._gone: deque[int] = deque()
        self._admitting: list[SinkTask] = []
        self._cancelling: list[int] = []
        self._releasing: list[int] = []
        #: What is above is about to go to the sink.
        self._due = False
        #: How many results are held; how long it is until somebody looks for those that are not.
        self._held = 0
        self._pause_s = _SOON_S
        self._watching = False
        #: Bundles that have not ended by their first numbers, and those in order.
        self._bundles: dict[int, Bundle] = {}
        self._starts: list[int] = []
        self.sink: TaskSink = executor.open_sink(self._told)
        #: What `options` returns for tasks that ask for nothing.
        self._plain: Any = None

    # --- in the caller's thread -------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether tasks may be handed over early now."""
        return self._early and not (self._has_bad_state and self._executor.bad_state_is_set)

    def stage(self, record: TaskRecord, waits: Sequence[Future[Any]]) -> bool:
        """Pack a call if it can be handed over early; else leave it as it is. Whether it can.

        Raises:
            SerializationError: it cannot be pickled.
            InvalidResourceSpecification: the executor cannot honour what it asks for.
        """
        if not self.is_open:
            return False
        func, own = record.func, record._kwargs
        specification, writable = record.resource_specification, False
        if type(func) is not FunctionType:
            func, own, specification, writable = for_process(func, own, specification)
        args: Sequence[Any] = record.args
        kwargs: Mapping[str, Any] = own
        number_of: NumberOf = no_number
        numbers: tuple[int, ...] = ()
        if waits:
            named = self.name(waits, record.dfk)
            if named is None:
                return False
            bound = self.bind_known(args, kwargs, waits, named)
            if bound is None:
                return False
            args, kwargs = bound
            number_of = partial(_number_in, named)
            numbers = tuple(dict.fromkeys(n for n in named.values() if n is not None))
        if writable:
            call = self.sink.pack(func, args, kwargs, number_of, writable)
        else:
            call = self.sink.pack(func, args, kwargs, number_of)
        options = self.options_of(specification)
        record.stage = SinkTask(record.id, record.func_name, call, numbers, options)
        record.early = True
        return True

    def options_of(self, specification: Mapping[str, Any]) -> Any:
        """What the sink makes of what a task asks for."""
        if specification:
            return self.sink.options(specification, self._retries)
        if self._plain is None:
            self._plain = self.sink.options({}, self._retries)
        return self._plain

    def name(self, waits: Iterable[Future[Any]], kernel: object) -> dict[int, int | None] | None:
        """The numbers of futures, by identity; None instead of one whose value is here.

        None for all if one of them can neither be named nor is here.
        """
        named: dict[int, int | None] = {}
        for future in waits:
            if isinstance(future, LiftedFuture):
                future.done()  # if it was none, it becomes a task
            if not isinstance(future, LazyFuture):
                if not future.done() or future.cancelled() or future.exception() is not None:
                    return None
            elif future._state == FINISHED and future._exception is None:
                result = future._result
                if type(result) is Remote and result.home is self:
                    named[id(future)] = result.number
                    continue
                if type(result) is Remote and not result.is_loaded:
                    return None
            else:
                record = future._record if isinstance(future, AppFuture) else None
                if record is None or not record.early or record.executor != self._label:
                    return None
                if record.dfk is not kernel:
                    return None
                named[id(future)] = record.id
                continue
            named[id(future)] = None
        return named

    def bind_known(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        waits: Iterable[Future[Any]],
        named: dict[int, int | None],
    ) -> tuple[Sequence[Any], Mapping[str, Any]] | None:
        """The arguments with the values that are here in them; None if only all can be bound."""
        known = [f for f in waits if named[id(f)] is None and type(f) is not PutFuture]
        has_references = any(number is not None for number in named.values())
        if self._resolver is not SHALLOW_DEPENDENCY_RESOLVER:
            if not has_references:
                return self._bind_all(args, kwargs)
            # The executor puts values in the places of futures, as the deep one does.
            as_deep = self._resolver is DEEP_DEPENDENCY_RESOLVER and not is_extended()
            return (args, kwargs) if as_deep and not known else None
        if not known:
            return args, kwargs
        values = {id(future): future.result() for future in known}
        by_name = {name: values.get(id(a), a) for name, a in kwargs.items()}
        inputs = kwargs.get("inputs")
        if isinstance(inputs, (list, tuple)):
            by_name["inputs"] = [values.get(id(item), item) for item in inputs]
        return [values.get(id(a), a) for a in args], by_name

    def _bind_all(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Sequence[Any], Mapping[str, Any]]:
        unwrap = self._resolver.traverse_to_unwrap
        by_name = {name: unwrap(a) for name, a in kwargs.items()}
        inputs = by_name.get("inputs")
        if isinstance(inputs, (list, tuple)):
            by_name["inputs"] = [unwrap(item) for item in inputs]
        return [unwrap(a) for a in args], by_name

    # --- on the engine thread ---------------------------------------------------------------------

    def admit(self, record: TaskRecord) -> None:
        """Have the executor take a task."""
        task, record.stage = record.stage, None
        record.t_launched = time.time()
        if type(record) is not TaskRecord:
            self._bundles[record.id] = record  # type: ignore[assignment]
            insort(self._starts, record.id)
        self._admitting.append(task)
        if not self._due:
            self._flush_next()

    def let_go(self, record: TaskRecord) -> None:
        """A task has ended without a result: its executor is to forget it."""
        stage, record.stage = record.stage, None
        if stage is None:
            self._cancelling.append(record.id)
        elif stage is _FAILED:
            self._releasing.append(record.id)
        if type(record) is not TaskRecord:
            self._starts.remove(record.id)
            del self._bundles[record.id]
        if not self._due:
            self._flush_next()

    def flush(self) -> None:
        """Tell the sink what has come together."""
        self._due = False
        try:
            if self._admitting:
                admitting, self._admitting = self._admitting, []
                self.sink.admit(admitting)
            if self._cancelling:
                cancelling, self._cancelling = self._cancelling, []
                self.sink.cancel(cancelling)
            releasing, self._releasing = self._releasing, []
            gone = self._gone
            while gone:
                releasing.append(gone.popleft())
                self._held -= 1
            if releasing:
                self.sink.release(releasing)
        except BaseException as error:  # noqa: BLE001 - a fault of ours must not be silent
            self._shell.inbox.crash(error)
            return
        if self._held and not self._watching:
            self._watch()

    def _flush_next(self) -> None:
        self._due = True
        self._engine.call_next(self.flush)

    def _watch(self) -> None:
        self._watching = True
        self._engine.call_later(self._pause_s, self._look)

    def _look(self) -> None:
        """Nothing may have happened for a while but that results were dropped."""
        self._watching = False
        if self._shell.dead is not None or self._shell.inbox.is_closed:
            return
        if self._gone:
            self._pause_s = _SOON_S
            self.flush()
        elif self._held:
            self._pause_s = min(2 * self._pause_s, _LATE_S)
            self._watch()

    # --- what the sink tells ----------------------------------------------------------------------

    def _told(self, outcomes: Sequence[SinkOutcome]) -> None:
        """Tasks have ended."""
        inbox = self._shell.inbox
        if inbox.is_closed:
            return
        try:
            self._shell.take_all(self._events(outcomes))
        except BaseException as error:  # noqa: BLE001 - a fault of ours must not be silent
            inbox.crash(error)
            return
        if self._gone and not self._due:
            self._flush_next()
        elif self._held and not self._watching:
            self._watch()

    def _events(self, outcomes: Sequence[SinkOutcome]) -> Iterator[ev.Event]:
        records: Mapping[int, Any] = self._machine.open
        now = time.time()
        for outcome in outcomes:
            record = records.get(outcome.id)
            if type(record) is not TaskRecord:
                bundle = self._bundle_of(outcome.id)
                if bundle is not None:
                    yield self._rows_told(bundle, outcome)
                continue  # else it ended by our own decision: what is told of it changes nothing
            if record.early:
                record.t_try_returned = now
                yield self._task_told(record, outcome)

    def _task_told(self, record: TaskRecord, outcome: SinkOutcome) -> ev.OutcomeTold:
        tries = outcome.tries
        for failed in tries:
            record.fail_history.append(failed.text)
        if outcome.value is not None:
            record.stage = self._hold(outcome)
            free = sum(not failed.costs for failed in tries) if tries else 0
            return ev.OutcomeTold(record, ev.Ended.succeeded, len(tries), free=free)
        record.stage = _OVER if outcome.cancelled else _FAILED
        if outcome.error is not None:
            record.error = LateError(outcome.error)
            record.fail_history.append(outcome.text)
        free = sum(not failed.costs for failed in tries)
        return ev.OutcomeTold(record, how_of(outcome), len(tries), is_blamed(outcome), free=free)

    def _hold(self, outcome: SinkOutcome) -> Remote:
        self._held += 1
        self._pause_s = _SOON_S
        assert outcome.value is not None
        return Remote(outcome.value, outcome.id, self, self._gone)

    def _bundle_of(self, number: int) -> Bundle | None:
        """The bundle that a row belongs to, if it has not ended."""
        place = bisect_right(self._starts, number)
        bundle = self._bundles[self._starts[place - 1]] if place else None
        if bundle is None or bundle.phase is Phase.ended or number >= bundle.id + bundle.total:
            return None
        return bundle

    def _rows_told(self, bundle: Bundle, outcome: SinkOutcome) -> ev.OutcomeTold:
        """Some rows have ended, and who reads the map is given them."""
        blamed = is_blamed(outcome)
        if outcome.value is not None:
            bundle.tell(outcome.id, outcome.rows, self._hold(outcome))
        else:
            error = LateError(outcome.error or CancelledError)
            if not outcome.cancelled:
                self._releasing.append(outcome.id)
            if not blamed or bundle.phase is not Phase.waiting:
                bundle.tell(outcome.id, outcome.rows, error)
            bundle.error = error
        if outcome.rows == bundle.rows:
            bundle.stage = _OVER
            bundle.t_try_returned = time.time()
        elif bundle.gated:
            self._leave(outcome.rows)
        return ev.OutcomeTold(bundle, how_of(outcome), 0, blamed, outcome.rows)


def is_blamed(outcome: SinkOutcome) -> bool:
    """Whether the task did not run, for lack of what it needs."""
    return outcome.blame is not None and outcome.blame != outcome.id


def how_of(outcome: SinkOutcome) -> ev.Ended:
    """How an attempt has ended, as the machine knows it."""
    if outcome.value is not None:
        return ev.Ended.succeeded
    if outcome.cancelled:
        return ev.Ended.cancelled
    return ev.Ended.dependency if outcome.dependency else ev.Ended.failed


def no_number(item: object) -> int | None:
    """Nothing in a call stands for the result of a task."""
    return None


def _number_in(named: dict[int, int | None], item: object) -> int | None:
    return named.get(id(item))


class TasksAt(Mapping[int, Any]):
    """The futures of open tasks that one executor was handed early, by number: a live view.

    To look at all of them takes time in proportion to all tasks that are open.
    """

    def __init__(self, label: str, open_tasks: Mapping[int, Any]) -> None:
        self._label = label
        self._open = open_tasks

    def __getitem__(self, number: int) -> Any:
        record = self._open[number]
        if not record.early or record.executor != self._label:
            raise KeyError(number)
        return record.app_fu

    def __iter__(self) -> Iterator[int]:
        found = list(self._open.values())
        return iter([r.id for r in found if r.early and r.executor == self._label])

    def __len__(self) -> int:
        return sum(1 for _ in self)
