"""Deaths and losses: who is accused, and what is computed again.

A death accuses the tasks that ran there and nobody else; three deaths end a task. What only the
dead worker had is computed again, from its lineage, if somebody still needs it. Retries belong to
exceptions: a death costs none.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._actors import gone
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import split
from treadle.scheduler._client import ClientState
from treadle.scheduler._end import doom, err, remember
from treadle.scheduler._exits import died_of
from treadle.scheduler._moves import Upload
from treadle.scheduler._need import again, need
from treadle.scheduler._occupancy import leave
from treadle.scheduler._relations import each, has
from treadle.scheduler._release import drop_replica, forget, unwant
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import MEMORY, NO_WORKER, RELEASED, WAITING, advance
from treadle.scheduler._worker import WorkerState
from treadle.wire import Erred, Failure, Free, Lost, TaskId


def accuse(books: Books, ts: TaskState, what: str, exit_code: int | None) -> None:
    """A task that is processing was involved in a death; three of them, and it is erred."""
    ws = ts.processing_on
    assert ws is not None
    ts.group.prefix.deaths += 1
    text = f"{what} died {died_of(exit_code)}"
    if ts.rows > 1:
        split(books, ts, text)
        return
    rare = ts.rarely()
    rare.suspicious += 1
    most = books.policy.deaths
    count = f"that was death {rare.suspicious} of {most}"
    failure = Failure("killed", "TaskDied", f"{text}; {count}", exit_code=exit_code)
    remember(ts, ws.id, failure)
    if rare.suspicious < most:
        again(books, ts, f"{text}; death {rare.suspicious} of {most}")
        return
    leave(ws, ts)
    queues.has_room(books, ws)
    err(books, ts, failure)


def give_up(
    books: Books, ws: WorkerState, why: str, *, accuses: bool, exit_code: int | None = None
) -> None:
    """A worker is gone, with all it had and did. `why` completes 'the worker ...'."""
    del books.workers[ws.id]
    ws.linked = False
    queues.left(books, ws)
    # What depends on other losses comes first, so that it is found as it was.
    for ts in reversed(list(ws.has_what)):
        drop_replica(ts, ws)
        if ts.holders is None and ts.code == MEMORY:
            lost(books, ts, f"worker {ws.id} {why}")
    accused = ws.executing if ws.starts and ws.executing else ws.processing
    accused = dict(accused) if accuses else {}
    for ts in list(ws.processing):
        if ts.processing_on is not ws:
            continue  # an actor's call, which has ended with it
        if ts in accused:
            accuse(books, ts, f"worker {ws.id}, which ran it,", exit_code)
        else:
            again(books, ts, f"worker {ws.id} {why}")


def lost(books: Books, ts: TaskState, why: str) -> None:
    """The last replica of a result is gone: compute it again, if it is needed and can be."""
    if ts.actor:
        gone(books, ts, why)
        return
    keepers = _keepers(books, ts)
    if not ts.repeatable and not keepers:
        _lost_for_good(books, ts, why)
        return
    if keepers:
        books.moves.uploads[ts] = Upload((), keepers)
        books.moves.bereft.append(ts)
    advance(ts, RELEASED)
    books.note(ts, f"its result was lost: {why}")
    for client in each(ts.wanters):
        if client.real:
            books.send(client, Lost(ts.id, ts.rows))
    for other in each(ts.dependers):
        if other.code == WAITING:
            if not other.n_waiting_on:
                queues.withdraw(books, other)
            other.n_waiting_on += 1
        elif other.code == NO_WORKER:
            queues.withdraw(books, other)
            advance(other, WAITING)
            other.n_waiting_on = 1
    if ts.needed:
        need(books, ts)
    else:
        books.slack.append(ts)


def _keepers(books: Books, ts: TaskState) -> dict[ClientState, int]:
    """Clients that still have this data, if it is data."""
    if ts.run_spec is not None:
        return {}
    return {
        client: ask
        for client, ask in books.moves.keepers.get(ts, {}).items()
        if client in each(ts.wanters) and books.clients.get(client.peer) is client
    }


def _lost_for_good(books: Books, ts: TaskState, why: str) -> None:
    what = "data" if ts.home is None else "the answer of an actor"
    text = f"{ts.key} was {what} that cannot be computed again, and is lost: {why}"
    failure = Failure("lost", "ResultLost", text)
    for other in tuple(each(ts.dependers)):
        if other.code == WAITING or other.code == NO_WORKER:
            doom(books, other, failure, ts)
    for client in tuple(each(ts.wanters)):
        if client.real:
            books.send(client, Erred(ts.id, failure, ts.id, ts.rows))
        unwant(books, ts, client)
    forget(books, ts, failure)


def strike_off(books: Books, id: TaskId, holder: str) -> None:
    """A worker that should have a result has it not, or cannot be reached: it counts no longer."""
    ts = books.tasks.get(id)
    ws = books.workers.get(holder)
    if ts is None or ws is None or ts.actor or not has(ts.holders, ws):
        return  # an actor is no data: who cannot reach it does not end it
    drop_replica(ts, ws)
    books.send(ws, Free(ts.id, ts.attempt))
    if ts.holders is None:
        lost(books, ts, f"worker {holder} had it and it cannot be had from there")
