"""Clients that wait until so many workers are there, and clients that have all workers begin anew.

A worker is there if it is known, has a link and does not drain. Who waits has a time of its own,
kept here, so that an answer and a timeout cannot cross. A request that is said again is the same.
"""

from __future__ import annotations

from msgspec import Struct

from treadle import wire
from treadle.scheduler import _departures as departures
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._relations import each
from treadle.scheduler._release import relax, unwant
from treadle.wire import Cancelled, Reply, Reset

NEVER = float("inf")


class Waiting(Struct):
    """A client that waits for workers."""

    client: ClientState
    ask: int
    count: int
    until: float


def muster(books: Books, client: ClientState, message: wire.Muster) -> None:
    """Tell the client when so many workers are there."""
    _wait(books, client, message.ask, message.count, message.timeout_s)


def _wait(books: Books, client: ClientState, ask: int, count: int, timeout_s: float | None) -> None:
    key = (client.peer, ask)
    musters = books.watch.musters
    old = musters.get(key)
    if old is not None and old.client is client:
        return
    until = NEVER if timeout_s is None else books.now + timeout_s
    musters[key] = Waiting(client, ask, count, until)
    look(books)


def _are_there(books: Books) -> int:
    return sum([ws.linked and not ws.draining for ws in books.workers.values()])


def look(books: Books) -> None:
    """Workers may have come, or time may have passed: answer who has waited long enough."""
    musters = books.watch.musters
    if not musters:
        return
    there = _are_there(books)
    for key, waiting in list(musters.items()):
        if there >= waiting.count:
            del musters[key]
            books.send(waiting.client, Reply(waiting.ask, there))
        elif waiting.until <= books.now:
            del musters[key]
            books.send(waiting.client, Reply(waiting.ask))


def wake_at(books: Books) -> float | None:
    """When somebody has waited long enough; None: never."""
    until = min([waiting.until for waiting in books.watch.musters.values()], default=NEVER)
    return None if until == NEVER else until


def forget(books: Books, client: ClientState) -> None:
    """The client is gone: nobody waits for its answers."""
    watch = books.watch
    for key in [key for key, waiting in watch.musters.items() if waiting.client is client]:
        del watch.musters[key]
    watch.restarts.pop(client, None)


# --- anew --------------------------------------------------------------------------------------


def restart(books: Books, client: ClientState, message: wire.Restart) -> None:
    """Forget all tasks and data, whoever wants them, and have every worker begin anew."""
    watch = books.watch
    done = watch.restarts.get(client)
    if done is None or done[0] != message.ask:
        count = _are_there(books)
        watch.restarts[client] = done = (message.ask, count)
        _clear(books, f"the cluster was restarted by {client.name or client.peer}")
    _wait(books, client, message.ask, done[1], message.timeout_s)


def _clear(books: Books, why: str) -> None:
    for ts in books.tasks.values():
        for client in tuple(each(ts.wanters)):
            if client.real:
                books.send(client, Cancelled(ts.id, why, ts.rows))
            unwant(books, ts, client)
    for peer in [peer for peer in books.clients if peer.startswith("published/")]:
        del books.clients[peer]
    books.lingering.clear()
    relax(books)
    books.watch.resets = {}
    for ws in list(books.workers.values()):
        books.outbox.pop(ws, None)  # it drops everything anyway
        was_linked = ws.linked
        if ws.draining:
            departures.send_away(books, ws)
        else:
            departures.part(books, ws, why, accuses=False)
            departures.tell_stranger(books, ws.id, Reset(why))
            books.watch.resets[ws.id] = (ws.epoch, int(was_linked))


def begins_anew(books: Books, message: wire.Register) -> bool:
    """Whether somebody who registers has not done so as it was told; it is told (again)."""
    resets = books.watch.resets
    epoch, told = resets.pop(message.worker, (-1, 0))
    if message.epoch != epoch:
        return False
    # What it was told may have been lost with its link; but nobody is told for ever.
    if told and (told > 1 or not (message.holds or message.running or message.queued)):
        return False
    resets[message.worker] = (epoch, told + 1)
    departures.tell_stranger(books, message.worker, Reset("the cluster was restarted"))
    return True
