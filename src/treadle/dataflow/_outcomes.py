"""How tasks end: what goes into the user's future, and what is let go."""

from __future__ import annotations

import time
import weakref
from concurrent.futures import Future
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from typing import TYPE_CHECKING, Any

from treadle.dataflow import _events as ev
from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._remote import LateError, Remote, Several, seen
from treadle.errors import (
    DataFlowException,
    DependencyError,
    JoinError,
    KernelForked,
    NoDataFlowKernelError,
    describe_failed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from treadle.dataflow._node import Node
    from treadle.dataflow.taskrecord import TaskRecord


class Outcomes:
    """Settles the futures of one kernel's tasks.

    Args:
        tasks: the kernel's table of open tasks.
        collect: drop what is known of a task when it has ended.
        leave: called when tasks that were counted by the gate have ended, with their number.
        stop: called with the attempt of a task that has ended before it.
        let_go: called when a task that was handed to its executor early has ended without result.
    """

    def __init__(
        self,
        tasks: dict[int, TaskRecord],
        *,
        collect: bool,
        leave: Callable[[int], None] | None,
        stop: Callable[[Future[Any]], None],
        let_go: Callable[[TaskRecord], None],
    ) -> None:
        #: Tasks that have ended and whose records are still to be dropped.
        self.ended: list[TaskRecord] = []
        self.closed = False
        #: The task that was settled last.
        self._now: TaskRecord | None = None
        self._tasks = tasks
        self._collect = collect
        self._leave = leave
        self._stop = stop
        self._let_go = let_go

    def settle(self, command: ev.Settle) -> None:
        """Put the outcome of a task into its future."""
        record: TaskRecord = command.node  # type: ignore[assignment]
        verdict = command.verdict
        state, result, error = FINISHED, None, None
        try:
            if verdict is ev.Verdict.result or verdict is ev.Verdict.from_memo:
                result = self.result_of(record)
            elif verdict is ev.Verdict.twin:
                record.from_memo = True
                leader: Any = command.leader
                result = leader._future._result
            elif verdict is ev.Verdict.cancelled:
                state = CANCELLED_AND_NOTIFIED
            else:
                error = self._error_of(record, verdict)
        except BaseException as failure:  # noqa: BLE001 - a future of somebody else's class
            error = failure
        self._finish(record, state, result, error)

    def _finish(
        self, record: TaskRecord, state: str, result: Any, error: BaseException | LateError | None
    ) -> None:
        record.t_returned = time.time()
        self._now = record
        if self._collect:
            self._tasks.pop(record.id, None)
        record._future._finish(state, result, error)
        if self._leave is not None and record.gated:
            self._leave(record.rows)
        self.ended.append(record)

    def result_of(self, record: TaskRecord) -> Any:
        """The result of a task whose code has run; a `Remote` if it is elsewhere."""
        if record.early:
            return record.stage
        if record.join and not record.from_memo:
            joins = record.joins
            if not isinstance(joins, list):
                return _result_in(joins)
            parts = [_result_in(future) for future in joins]
            return Remote(Several(parts)) if any(type(p) is Remote for p in parts) else parts
        return record.exec_fu.result()

    def value_of(self, record: TaskRecord) -> Any:
        """The same, loaded into this process: not for the engine thread."""
        result = self.result_of(record)
        return result.get() if type(result) is Remote else result

    def _error_of(self, record: TaskRecord, verdict: ev.Verdict) -> BaseException | LateError:
        known: BaseException | LateError | None = record.error
        if verdict is ev.Verdict.dependency:
            if isinstance(known, DependencyError):
                return known
            failed = failures(record.depends)
            if not failed and known is not None:
                if record.early:
                    return known  # its own, or of an input that was lost
                failed = [(known, "a future that could not be watched")]
            return _error_with(DependencyError, failed, record.id)
        if verdict is ev.Verdict.inner:
            joins = record.joins
            failed = failures(joins if isinstance(joins, list) else [joins])
            if not failed and known is not None:
                return known  # one of them could not even be watched
            return _error_with(JoinError, failed, record.id)
        if verdict is ev.Verdict.abandoned:
            if self.closed:
                return NoDataFlowKernelError(
                    f"task {record.id} ({record.func_name}) was {_where(record)} when its kernel "
                    f"was cleaned up; wait for its future first, or use exit_mode='wait'"
                )
            return DataFlowException(f"task {record.id} was set to failed by update_task_state")
        return known or DataFlowException(f"task {record.id} failed")

    def drop(self) -> None:
        """Let go of what only open tasks need."""
        ended, self.ended = self.ended, []
        self._now = None
        for record in ended:
            if record.early:
                if type(record.stage) is Remote:
                    record.stage = None  # who holds the future holds it
                else:
                    self._let_go(record)
            attempt = record.exec_fu
            if attempt is not None and not attempt.done():
                self._stop(attempt)
            if self._collect:
                record.drop()

    def fail_all(self, nodes: Iterable[Node], error: BaseException) -> None:
        """Fail all open tasks because the kernel cannot go on."""
        for record in self._all(nodes):
            if record._future._finish(FINISHED, None, error) and self._leave and record.gated:
                self._leave(record.rows)

    def refuse(self, node: Node, reason: BaseException | None) -> None:
        """Fail a task that came too late for the machine."""
        record: Any = node
        if reason is None:
            reason = NoDataFlowKernelError(
                f"task {record.id} ({record.func_name}) came when its kernel had been cleaned up"
            )
        self._tasks.pop(record.id, None)
        record._future._finish(FINISHED, None, reason)

    def forget_parent(self, nodes: Iterable[Node], error: KernelForked) -> None:
        """In a forked child: fail all that is open; what is to be called then is the parent's."""
        for record in self._all(nodes):
            record._future._reset()
            record._future._finish(FINISHED, None, error)

    def _all(self, nodes: Iterable[Node]) -> set[Any]:
        records: set[Any] = {*nodes, *list(self._tasks.values())}
        if self._now is not None:
            records.add(self._now)  # it may have left the books and not be done yet
        return {r for r in records if not isinstance(r._future, weakref.ref)}


def _where(record: TaskRecord) -> str:
    if record.waiting_on:
        return f"waiting for {record.waiting_on} dependencies"
    return f"{record.status.name}, not finished,"


def _result_in(future: Any) -> Any:
    """What a future that is done has for a result; nothing is loaded."""
    if isinstance(future, LazyFuture) and future._state == FINISHED and future._exception is None:
        return future._result
    return future.result(0)  # no time to wait, so that a mistake cannot stop the engine


def _error_with(
    kind: type[DependencyError | JoinError],
    failed: list[tuple[BaseException | LateError, str]],
    number: int,
) -> BaseException | LateError:
    """The error that names these failures; it is made late if one of them is."""

    def make() -> BaseException:
        return kind([(seen(error), name) for error, name in failed], number)

    late = [error for error, _ in failed if type(error) is LateError]
    return LateError(make, late) if late else make()


def failures(futures: Iterable[Future[Any]]) -> list[tuple[BaseException | LateError, str]]:
    """What failed among futures that are done, each with its name for people."""
    failed: list[tuple[BaseException | LateError, str]] = []
    for future in futures:
        if not future.done():
            continue
        error: Any
        try:
            known = isinstance(future, LazyFuture) and not future.cancelled()
            error = future._exception if known else future.exception()
        except BaseException as cancelled:  # noqa: BLE001 - CancelledError is none of Exception's
            error = cancelled
        if error is not None:
            failed.append((error, describe_failed(future)))
    return failed


def classify(error: BaseException) -> ev.Ended:
    """How an attempt that raised has ended."""
    is_dependency = issubclass(type(error), DependencyError)
    return ev.Ended.dependency if is_dependency else ev.Ended.failed


def joinable(record: TaskRecord, returned: Any) -> BaseException | None:
    """Take the futures that a join app returned; the error if it returned something else."""
    try:
        if isinstance(returned, Future):
            record.joins = returned
            return None
        if isinstance(returned, list) and all(isinstance(f, Future) for f in returned):
            record.joins = list(returned)
            return None
        wrong = _name_wrong(returned)
    except BaseException as error:  # noqa: BLE001 - what is asked for its class may run any code
        return error
    return TypeError(
        f"join_app {record.func_name} must return a Future or a list of Futures, not {wrong}"
    )


def _name_wrong(returned: Any) -> str:
    if isinstance(returned, list):
        wrong = next(f for f in returned if not isinstance(f, Future))
        return f"a list with a {type(wrong).__name__} in it"
    return f"a {type(returned).__name__}"


def show(error: BaseException) -> str:
    """The repr of an exception, which is user code and may fail."""
    try:
        return repr(error)
    except BaseException:  # noqa: BLE001 - see above
        return f"<{type(error).__name__}, whose repr fails>"
