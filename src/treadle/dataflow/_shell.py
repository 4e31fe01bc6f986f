"""The shell round the kernel's machine: it carries out what the machine orders.

It decides nothing. Events come in by the inbox, on the engine thread; commands are carried out
there if they are short and ours, on the pool if they call user code. Every answer goes back
through the inbox with the attempt it is for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle.dataflow import _events as ev
from treadle.dataflow._binding import bind, bind_easy
from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._node import Node, Phase
from treadle.dataflow._outcomes import Outcomes, classify, joinable, show
from treadle.log import logger
from treadle.serialize import Outcome, unwrap_outcome

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.dataflow._machine import Machine
    from treadle.dataflow._routes import Route
    from treadle.dataflow.dependency_resolvers import DependencyResolver
    from treadle.dataflow.memoization import Memoizer
    from treadle.dataflow.taskrecord import TaskRecord
    from treadle.runtime.engine import Engine

_log = logger("dataflow")

RetryHandler = Callable[[BaseException, "TaskRecord"], float]


class Shell:
    """Carries out the commands of one kernel's machine."""

    def __init__(
        self,
        *,
        machine: Machine,
        engine: Engine,
        memoizer: Memoizer,
        resolver: DependencyResolver,
        retry_handler: RetryHandler | None,
        outcomes: Outcomes,
        validate: Callable[[], None] | None = None,
    ) -> None:
        self.routes: dict[str, Route] = {}
        self.inbox = engine.admit(self.take, self.crashed)
        #: Why nothing works any more; None while it does.
        self.dead: BaseException | None = None
        self._machine = machine
        self._engine = engine
        self._memoizer = memoizer
        self._resolver = resolver
        self._retry_handler = retry_handler
        self._outcomes = outcomes
        self._validate = validate
        self._perform: dict[type, Callable[[Any], None]] = {
            ev.Prepare: self._prepare,
            ev.LookUp: lambda c: self._on_pool(self._look_up, c.node),
            ev.Launch: self._launch,
            ev.Judge: lambda c: self._on_pool(self._judge, c.node, c.attempt),
            ev.Record: lambda c: self._on_pool(self._record, c.node, c.ok),
            ev.Watch: self._watch,
            ev.Settle: outcomes.settle,
        }

    def take(self, event: ev.Event) -> None:
        """On the engine thread: give an event to the machine and carry out what it orders."""
        perform = self._perform
        for command in self._machine.handle(event):
            perform[type(command)](command)
        if self._outcomes.ended:
            self._outcomes.drop()
        if self._validate is not None:
            self._validate()

    def crashed(self, error: BaseException) -> None:
        """The engine, or our use of it, has failed: fail everything, with the cause."""
        self.dead = self._outcomes.fail_all(self._machine.open.values(), error)

    def _on_pool(self, job: Callable[..., None], *args: Any) -> None:
        self._engine.pool.submit(partial(job, *args))

    # --- arguments and memo keys --------------------------------------------------------------

    def _prepare(self, command: ev.Prepare) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        if record.hashsum is not None:
            # It had no dependencies: the key was computed when the app was called.
            self.inbox.post(ev.Prepared(record, record.hashsum))
            return
        self._on_pool(self._prepare_now, record)

    def _prepare_now(self, record: TaskRecord) -> None:
        try:
            bind(record, self._resolver)
            key = self._memoizer.make_key(record)
        except BaseException as error:  # noqa: BLE001 - user code; it is the task's outcome
            self._cannot(record, error)
        else:
            self.inbox.post(ev.Prepared(record, key))

    def _look_up(self, record: TaskRecord) -> None:
        try:
            found = self._memoizer.check_memo(record)
            error = None if found is None else found.exception()
        except BaseException as failure:  # noqa: BLE001 - user code; it is the task's outcome
            self._cannot(record, failure)
            return
        record.from_memo = found is not None
        if found is not None:
            record.exec_fu, record.error = found, error
        self.inbox.post(ev.LookedUp(record, found is not None, error is None))

    def _cannot(self, record: TaskRecord, error: BaseException) -> None:
        record.error = error
        record.fail_history.append(show(error))
        self.inbox.post(ev.Unprepared(record))

    def _record(self, record: TaskRecord, ok: bool) -> None:
        try:
            if ok:
                self._memoizer.update_memo_result(record, self._outcomes.result_of(record))
            elif record.error is not None:
                self._memoizer.update_memo_exception(record, record.error)
        except BaseException:  # noqa: BLE001 - the result stands even if it is not remembered
            _log.exception("task %d: its outcome could not be remembered", record.id)
        self.inbox.post(ev.Recorded(record))

    # --- attempts -----------------------------------------------------------------------------

    def _launch(self, command: ev.Launch) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        route = self.routes[record.executor]  # type: ignore[index]
        if route.quick and (record.easy or record.bound):
            self._hand_over(record, command.attempt, route)
        else:
            self._on_pool(self._hand_over, record, command.attempt, route)

    def _hand_over(self, record: TaskRecord, attempt: int, route: Route) -> None:
        if record.phase is not Phase.launching:
            return  # cancelled meanwhile
        record.t_launched = time.time()
        try:
            if record.depends and not record.bound:
                if record.easy:
                    bind_easy(record)
                else:
                    bind(record, self._resolver)
            future = route.submit(record)
        except BaseException as error:  # noqa: BLE001 - it is the attempt's outcome
            self._failed(record, attempt, error)
            return
        record.exec_fu = future
        if self._engine.is_current():
            self.take(ev.Launched(record, attempt))
        else:
            self.inbox.post(ev.Launched(record, attempt))
        ended = self._unpack if route.pickles else self._attempt_done
        future.add_done_callback(partial(ended, record, attempt))

    def _unpack(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        """Bytes from another process: loading them is user code, so it is done on the pool."""
        self._on_pool(self._unpack_now, record, attempt, future)

    def _unpack_now(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        if future is not record.exec_fu:
            return
        if not future.cancelled() and isinstance(future._result, Outcome):
            loaded: LazyFuture[Any] = LazyFuture()
            try:
                loaded.set_result(unwrap_outcome(future.result()))
            except BaseException as error:  # noqa: BLE001 - it is the attempt's outcome
                loaded.set_exception(error)
            record.exec_fu = future = loaded
        self._attempt_done(record, attempt, future)

    def _attempt_done(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        """In the thread that ran the attempt: report its outcome."""
        if future is not record.exec_fu:
            return  # an old attempt's, or one that was cancelled
        self.inbox.post(self.outcome(record, attempt, future))

    def outcome(
        self, record: TaskRecord, attempt: int, future: Future[Any], *, must: bool = False
    ) -> ev.AttemptEnded:
        """Read the outcome of an attempt from its future; keep its error in the record."""
        record.t_try_returned = time.time()
        if future.cancelled():
            return ev.AttemptEnded(record, attempt, ev.Ended.cancelled, must)
        error = future.exception()
        if error is None and record.join:
            error = joinable(record, future.result())
            if error is not None:
                self._keep(record, error)
                return ev.AttemptEnded(record, attempt, ev.Ended.hopeless, must)
        if error is None:
            return ev.AttemptEnded(record, attempt, ev.Ended.succeeded, must)
        self._keep(record, error)
        return ev.AttemptEnded(record, attempt, classify(error), must)

    def _failed(self, record: TaskRecord, attempt: int, error: BaseException) -> None:
        record.t_try_returned = time.time()
        self._keep(record, error)
        self.inbox.post(ev.AttemptEnded(record, attempt, classify(error)))

    def _keep(self, record: TaskRecord, error: BaseException) -> None:
        record.error = error
        record.fail_history.append(show(error))

    def _judge(self, record: TaskRecord, attempt: int) -> None:
        handler, error = self._retry_handler, record.error
        if handler is None or error is None:
            return
        try:
            cost = handler(error, record)
            if isinstance(cost, bool) or not isinstance(cost, (int, float)):
                raise TypeError(
                    f"the retry handler must return the cost of the failure, a number, not {cost!r}"
                )
        except BaseException as failure:  # noqa: BLE001 - user code; it is the task's outcome
            _log.exception("task %d: the retry handler raised", record.id)
            failure.__context__ = error
            self._keep(record, failure)
            self.inbox.post(ev.Judged(record, attempt, 0, hopeless=True))
        else:
            self.inbox.post(ev.Judged(record, attempt, cost))

    # --- joins --------------------------------------------------------------------------------

    def _watch(self, command: ev.Watch) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        joins = record.joins
        inner = joins if isinstance(joins, list) else [joins]
        self.take(ev.Joined(record, len(inner)))
        for future in inner:
            follow(future, partial(self._inner_done, record))

    def _inner_done(self, record: Node, future: Future[Any]) -> None:
        self.inbox.post(ev.InnerEnded(record, succeeded(future)))

    def dependency_done(self, record: Node, future: Future[Any]) -> None:
        """A future that is no task of this kernel has ended."""
        self.inbox.post(ev.DependencyEnded(record, succeeded(future)))


def follow(future: Future[Any], listener: Callable[[Future[Any]], None]) -> None:
    """Have a short function of ours called when a future ends, or now if it has ended."""
    if isinstance(future, LazyFuture):
        future.add_listener(listener)
    else:
        future.add_done_callback(listener)


def succeeded(future: Future[Any]) -> bool:
    """Whether a future that is done has a result."""
    return not future.cancelled() and future.exception() is None
