"""Data that clients give, and what workers say of the objects they have.

Data is a task that nobody can run. It is known from the moment a client says that it has it, is
given to workers by the client itself, and is there as soon as the first of them says so. If a
worker is lost before it has said so, the client is asked again, with another worker.
"""

from __future__ import annotations

from treadle import wire
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._client import ClientState
from treadle.scheduler._copies import (
    Scales,
    ended,
    evacuate,
    not_evacuated,
    open_job,
    order,
    pursue,
    send,
    takers,
)
from treadle.scheduler._copies import close as close_job
from treadle.scheduler._end import another, arrive, done, tell_done
from treadle.scheduler._loss import lost
from treadle.scheduler._moves import Goal, Upload
from treadle.scheduler._rebalance import rebalance
from treadle.scheduler._relations import each
from treadle.scheduler._release import drop_replica, inputs_unneeded, want
from treadle.scheduler._task import DEFAULT_OPTIONS, TaskState, first_rank
from treadle.scheduler._transitions import FORGOTTEN, MEMORY, NO_WORKER, RELEASED, WAITING
from treadle.scheduler._worker import WorkerState
from treadle.wire import Free, Held, Reply, TaskId, WorkerId, session_of

__all__ = [
    "client_back",
    "client_left",
    "dropped",
    "evacuate",
    "give_again",
    "holding",
    "not_fetched",
    "rebalance",
    "replicate",
    "scatter",
    "worker_back",
    "worker_left",
]

_Items = list[tuple[TaskId, int, tuple[WorkerId, ...]]]

# --- clients -----------------------------------------------------------------------------------


def scatter(books: Books, client: ClientState, message: wire.Scatter) -> None:
    """A client has data: say which workers to give it to.

    All items are admitted, or none is. What is known already, and is data, is wanted by this client
    too; if it is there, it is to be given to nobody.
    """
    workers = takers(books, message.workers) or takers(books, message.workers, paused=True)
    wrong = _fault(books, client, message)
    if wrong is None and not workers and not message.patient:
        wrong = _nobody(books, message.workers)
    if wrong is not None:
        books.refuse("scatter")
        books.send(client, Reply(message.ask, error=wrong))
        return
    _sweep(books)
    books.submissions += 1
    base = first_rank(books.submissions)
    scales = Scales(books, workers)
    copies = max(1, message.copies)
    items: _Items = []
    for place, spec in enumerate(message.items):
        ts = books.tasks.get(spec.id)
        if ts is None:
            ts = _admit(books, client, spec, base + place)
        if ts not in client.wants_what:
            want(ts, client)
            if ts.code == MEMORY:
                books.send(client, done(ts))
        if message.keeps:
            books.moves.keepers.setdefault(ts, {})[client] = message.ask
        if ts.code == MEMORY:
            items.append((ts.id, ts.attempt, ()))
            continue
        upload = books.moves.uploads.get(ts)
        if upload is None:
            upload = books.moves.uploads[ts] = Upload(message.workers)
            books.attempts += 1
            ts.attempt = books.attempts
        upload.givers[client] = message.ask
        if not upload.targets:
            upload.targets = dict.fromkeys(scales.take(spec.nbytes, copies, ()))
        items.append((ts.id, ts.attempt, tuple(ws.id for ws in upload.targets)))
    books.send(client, wire.Upload(message.ask, tuple(items)))


def _admit(books: Books, client: ClientState, spec: wire.DataSpec, rank: int) -> TaskState:
    group = books.group_of(spec.name, client.session)
    options = books.options.setdefault(DEFAULT_OPTIONS, DEFAULT_OPTIONS)
    ts = TaskState(spec.id, None, group, options, rank)
    ts.nbytes = spec.nbytes
    books.tasks[spec.id] = ts
    group.n_tasks += 1
    group.counts[RELEASED] += 1
    return ts


def _fault(books: Books, client: ClientState, message: wire.Scatter) -> str | None:
    """Why data cannot be taken, in words; None if it can."""
    for spec in message.items:
        session = session_of(spec.id)
        if session is not None and session != client.session:
            return f"data {spec.id} is numbered by another session than yours"
        ts = owner(books, spec.id)
        if ts is not None and (ts.run_spec is not None or ts.id != spec.id):
            return f"key {ts.key!r} is known for a task ({ts.state}); choose another key"
    return None


def _nobody(books: Books, allowed: tuple[WorkerId, ...]) -> str:
    names = allowed or tuple(books.workers)
    states = ", ".join(
        f"{name} is {books.workers[name].status if name in books.workers else 'not known'}"
        for name in names[:8]
    )
    return f"no worker can take data ({states or 'there is none'}); try again when one has come"


