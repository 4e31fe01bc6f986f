"""A worker is back: what it says it has and does is compared with what the books say.

What it has and is still wanted counts, also if it had been given up in between; what it has or does
and is not wanted (any longer) is freed or stopped. What the books have of it and it does not know
of was lost on the way, which is nobody's fault. Attempts are told apart by their number alone: of a
bundle the rest has another identifier than the worker knows it by.
"""

from __future__ import annotations

from collections.abc import Callable

from treadle.scheduler import _data, _outcomes
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._end import another, arrive, tell_done
from treadle.scheduler._loss import lost
from treadle.scheduler._need import again
from treadle.scheduler._occupancy import leave
from treadle.scheduler._release import drop_replica, inputs_unneeded
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import MEMORY, NO_WORKER, PROCESSING, WAITING
from treadle.scheduler._worker import WorkerState
from treadle.wire import (
    Attempt,
    Died,
    Failed,
    Finished,
    Free,
    Held,
    Holding,
    Register,
    Returned,
    Stop,
)

_REPORTS: dict[type, Callable[..., None]] = {
    Finished: _outcomes.finished,
    Failed: _outcomes.failed,
    Died: _outcomes.died,
    Returned: _outcomes.returned,
}


def reconcile(books: Books, ws: WorkerState, message: Register) -> None:
    """Make the books and the worker agree."""
    # What can be taken back comes first: an outcome that is refused frees its result.
    for held in message.holds:
        ts = books.tasks.get(held.id)
        if ts is not None and (ts.code == WAITING or ts.code == NO_WORKER):
            _take(books, ws, ts, held)
    for report in message.ended:
        _REPORTS[type(report)](books, ws, report)
    for held in message.holds:
        _compare(books, ws, held, message.running)
    _strike_unlisted(books, ws, {(held.id, held.attempt) for held in message.holds})
    stop_stale(books, ws, (*message.running, *message.queued))
    running = {attempt.attempt for attempt in message.running}
    known = running.union(attempt.attempt for attempt in message.queued)
    for ts in list(ws.processing):
        if ts.processing_on is not ws:
            continue  # what came before has ended it
        if ts.attempt not in known:
            again(books, ts, f"{ws.id} does not know of it")
        elif ts.attempt in running:
            ws.executing.setdefault(ts, books.now)
    ws.unlisted.clear()


def stop_stale(books: Books, ws: WorkerState, attempts: tuple[Attempt, ...]) -> None:
    """Stop what the worker does and nobody waits for."""
    if not attempts:
        return
    current = {ts.attempt for ts in ws.processing}
    current.update(actor.attempt for actor in ws.actors)
    for attempt in attempts:
        if attempt.attempt not in current:
            books.send(ws, Stop(attempt.id, attempt.attempt))


def _compare(books: Books, ws: WorkerState, held: Held, running: tuple[Attempt, ...]) -> None:
    """See what an object that the worker has is good for."""
    ts = books.tasks.get(held.id)
    if ts is None:
        books.send(ws, Free(held.id, held.attempt))
    elif ts.run_spec is None and ts not in ws.has_what:
        _data.holding(books, ws, Holding((held,)))
    elif ts.attempt != held.attempt:
        books.send(ws, Free(held.id, held.attempt))
    elif ts.code == MEMORY and not (ts.actor and ts not in ws.has_what):
        another(ts, ws)
    elif ts.code == PROCESSING and ts.processing_on is ws:
        if all(attempt.attempt != held.attempt for attempt in running):
            _take(books, ws, ts, held)
    else:
        books.send(ws, Free(held.id, held.attempt))


def _take(books: Books, ws: WorkerState, ts: TaskState, held: Held) -> None:
    """A task that is active has its result, as the worker was given up, or its report is lost."""
    if ts.attempt != held.attempt or ts.rows != held.rows or not ts.repeatable:
        return
    if ts.code == PROCESSING:
        leave(ws, ts)
        queues.has_room(books, ws)
    elif not ts.n_waiting_on:
        queues.withdraw(books, ts)
    ts.n_waiting_on = 0
    books.note(ts, f"{ws.id} came back with its result")
    arrive(books, ts, ws, held.nbytes, held.type)
    inputs_unneeded(books, ts)
    tell_done(books, ts)


def _strike_unlisted(books: Books, ws: WorkerState, holds: set[tuple[int | str, int]]) -> None:
    """Results the worker should have and does not know of are there no longer."""
    for ts in reversed(list(ws.has_what)):
        if ts in ws.has_what and (ts.id, ts.attempt) not in holds:
            drop_replica(ts, ws)
            if ts.holders is None and ts.code == MEMORY:
                lost(books, ts, f"worker {ws.id} came back without it")
