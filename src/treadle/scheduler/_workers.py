"""Workers come and go, and say how they are."""

from __future__ import annotations

from treadle import wire
from treadle.scheduler import _data, _muster
from treadle.scheduler import _departures as departures
from treadle.scheduler import _leases as leases
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._events import PeerGone
from treadle.scheduler._exits import died_of
from treadle.scheduler._need import again
from treadle.scheduler._reconcile import reconcile, stop_stale
from treadle.scheduler._words import named
from treadle.scheduler._worker import WorkerState


def register(books: Books, message: wire.Register, source: str) -> None:
    """A worker is here, or here again."""
    id = message.worker
    if source != f"worker/{id}":
        books.refuse("register under another name")
        return
    if _is_past(books, message, source):
        return
    if books.watch.resets and _muster.begins_anew(books, message):
        return
    ws = books.workers.get(id)
    if ws is not None and message.epoch > ws.epoch:
        departures.part(books, ws, "was replaced by a new process of its name", accuses=True)
        ws = None
    if ws is None:
        ws = books.workers[id] = _new(message)
        leases.watch(books)
    books.watch.numbers[ws] = message.number
    books.watch.strangers.pop(source, None)
    ws.linked = True
    ws.paused = False  # if it is, it says so next
    ws.last_seen = books.now
    if message.ends_in_s is not None:
        ws.ends_at = books.now + message.ends_in_s
    books.send(ws, wire.Registered(books.policy.beat_s, books.policy.lease_s))
    if ws.draining:
        books.send(ws, wire.Drain())
    reconcile(books, ws, message)
    queues.joined(books, ws)
    _data.worker_back(books, ws)
    _muster.look(books)


def _is_past(books: Books, message: wire.Register, source: str) -> bool:
    """Whether this is not the newest word of that name; who sent it is told what to do."""
    id = message.worker
    ws = books.workers.get(id)
    gone = books.watch.gone.get(id)
    if ws is not None:
        epoch, number = ws.epoch, books.watch.numbers.get(ws, 0)
    elif gone is not None:
        epoch, number = gone.epoch, gone.number
    else:
        return False
    if message.epoch > epoch:
        return False
    if ws is None and gone is not None and gone.sent_away:
        books.refuse("register of a worker that was sent away")
        departures.tell_stranger(books, id, wire.Depart())
        return True
    if message.epoch < epoch:
        books.refuse("register of an older process")
        _turn_away(books, source, wire.Depart())  # it can never be this worker again
        return True
    if 0 < message.number <= number:
        books.refuse("late copy of a register")
        return True
    return False


def _turn_away(books: Books, source: str, message: wire.Message) -> None:
    """Tell somebody who is not in the books what to do, once a beat at the most."""
    if not books.watch.is_told(source, books.now, books.policy.beat_s):
        leases.watch(books)
        departures.tell_stranger(books, source[7:], message)


def _new(message: wire.Register) -> WorkerState:
    resources = dict(message.resources)
    return WorkerState(
        message.worker,
        message.epoch,
        message.host,
        message.slots,
        resources,
        dict(resources),
        memory_bytes=message.memory_bytes,
        block=message.block,
        starts=message.starts,
    )


def unknown(books: Books, source: str) -> None:
    """Somebody who was given up, or sent away, is still there: tell it, once a beat."""
    books.refuse("message of a worker that is not known")
    id = source[7:]
    if _was_sent_away(books, id):
        _turn_away(books, source, wire.Depart())
    else:
        _turn_away(books, source, wire.Reset(f"worker {id} was given up for lost"))


def _was_sent_away(books: Books, id: wire.WorkerId) -> bool:
    gone = books.watch.gone.get(id)
    return gone is not None and gone.sent_away


def status(books: Books, ws: WorkerState, message: wire.Status) -> None:
    """A worker says how it is."""
    ws.memory_used = message.memory_bytes
    ws.spilled_bytes = message.spilled_bytes
    if message.paused != ws.paused:
        ws.paused = message.paused
        (queues.left if ws.paused else queues.joined)(books, ws)


