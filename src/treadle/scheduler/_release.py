"""What nobody needs any longer is stopped, freed and forgotten.

A task stays while a client wants it or an active dependent needs it. Once neither does, its result
is freed; the task itself stays as lineage while live tasks depend on it, if it could be computed
again, and is forgotten otherwise. Work that spreads is a list that is worked off: `Books.slack`.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._calls import strike
from treadle.scheduler._client import ClientState
from treadle.scheduler._occupancy import bury, leave
from treadle.scheduler._relations import add, discard, each
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import (
    ERRED,
    FORGOTTEN,
    MEMORY,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    WAITING,
    advance,
)
from treadle.scheduler._worker import WorkerState
from treadle.wire import Failure, Free, Stop


def want(ts: TaskState, client: ClientState) -> None:
    """The client wants the task's result."""
    client.wants_what[ts] = None
    ts.wanters = client if ts.wanters is None else add(ts.wanters, client)


def unwant(books: Books, ts: TaskState, client: ClientState) -> None:
    """The client wants it no longer."""
    del client.wants_what[ts]
    ts.wanters = discard(ts.wanters, client)
    if ts.wanters is None and not ts.n_waiters:
        books.slack.append(ts)


def relax(books: Books) -> None:
    """Release, and forget, all that is no longer needed."""
    slack = books.slack
    while slack:
        ts = slack.pop()
        if ts.n_waiters or ts.wanters is not None:
            continue
        code = ts.code
        if code == FORGOTTEN:
            continue
        if code == MEMORY:
            free(books, ts)
            if ts.dependers is not None and ts.repeatable:
                advance(ts, RELEASED)
        elif code == PROCESSING:
            if ts.home is not None:
                continue  # to stop it would end the actor: it runs to its end, and is told to nobody
            stop(books, ts)
            advance(ts, RELEASED)
            inputs_unneeded(books, ts)
        elif code == WAITING or code == NO_WORKER:
            unwait(books, ts)
            inputs_unneeded(books, ts)
        if ts.dependers is None or (ts.code != ERRED and not ts.repeatable):
            forget(books, ts)


def unwait(books: Books, ts: TaskState) -> None:
    """Take a waiting task out of its queue and release it; its inputs are still counted."""
    if ts.home is not None:
        strike(ts)
        queues.withdraw(books, ts)  # whatever it waits for: the calls behind it may go
    elif not ts.n_waiting_on:
        queues.withdraw(books, ts)
    ts.n_waiting_on = 0
    advance(ts, RELEASED)


def stop(books: Books, ts: TaskState) -> None:
    """Take a task away from its worker; what that still says of the attempt is refused."""
    ws = ts.processing_on
    assert ws is not None
    leave(ws, ts)
    books.send(ws, Stop(ts.id, ts.attempt))
    queues.has_room(books, ws)


def inputs_unneeded(books: Books, ts: TaskState) -> None:
    """A task has left the active states: it needs its inputs no longer."""
    for dep in each(ts.deps):
        dep.n_waiters -= 1
        if not dep.n_waiters and dep.wanters is None:
            books.slack.append(dep)


def free(books: Books, ts: TaskState) -> None:
    """Free every replica of a result."""
    for ws in each(ts.holders):
        del ws.has_what[ts]
        ws.nbytes -= ts.nbytes or 0
        books.send(ws, Free(ts.id, ts.attempt))
        if ts in ws.actors:
            bury(ws, ts)
            queues.has_room(books, ws)
    ts.holders = None


def forget(books: Books, ts: TaskState, doom: Failure | None = None) -> None:
    """Remove a task that is inactive, and whose result is freed, from the books.

    Its dependents lose it: they can never be processed again. `doom` says why, if one tries.
    """
    slack = books.slack
    for dep in each(ts.deps) if ts.deps is not None else ():
        dep.dependers = discard(dep.dependers, ts)
        if dep.dependers is None and not dep.n_waiters and dep.wanters is None:
            slack.append(dep)
    for other in each(ts.dependers) if ts.dependers is not None else ():
        other.deps = discard(other.deps, ts)
        rare = other.rarely()
        rare.has_lost_dependencies = True
        rare.doom = rare.doom or doom
    for client in each(ts.wanters) if ts.wanters is not None else ():
        del client.wants_what[ts]
    advance(ts, FORGOTTEN)
    del books.tasks[ts.id]
    group = ts.group
    group.n_tasks -= 1
    if not group.n_tasks:
        books.drop_group(group)
    ts.deps = ts.dependers = ts.wanters = ts.exception_blame = None
    if ts.rare is not None:
        ts.rare.home = ts.rare.calls = None


def drop_replica(ts: TaskState, ws: WorkerState) -> None:
    """A worker has a result no longer; the caller sees to it if it was the last."""
    del ws.has_what[ts]
    ws.nbytes -= ts.nbytes or 0
    if ws.actors:
        bury(ws, ts)
    ts.holders = discard(ts.holders, ws)