def replicate(books: Books, client: ClientState, message: wire.Replicate) -> None:
    """See to it that results are on so many workers (0: on all); answer when they are."""
    job = open_job(books, client, message.ask)
    if job is None:
        return
    allowed = dict.fromkeys(message.workers)
    scales = Scales(books, takers(books, allowed))
    copies = message.copies or len(takers(books, allowed))
    for id in dict.fromkeys(message.ids):
        ts = owner(books, id)
        if ts is None:
            job.errors.append(f"{id!r} is not known (any longer)")
        elif ts.actor:
            job.errors.append(f"{ts.key} is an actor: there can be no second one")
        elif ts.code != MEMORY:
            job.errors.append(f"{ts.key} has no result that could be copied ({ts.state})")
        else:
            job.open += 1
            pursue(books, Goal(job, ts, ts.attempt, copies, allowed), scales)
    close_job(books, job)


def client_back(books: Books, client: ClientState) -> None:
    """A client has a new link: tell it again what it shall give, and to whom."""
    uploads = books.moves.uploads
    _ask(books, [ts for ts, upload in uploads.items() if client in upload.givers], client)


def client_left(books: Books, client: ClientState) -> None:
    """A client is gone: what only it could have given will never come."""
    moves = books.moves
    for ts, upload in list(moves.uploads.items()):
        if upload.givers.pop(client, None) is None or upload.givers:
            continue
        del moves.uploads[ts]
        if ts.code == RELEASED and ts.needed:
            lost(books, ts, f"client {client.name or client.peer}, which had it, has left")


# --- workers -----------------------------------------------------------------------------------


def holding(books: Books, ws: WorkerState, message: wire.Holding) -> None:
    """A worker has objects: what is wanted of them counts, the rest is freed."""
    for held in message.objects:
        wanted = _hold(books, ws, held)
        if not wanted:
            books.refuse("object that nobody needs")
            books.send(ws, Free(held.id, held.attempt))
        ended(books, ws, held.id, held.attempt, arrived=wanted)


def _hold(books: Books, ws: WorkerState, held: Held) -> bool:
    """Count a replica; False if it is not needed."""
    ts = books.tasks.get(held.id)
    if ts is None or ts.attempt != held.attempt or not ts.attempt or ts.rows != held.rows:
        return False
    if ts.code == MEMORY:
        if ts.actor:
            return ts in ws.has_what
        another(ts, ws)
    elif ts.code == RELEASED and ts.run_spec is None:
        arrive(books, ts, ws, held.nbytes, held.type)
        tell_done(books, ts)
    elif (ts.code == WAITING or ts.code == NO_WORKER) and ts.repeatable:
        _found(books, ts, ws, held)
    else:
        return False
    upload = books.moves.uploads.get(ts)
    if upload is not None:
        upload.targets.pop(ws, None)
        if not upload.targets:
            del books.moves.uploads[ts]
    return True


def _found(books: Books, ts: TaskState, ws: WorkerState, held: Held) -> None:
    """A result that was lost, and waits to be computed again, had been copied in time."""
    if not ts.n_waiting_on:
        queues.withdraw(books, ts)
    ts.n_waiting_on = 0
    books.note(ts, f"{ws.id} has a copy of its result after all")
    arrive(books, ts, ws, held.nbytes, held.type)
    inputs_unneeded(books, ts)
    tell_done(books, ts)


def dropped(books: Books, ws: WorkerState, message: wire.Dropped) -> None:
    """A worker has objects no longer, or never had them."""
    for object in message.attempts:
        id, attempt = object.id, object.attempt
        ts = books.tasks.get(id)
        if ts is None or ts.attempt != attempt:
            books.refuse("loss of an old object")
        elif ts in ws.has_what:
            drop_replica(ts, ws)
            if ts.actor:
                queues.has_room(books, ws)  # what it took is free again
            if ts.holders is None:
                why = message.why or "it said no more"
                lost(books, ts, f"worker {ws.id} does not have it any longer: {why}")
        elif _give_elsewhere(books, ts, ws):
            _ask(books, [ts])
        ended(books, ws, id, attempt, arrived=False)


def not_fetched(books: Books, ws: WorkerState, message: wire.NotFetched) -> None:
    """An object could not be fetched: tried again from others that have it, if there are any.

    No holder is struck off for that: it is a copy that failed, and no task waits for it.
    """
    move = books.moves.to.get(ws, {}).get((message.id, message.attempt))
    if move is None:
        books.refuse("fetch that nobody ordered")
        return
    ts = move.ts
    move.struck.update(dict.fromkeys(message.holders))
    if ts.code == MEMORY and ts.attempt == move.attempt:
        # Who could not have it from anybody has no room for it: there is nobody else to ask.
        if message.holders and send(books, move):
            return
        not_evacuated(books, move)
    ended(books, ws, message.id, message.attempt, arrived=False)