def leaving(books: Books, ws: WorkerState, message: wire.Leaving) -> None:
    """A worker must go soon."""
    ends_at = books.now + message.grace_s
    ws.ends_at = ends_at if ws.ends_at is None else min(ws.ends_at, ends_at)
    departures.drain(books, ws)


def beat(books: Books, ws: WorkerState, message: wire.Beat) -> None:
    """A worker is alive. What it was given and does not know of in two beats never arrived."""
    books.send(ws, wire.Beaten(message.number))
    listed = {attempt.attempt for attempt in message.attempts}
    unlisted = ws.unlisted
    for ts in list(ws.processing):
        if ts.processing_on is not ws:
            continue  # what came before has ended it
        if ts.attempt in listed or ts.attempt > ws.beat_attempt:
            unlisted.pop(ts, None)
        elif message.number > unlisted.setdefault(ts, message.number):
            again(books, ts, f"{ws.id} never got it")
    stop_stale(books, ws, message.attempts)
    ws.beat_attempt = books.attempts


def retire(books: Books, client: ClientState, message: wire.Retire) -> None:
    """A client wants these workers drained; the answer comes when they have been sent away."""
    watch = books.watch
    strange = [
        id for id in message.workers if id not in books.workers and not _was_sent_away(books, id)
    ]
    if strange:
        text = f"no such worker: {', '.join(strange[:10])} (nothing was done)"
        books.send(client, wire.Reply(message.ask, error=text))
        return
    workers = [books.workers[id] for id in dict.fromkeys(message.workers) if id in books.workers]
    wrong = _obstacle(books, workers) if message.careful else ""
    if wrong:
        books.send(client, wire.Reply(message.ask, error=wrong))
        return
    key = (client.peer, message.ask)
    watch.asks[key] = {ws.id: None for ws in workers}
    for ws in workers:
        ws.retired_by.append(key)
        departures.drain(books, ws)
    departures.answer(books, *key)


def _obstacle(books: Books, workers: list[WorkerState]) -> str:
    """Why these workers could not go, as things are; empty if they could."""
    if homes := _homes(workers):
        return f"actors cannot move: {', '.join(homes[:10])} (nothing was done; release them first)"
    if all(ws.draining or ws in workers for ws in books.workers.values()):
        keys = sorted({ts.key for ws in workers for ts in ws.has_what if ts.needed})
        if keys:
            return (
                f"no other worker is there to take what they have: {named(keys, 'result')} "
                "(nothing was done; release it, or start another worker first)"
            )
    return ""


def _homes(workers: list[WorkerState]) -> list[str]:
    """Which of these workers have which actors, or are making them; for people."""
    return [
        f"{ts.key} is on {ws.id}"
        for ws in workers
        for ts in (*ws.actors, *(ts for ts in ws.processing if ts.actor))
    ]


def link_lost(books: Books, peer: str) -> None:
    """A worker's link is lost: its lease begins."""
    ws = books.workers.get(peer[7:])
    if ws is not None and ws.linked:
        ws.linked = False
        ws.lost_at = books.now
        queues.left(books, ws)


def peer_gone(books: Books, event: PeerGone) -> None:
    """A worker is surely gone."""
    ws = books.workers.get(event.peer[7:])
    if ws is None:
        return
    why = event.why
    if not why:
        code = event.exit_code
        why = "is gone" if code is None else f"died {died_of(code)}"
    departures.part(books, ws, why, accuses=event.accuses, exit_code=event.exit_code)


def tick(books: Books) -> None:
    """Give up whose lease is over, and let drains go on."""
    due = leases.due(books)
    if due:
        leases.catch_up(books)
        for ws in leases.overdue_workers(books):
            departures.part(books, ws, leases.how(books, ws), accuses=True)
    if books.watch.draining:
        departures.proceed(books, all=due)
    _muster.look(books)


def next_deadline(books: Books) -> float | None:
    """When a look at leases, or at who drains, is wanted."""
    if books.watch.draining and departures.changed(books):
        return books.now
    return books.watch.look_at
