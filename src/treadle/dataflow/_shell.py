"""The shell round the kernel's machine: it carries out what the machine orders.

It decides nothing. Events come in by the inbox, on the engine thread; commands are carried out
there if they are short and ours, on the pool if they call user code. Every answer goes back
through the inbox with the attempt it is for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any

from treadle.dataflow import _events as ev
from treadle.dataflow._binding import bind, bind_easy, remote_in
from treadle.dataflow._lazy import LazyFuture, log_exception
from treadle.dataflow._node import Node, Phase
from treadle.dataflow._outcomes import Outcomes, classify, joinable, show
from treadle.dataflow._remote import bring_all
from treadle.dataflow.futures import AppFuture
from treadle.errors import KernelForked
from treadle.log import logger
from treadle.serialize import unwrap_outcome

if TYPE_CHECKING:
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
        self.inbox = engine.admit(self.take, self.crashed, self.refuse)
        #: Why nothing works any more; None while it does.
        self.dead: BaseException | None = None
        #: How many events are being handled, one inside the other.
        self._depth = 0
        #: While somebody waits for outcomes on their way: done when they are there.
        self._settled: LazyFuture[None] | None = None
        #: Whose outcomes that may be.
        self._owed: list[Node] | None = None
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
            ev.Admit: self._admit,
            ev.Judge: lambda c: self._on_pool(self._judge, c.node, c.attempt),
            ev.Record: lambda c: self._on_pool(self._record, c.node, c.ok),
            ev.Watch: self._watch,
            ev.Settle: outcomes.settle,
        }

    def take(self, event: ev.Event) -> None:
        """On the engine thread: give an event to the machine and carry out what it orders."""
        perform = self._perform
        self._depth += 1
        try:
            for command in self._machine.handle(event):
                perform[type(command)](command)
        finally:
            self._depth -= 1
        if type(event) is ev.Closed:  # executors are about to end: they must have heard of all
            for route in self.routes.values():
                if route.references is not None:
                    route.references.flush()
        if not self._depth and (self._outcomes.ended or self._owed is not None):
            self._rest()
        if self._validate is not None:
            self._validate()

    def take_all(self, events: Iterable[ev.Event]) -> None:
        """The same for several, each of which is asked for when the one before has been handled."""
        self._depth += 1
        try:
            for event in events:
                self.take(event)
        finally:
            self._depth -= 1
        self._rest()

    def _rest(self) -> None:
        # What has ended is dropped last: a twin, settled after its leader, reads its result.
        if self._outcomes.ended:
            self._outcomes.drop()
        if self._owed is not None:
            self._look_at_owed()

    def crashed(self, error: BaseException) -> None:
        """The engine, or our use of it, has failed: fail everything with the error."""
        # First of all: who sees a future fail must not be able to submit any more.
        self.dead = error
        nodes = self._machine.open.values()
        if isinstance(error, KernelForked):
            self._outcomes.forget_parent(nodes, error)
        else:
            self._outcomes.fail_all(nodes, error)
        if self._settled is not None:
            self._settled._finish(FINISHED, None, None)

    def refuse(self, event: ev.Event) -> None:
        """An event came too late to be handled: a new task fails, all others have ended."""
        if isinstance(event, ev.Submitted):
            self._outcomes.refuse(event.node, self.dead)

    def wait_until_settled(self) -> None:
        """Wait until the outcome of every attempt that has ended is in its task's future.

        Retry handlers and memoizers may still be busy with it when the executors have ended.
        """
        settled: LazyFuture[None] = LazyFuture()
        self._settled = settled
        self._engine.call_soon(self._begin_to_settle)
        if self.dead is None:
            settled.result()

    def _begin_to_settle(self) -> None:
        self._owed = list(self._machine.open.values())
        self._look_at_owed()

    def _look_at_owed(self) -> None:
        """Strike off what is settled, from the newest (inner tasks come before their joins)."""
        nodes = self._owed
        while nodes and not _is_owed(nodes[-1]):
            nodes.pop()
        if not nodes and self._settled is not None:
            self._owed = None
            self._settled._finish(FINISHED, None, None)

    def _on_pool(self, job: Callable[..., None], *args: Any) -> None:
        self._engine.pool.submit(partial(job, *args))

    # --- arguments and memo keys --------------------------------------------------------------

    def _prepare(self, command: ev.Prepare) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        if record.hashsum is not None:
            # It had no dependencies: the key was computed when the app was called.
            self.inbox.post(ev.Prepared(record, record.hashsum))
            return
        bring_all(remote_in(record.depends), partial(self._on_pool, self._prepare_now, record))

    def _prepare_now(self, record: TaskRecord) -> None:
        try:
            bind(record, self._resolver)
            key = self._memoizer.make_key(record)
            if key is not None and type(key) is not str:
                raise TypeError(f"make_key() must return a str or None, not {key!r}")
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
        if record.phase is not Phase.looking_up:
            return  # cancelled meanwhile: it is to hold nothing
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
                self._memoizer.update_memo_result(record, self._outcomes.value_of(record))
            elif record.error is not None:
                self._memoizer.update_memo_exception(record, record.error)
        except BaseException:  # noqa: BLE001 - the result stands even if it is not remembered
            log_exception(_log, "task %d: its outcome could not be remembered", record.id)
        self.inbox.post(ev.Recorded(record))

    # --- attempts -----------------------------------------------------------------------------

    def _launch(self, command: ev.Launch) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        route = self.routes[record.executor]  # type: ignore[index]
        if not record.bound and (remote := remote_in(record.depends)):
            # They are brought here first: no thread of the pool waits for that.
            hand_over = partial(self._hand_over, record, command.attempt, route)
            bring_all(remote, partial(self._on_pool, hand_over))
        elif route.quick and (record.easy or record.bound):
            self._hand_over(record, command.attempt, route)
        else:
            self._on_pool(self._hand_over, record, command.attempt, route)

    def _admit(self, command: ev.Admit) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        references = self.routes[record.executor].references  # type: ignore[index]
        if references is not None:
            references.admit(record)

    def _hand_over(self, record: TaskRecord, attempt: int, route: Route) -> None:
        if record.phase is not Phase.launching or record.try_id != attempt:
            return  # cancelled meanwhile
        record.t_launched = time.time()
        try:
            if record.depends and not record.bound:
                if record.easy:
                    bind_easy(record)
                else:
                    bind(record, self._resolver)
            future = route.submit(record)
            record.exec_fu = future
            if self._engine.is_current():
                self.take(ev.Launched(record, attempt))
            else:
                self.inbox.post(ev.Launched(record, attempt))
            if not isinstance(future, LazyFuture) and type(future) is not Future:
                ended = self._read  # its methods may be anything
            else:
                ended = self._unpack if route.loads else self._attempt_done
            future.add_done_callback(partial(ended, record, attempt))
        except BaseException as error:  # noqa: BLE001 - it is the attempt's outcome
            self._failed(record, attempt, error)
            return
        self._stop_if_late(record, future)

    def _stop_if_late(self, record: TaskRecord, future: Future[Any]) -> None:
        """The task may have ended while its attempt was on its way to the executor."""
        if record.phase is Phase.ended:
            record.exec_fu = None
            if not future.done():
                self._engine.pool.submit(future.cancel)

    def _unpack(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        """Bytes from another process: loading them is user code, so it is done on the pool."""
        self._on_pool(self._read, record, attempt, future)

    def _read(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        """Read a future that only user code can read; the outcome goes into one of ours."""
        if future is not record.exec_fu:
            return
        if future.cancelled():
            self._attempt_done(record, attempt, future)
            return
        loaded: LazyFuture[Any] = LazyFuture()
        try:
            loaded.set_result(unwrap_outcome(future.result()))
        except BaseException as error:  # noqa: BLE001 - it is the attempt's outcome
            loaded.set_exception(error)
        record.exec_fu = loaded
        self._attempt_done(record, attempt, loaded)
        self._stop_if_late(record, loaded)

    def _attempt_done(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        """In the thread that ran the attempt: report its outcome."""
        if future is not record.exec_fu:
            return  # an old attempt's, or one that was cancelled
        if (record.join or future._exception is not None) and self._engine.is_current():
            # It was done before it was looked at; to tell what it is takes user code.
            self._on_pool(self._report, record, attempt, future)
            return
        self.inbox.post(self.outcome(record, attempt, future))

    def _report(self, record: TaskRecord, attempt: int, future: Future[Any]) -> None:
        self.inbox.post(self.outcome(record, attempt, future))

    def outcome(
        self, record: TaskRecord, attempt: int, future: Future[Any], *, must: bool = False
    ) -> ev.AttemptEnded:
        """Read the outcome of an attempt from its future; keep its error in the record."""
        record.t_try_returned = time.time()
        record.t_running = getattr(future, "started", None)
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
            cost: Any = handler(error, record)
            if isinstance(cost, bool) or not isinstance(cost, Real):
                raise TypeError(
                    f"the retry handler must return the cost of the failure, a number, not {cost!r}"
                )
            cost = float(cost)
        except BaseException as failure:  # noqa: BLE001 - user code; it is the task's outcome
            if failure is not error:
                _chain(failure, error)
                self._keep(record, failure)
            self.inbox.post(ev.Judged(record, attempt, 0, hopeless=True))
            log_exception(_log, "task %d: the retry handler raised", record.id)
        else:
            self.inbox.post(ev.Judged(record, attempt, cost))

    # --- joins --------------------------------------------------------------------------------

    def _watch(self, command: ev.Watch) -> None:
        record: TaskRecord = command.node  # type: ignore[assignment]
        joins = record.joins
        inner = joins if isinstance(joins, list) else [joins]
        self.take(ev.Joined(record, len(inner)))
        if all(type(future) is AppFuture for future in inner):
            self._follow_inner(record, inner)
        else:
            # Others may have to become tasks first, or are not ours to call on this thread.
            self._on_pool(self._follow_inner, record, inner)

    def _follow_inner(self, record: TaskRecord, inner: Sequence[Future[Any]]) -> None:
        for future in inner:
            try:
                follow(future, partial(self._inner_done, record))
            except BaseException as error:  # noqa: BLE001 - a future of somebody else's class
                self._keep(record, error)
                self.inbox.post(ev.InnerEnded(record, ok=False))

    def _inner_done(self, record: Node, future: Future[Any]) -> None:
        self.inbox.post(ev.InnerEnded(record, succeeded(future)))

    def dependency_done(self, record: Node, future: Future[Any]) -> None:
        """A future that is no task of this kernel has ended."""
        self.inbox.post(ev.DependencyEnded(record, succeeded(future)))


def _is_owed(node: Any) -> bool:
    """Whether a task's code has run and its outcome is still on its way."""
    if node.phase in (Phase.judging, Phase.watching, Phase.recording):
        return True
    if node.phase is Phase.joining:
        joins = node.joins
        return all(f.done() for f in (joins if isinstance(joins, list) else [joins]))
    running = node.phase in (Phase.launching, Phase.running)
    return running and node.exec_fu is not None and node.exec_fu.done()


def _chain(failure: BaseException, error: BaseException) -> None:
    try:
        failure.__context__ = error
    except BaseException:  # noqa: BLE001 - a class of the user's may forbid it
        return


def follow(future: Future[Any], listener: Callable[[Future[Any]], None]) -> None:
    """Have a short function of ours called when a future ends, or now if it has ended."""
    if isinstance(future, LazyFuture):
        future.add_listener(listener)
    else:
        future.add_done_callback(listener)


def succeeded(future: Future[Any]) -> bool:
    """Whether a future that is done has a result."""
    if isinstance(future, LazyFuture):
        return future._state == FINISHED and future._exception is None
    return not future.cancelled() and future.exception() is None
