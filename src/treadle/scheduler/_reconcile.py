"""A worker is back: what it says it has and does is compared with what the books say.

What it has and is still wanted counts, also if it had been given up in between; what it has or does
and is not wanted (any longer) is freed or stopped. What the books have of it and it does not know
of was lost on the way, which is nobody's fault. Attempts are told apart by their number alone: of a
bundle the rest has another identifier than the worker knows it by. A list that is as long as a list
may be is not the whole of it: the rest comes next, so nothing is missed in it.
"""

from __future__ import annotations

from collections.abc import Callable

from treadle.scheduler import _data, _outcomes
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._end import arrive, tell_done
from treadle.scheduler._loss import lost
from treadle.scheduler._need import again
from treadle.scheduler._occupancy import leave, step_back
from treadle.scheduler._release import drop_replica, inputs_unneeded
from treadle.scheduler._transitions import MEMORY
from treadle.scheduler._worker import WorkerState
from treadle.wire import (
    MAX_ITEMS,
    Attempt,
    Died,
    Failed,
    Finished,
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
    for ts, is_aside in ws.aside.items():
        if is_aside:  # it says anew what is
            step_back(ws, ts)
            queues.has_long(books, ws, ts)
    running = {attempt.attempt for attempt in message.running}
    known = running.union(attempt.attempt for attempt in message.queued)
    # What can be taken back comes first: an outcome that is refused frees its result. What belongs
    # to an attempt that is processed there has an outcome, which tells more.
    made = [held for held in message.holds if _is_processed(books, ws, held)]
    if len(made) < len(message.holds):
        rest = [held for held in message.holds if not _is_processed(books, ws, held)]
        _data.holding(books, ws, Holding(tuple(rest)))
    for report in message.ended:
        _REPORTS[type(report)](books, ws, report)
    for held in made:
        if not _is_processed(books, ws, held):
            _data.holding(books, ws, Holding((held,)))
        elif held.attempt not in known:
            _take(books, ws, held)
    if len(message.holds) < MAX_ITEMS:
        _strike_unlisted(books, ws, {(held.id, held.attempt) for held in message.holds})
    stop_stale(books, ws, (*message.running, *message.queued))
    full = max(len(message.running), len(message.queued), len(message.ended)) >= MAX_ITEMS
    for ts in list(ws.processing):
        if ts.processing_on is not ws:
            continue  # what came before has ended it
        if ts.attempt in running:
            ws.executing.setdefault(ts, books.now)
        elif ts.attempt not in known and not full:
            again(books, ts, f"{ws.id} does not know of it")
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


def _is_processed(books: Books, ws: WorkerState, held: Held) -> bool:
    """Whether the object is a result of an attempt that the books say is processed there."""
    ts = owner(books, held.id)
    return ts is not None and ts.processing_on is ws and ts.attempt == held.attempt


def _take(books: Books, ws: WorkerState, held: Held) -> None:
    """A task has its result, though nothing tells of its end."""
    ts = _outcomes.current(books, ws, held.id, held.attempt, held.rows)
    if ts is None or not ts.repeatable:
        return
    leave(ws, ts)
    queues.has_room(books, ws)
    books.note(ts, f"{ws.id} has its result, and said nothing of its end")
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
