"""What is needed is computed, and so is what that needs."""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._calls import enrol
from treadle.scheduler._end import doom, err_by
from treadle.scheduler._occupancy import leave
from treadle.scheduler._relations import each
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import ERRED, MEMORY, NO_WORKER, RELEASED, WAITING, advance
from treadle.wire import Failure

_LOST = Failure(
    "lost", "ResultLost", "it depends on a task that is forgotten, so it cannot be computed again"
)


def need(books: Books, first: TaskState) -> None:
    """Somebody needs a released task: have it computed, and whatever of its inputs is not there."""
    stack = [first]
    while stack:
        ts = stack.pop()
        if ts.code != RELEASED or ts.run_spec is None:
            continue  # under way already, or data that a client is about to give
        rare = ts.rare
        if rare is not None and rare.has_lost_dependencies:
            doom(books, ts, rare.doom or _LOST, ts)
            continue
        missing = 0
        deps = each(ts.deps) if ts.deps is not None else ()
        blame = None
        for dep in deps:
            if dep.code == ERRED:
                blame = dep.exception_blame
                break
            if dep.code != MEMORY:
                missing += 1
        if blame is not None:
            err_by(books, ts, blame)
            continue
        advance(ts, WAITING)
        ts.n_waiting_on = missing
        if rare is not None and rare.home is not None:
            enrol(ts)
        for dep in deps:
            dep.n_waiters += 1
            if dep.code == RELEASED:
                stack.append(dep)
        if not missing:
            queues.ready(books, ts)


def again(books: Books, ts: TaskState, note: str) -> None:
    """Have a task that is processing computed again, from the start, here or elsewhere."""
    ws = ts.processing_on
    assert ws is not None
    leave(ws, ts)
    queues.has_room(books, ws)
    books.note(ts, note)
    advance(ts, RELEASED)
    deps = tuple(each(ts.deps))
    for dep in deps:
        dep.n_waiters -= 1  # `need` counts it again: nothing is released in between
    need(books, ts)
    if ts.code != WAITING and ts.code != NO_WORKER:
        # It is not tried again; now its inputs may go.
        books.slack += [dep for dep in deps if not dep.needed]
