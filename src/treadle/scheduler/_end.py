"""How tasks end: with a result, with an error, or never.

A failure spreads to all that waits for the task; each of them blames the task that failed. What can
never be computed (again), because data it depends on is lost for good, is told as an error to those
who want it, and forgotten.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import FORGETFUL, Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._relations import add, each
from treadle.scheduler._release import forget, inputs_unneeded, unwait, unwant
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import (
    ERRED,
    MEMORY,
    NO_WORKER,
    RELEASED,
    WAITING,
    advance,
)
from treadle.scheduler._worker import WorkerState
from treadle.wire import AttemptRow, Done, Erred, Failure

#: Failed attempts kept of one task.
_EARLIER = 100
#: Holders named in one message: as many as a reader would try.
_HOLDERS = 8


def arrive(books: Books, ts: TaskState, ws: WorkerState, nbytes: int, type: str) -> None:
    """The first replica of a result is there: the task is in memory, and others may begin.

    The task has left its worker, if it was processing.
    """
    advance(ts, MEMORY)
    ts.nbytes = nbytes
    ts.type = type
    ts.holders = ws
    ws.has_what[ts] = None
    ws.nbytes += nbytes
    if ts.dependers is None:
        return
    for other in each(ts.dependers):
        if other.code == WAITING:
            other.n_waiting_on -= 1
            if not other.n_waiting_on:
                queues.ready(books, other)


def another(ts: TaskState, ws: WorkerState) -> None:
    """One more replica of a result is there."""
    if ts not in ws.has_what:
        ts.holders = add(ts.holders, ws)
        ws.has_what[ts] = None
        ws.nbytes += ts.nbytes or 0


def done(ts: TaskState, inline: bytes | None = None) -> Done:
    """What those who want a result are told."""
    ws = ts.holders
    if type(ws) is WorkerState:  # nearly always there is one
        holders: tuple[str, ...] = (ws.id,)
    else:
        holders = tuple([ws.id for ws in each(ws)])[:_HOLDERS]
    rare = ts.rare
    if rare is None:
        return Done(ts.id, ts.nbytes or 0, ts.type, holders, inline)
    return Done(ts.id, ts.nbytes or 0, ts.type, holders, inline, rare.n_rows, rare.earlier)


def tell_done(books: Books, ts: TaskState, inline: bytes | None = None) -> None:
    """Tell those who want it that a result is there; who only wanted it to end is content."""
    wanters = ts.wanters
    if wanters is None:
        if not ts.n_waiters:
            books.slack.append(ts)
        return
    message = done(ts, inline)
    if type(wanters) is ClientState and wanters.session >= 0:  # nearly always
        books.send(wanters, message)
        return
    for client in tuple(each(wanters)):
        if client.real:
            books.send(client, message)
        elif client.peer == FORGETFUL:
            unwant(books, ts, client)


def remember(ts: TaskState, worker: str, failure: Failure) -> None:
    """Keep a row of the attempt that failed, for those who count."""
    rare = ts.rarely()
    row = AttemptRow(ts.attempt, worker, failure)
    rare.earlier = (*rare.earlier[-_EARLIER + 1 :], row)


def err(books: Books, ts: TaskState, failure: Failure) -> None:
    """A task has failed for good, itself; it has left its worker, or its replicas are gone."""
    ts.failure = failure
    _erred(books, ts, ts, was_active=ts.code != MEMORY)


def err_by(books: Books, ts: TaskState, blame: TaskState) -> None:
    """A released task cannot be computed: what it depends on has erred."""
    _erred(books, ts, blame, was_active=False)


def _erred(books: Books, first: TaskState, blame: TaskState, *, was_active: bool) -> None:
    stack = [(first, was_active)]
    while stack:
        ts, active = stack.pop()
        if ts.code == WAITING or ts.code == NO_WORKER:
            unwait(books, ts)
        elif ts is not first:
            continue  # it was reached by another way too
        advance(ts, ERRED)
        ts.exception_blame = blame
        if active:
            inputs_unneeded(books, ts)
        tell_erred(books, ts)
        stack += [
            (other, True)
            for other in each(ts.dependers)
            if other.code == WAITING or other.code == NO_WORKER
        ]


def erred(ts: TaskState) -> Erred:
    """What those who want a task that has erred are told."""
    blame = ts.exception_blame
    assert blame is not None
    assert blame.failure is not None
    rare = ts.rare
    return Erred(
        ts.id,
        blame.failure,
        blame.id,
        1 if rare is None else rare.n_rows,
        () if rare is None else rare.earlier,
    )


def tell_erred(books: Books, ts: TaskState) -> None:
    """Tell those who want it that there will be no result."""
    if ts.wanters is None:
        if not ts.n_waiters:
            books.slack.append(ts)
        return
    message = erred(ts)
    for client in tuple(each(ts.wanters)):
        if client.real:
            books.send(client, message)
        elif client.peer == FORGETFUL:
            unwant(books, ts, client)


def doom(books: Books, first: TaskState, failure: Failure, blame: TaskState) -> None:
    """A task can never be computed (again): tell those who want it, and forget it.

    So it is with all that waits for it. What runs goes on: it may have its inputs already.
    """
    stack = [first]
    while stack:
        ts = stack.pop()
        if ts.code == WAITING or ts.code == NO_WORKER:
            unwait(books, ts)
            inputs_unneeded(books, ts)
        elif ts.code != RELEASED:
            continue
        stack += [other for other in each(ts.dependers) if other.code == WAITING]
        for client in tuple(each(ts.wanters)):
            if client.real:
                books.send(client, Erred(ts.id, failure, blame.id, ts.rows))
            unwant(books, ts, client)
        forget(books, ts, failure)
