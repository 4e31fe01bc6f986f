"""What workers say of the attempts they were given.

One outcome of an attempt counts, and only that of the newest: the one the task is processing, on
the worker that has it. All else is refused and counted; a result that is refused is freed.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._actors import call_died
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import part
from treadle.scheduler._departures import drain
from treadle.scheduler._end import arrive, err, remember, tell_done
from treadle.scheduler._loss import accuse, strike_off
from treadle.scheduler._need import again
from treadle.scheduler._occupancy import keep, leave, step_aside, step_back
from treadle.scheduler._release import inputs_unneeded
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import PROCESSING
from treadle.scheduler._worker import WorkerState
from treadle.wire import (
    Aside,
    Attempt,
    Back,
    Died,
    Failed,
    Finished,
    Free,
    Returned,
    Started,
    TaskId,
)


def current(books: Books, ws: WorkerState, id: TaskId, attempt: int, rows: int) -> TaskState | None:
    """The task whose attempt this is, if it is the one that counts; None if it is refused."""
    ts = books.tasks.get(id)
    if ts is not None and ts.rare is None and rows == 1:
        pass  # no bundle, nor part of one: nearly all
    else:
        ts = part(books, ts, id, attempt, rows)
    if ts is None:
        books.refuse("outcome of an unknown task")
    elif ts.attempt != attempt:
        books.refuse("outcome of an old attempt")
    elif ts.code != PROCESSING or ts.processing_on is not ws:
        books.refuse("outcome of an attempt that has ended")
    else:
        return ts
    return None


def finished(books: Books, ws: WorkerState, report: Finished) -> None:
    """An attempt has a result."""
    ts = current(books, ws, report.id, report.attempt, report.rows)
    if ts is None:
        known = books.tasks.get(report.id)
        if known is None or known not in ws.has_what or known.attempt != report.attempt:
            books.send(ws, Free(report.id, report.attempt))
        return
    leave(ws, ts)
    group = ts.group
    group.nbytes += report.nbytes
    group.duration_s += report.duration_s
    group.prefix.learn(report.duration_s, report.nbytes, report.memory_bytes, report.rows)
    arrive(books, ts, ws, report.nbytes, report.type)
    if ts.deps is not None:
        inputs_unneeded(books, ts)
    if ts.rare is not None and ts.rare.actor:
        keep(ws, ts)
        queues.actor_lives(books, ts)
    tell_done(books, ts, report.inline)
    queues.has_room(books, ws)


def failed(books: Books, ws: WorkerState, report: Failed) -> None:
    """An attempt raised: it is tried again while there are retries."""
    ts = current(books, ws, report.id, report.attempt, report.rows)
    if ts is None:
        return
    ts.group.prefix.failed += 1
    remember(ts, ws.id, report.failure)
    if ts.retries and not report.final:
        ts.retries -= 1
        again(books, ts, f"raised {report.failure.type} on {ws.id}; {ts.retries} retries left")
        return
    leave(ws, ts)
    queues.has_room(books, ws)
    err(books, ts, report.failure)


def died(books: Books, ws: WorkerState, report: Died) -> None:
    """The slot that ran an attempt died: that accuses this task, and no other."""
    ts = current(books, ws, report.id, report.attempt, report.rows)
    if ts is None:
        return
    if ts.home is not None:
        call_died(books, ts, report.exit_code)
    else:
        accuse(books, ts, f"the process that ran it on {ws.id}", report.exit_code)


def returned(books: Books, ws: WorkerState, report: Returned) -> None:
    """An attempt did not run: it accuses nobody. Inputs that were not to be had are struck off."""
    ts = current(books, ws, report.id, report.attempt, report.rows)
    if ts is None:
        return
    if report.why == "drained" and not ws.draining:
        drain(books, ws)  # it was told so before it was given up, or says so elsewhere soon
    if report.why == "rescheduled":
        ts.rarely().avoid = ws.id
        again(books, ts, f"raised Reschedule on {ws.id}, and goes elsewhere if it can")
        return
    for id, holder in report.missing:
        strike_off(books, id, holder)
    if ts.processing_on is ws:  # else what was struck off has ended it
        again(books, ts, f"given back by {ws.id}: {report.why}")


def aside(books: Books, ws: WorkerState, report: Aside) -> None:
    """Attempts wait for other tasks, or have seceded: they run on, and take no slot."""
    for attempt in report.attempts:
        for ts in _running(books, ws, attempt):
            step_aside(ws, ts)
    queues.set_aside(books, ws)


def back(books: Books, ws: WorkerState, report: Back) -> None:
    """Attempts that were aside take their slots again."""
    for attempt in report.attempts:
        for ts in _running(books, ws, attempt):
            step_back(ws, ts)
            queues.has_long(books, ws, ts)


def _running(books: Books, ws: WorkerState, attempt: Attempt) -> list[TaskState]:
    """What is left of the attempt on the worker: of a bundle, all parts that have not ended."""
    number = attempt.attempt
    ts = books.tasks.get(attempt.id)
    if ts is not None and ts.rare is None:
        found = [ts] if ts.attempt == number and ts in ws.processing else []
    else:
        found = [ts for ts in ws.processing if ts.attempt == number and ts.home is None]
    if not found:
        books.refuse("turn of an attempt that has ended")
    return found


def started(books: Books, ws: WorkerState, report: Started) -> None:
    """Attempts have begun to run."""
    for attempt in report.attempts:
        ts = books.tasks.get(attempt.id)
        if ts is not None and ts.attempt == attempt.attempt and ts in ws.processing:
            ws.executing[ts] = books.now