def worker_left(books: Books, ws: WorkerState) -> None:
    """A worker is given up, and its replicas are dropped: what should have come to it goes on."""
    moves = books.moves
    for id, attempt in tuple(moves.to.get(ws, ())):
        ended(books, ws, id, attempt, arrived=False)
    moves.evacuations.pop(ws, None)
    for move in [m for there in moves.to.values() for m in there.values() if m.source is ws]:
        move.source = None
    bereft = [ts for ts, upload in moves.uploads.items() if ws in upload.targets]
    _ask(books, [ts for ts in bereft if _give_elsewhere(books, ts, ws)])


def worker_back(books: Books, ws: WorkerState) -> None:
    """A worker has registered, and its replicas are known: orders on their way may be lost.

    Data that has been waiting for a worker is given to this one.
    """
    moves = books.moves
    for (id, attempt), move in tuple(moves.to.get(ws, {}).items()):
        ts = move.ts
        arrived = ts in ws.has_what and ts.attempt == attempt
        if arrived or ts.code != MEMORY or ts.attempt != attempt or not send(books, move):
            ended(books, ws, id, attempt, arrived=arrived)
    stranded = [ts for ts, up in moves.uploads.items() if not up.targets and ts.code == RELEASED]
    for ts in stranded:
        _choose(books, ts)
    # What was to be given to this one may have come and gone while nobody heard of it.
    _ask(books, [*stranded, *(ts for ts, up in moves.uploads.items() if ws in up.targets)])


def give_again(books: Books) -> None:
    """Data was lost that its clients have kept: they are asked to give it to somebody else."""
    bereft, books.moves.bereft = books.moves.bereft, []
    uploads = books.moves.uploads
    mine = [ts for ts in bereft if ts.code == RELEASED and ts in uploads]
    for ts in mine:
        books.attempts += 1
        ts.attempt = books.attempts
        _choose(books, ts)
    _ask(books, mine)


# --- uploads -----------------------------------------------------------------------------------


def _give_elsewhere(books: Books, ts: TaskState, ws: WorkerState) -> bool:
    """A worker that data was to be given to will not have it; True if its giver is to be asked."""
    moves = books.moves
    upload = moves.uploads.get(ts)
    if upload is None or ws not in upload.targets:
        return False
    del upload.targets[ws]
    if ts.code == MEMORY:  # it is somewhere: the copy can be had from there
        scales = Scales(books, takers(books, upload.allowed))
        unfit = dict.fromkeys((*each(ts.holders), *upload.targets, ws))
        for target in scales.take(ts.nbytes or 0, 1, unfit):
            order(books, ts, target)
        if not upload.targets:
            del moves.uploads[ts]
    elif ts.code == RELEASED and not upload.targets:
        _choose(books, ts, ws)
        return True
    return False


def _choose(books: Books, ts: TaskState, unfit: WorkerState | None = None) -> None:
    """Choose a worker to give data to; a wish for certain ones ends with them."""
    upload = books.moves.uploads[ts]
    workers = takers(books, upload.allowed) or takers(books) or takers(books, paused=True)
    chosen = Scales(books, workers).take(ts.nbytes or 0, 1, () if unfit is None else (unfit,))
    upload.targets = dict.fromkeys(chosen)


def _ask(books: Books, tasks: list[TaskState], only: ClientState | None = None) -> None:
    """Tell those who have data which workers to give it to, one message for each request."""
    asks: dict[tuple[ClientState, int], _Items] = {}
    for ts in tasks:
        upload = books.moves.uploads[ts]
        if upload.targets and ts.code != FORGOTTEN:
            item = (ts.id, ts.attempt, tuple(ws.id for ws in upload.targets))
            for client, ask in upload.givers.items():
                if only is None or client is only:
                    asks.setdefault((client, ask), []).append(item)
    for (client, ask), items in asks.items():
        books.send(client, wire.Upload(ask, tuple(items)))


def _sweep(books: Books) -> None:
    """Forget what was to be given, or kept, and is forgotten, when that has become much."""
    moves = books.moves
    if len(moves.keepers) >= moves.keepers_limit:
        moves.keepers = {ts: by for ts, by in moves.keepers.items() if ts.code != FORGOTTEN}
        moves.keepers_limit = 2 * len(moves.keepers) + 64
    if len(moves.uploads) >= moves.uploads_limit:
        moves.uploads = {ts: up for ts, up in moves.uploads.items() if ts.code != FORGOTTEN}
        moves.uploads_limit = 2 * len(moves.uploads) + 64
