"""How workers leave: drained, sent away, or lost.

A draining worker gets nothing new and returns what it has not begun. What only it has, and somebody
needs, moves away; when that is done and nothing runs there any longer, it is sent away, and what it
says after that is answered with the same order. A drain accuses nobody, however it ends. An actor
cannot move: who lives with one stays until the actor is released.
"""

from __future__ import annotations

from treadle.scheduler import _data
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._loss import give_up
from treadle.scheduler._watch import Stamp
from treadle.scheduler._worker import WorkerState
from treadle.wire import Depart, Drain, Message, Reply, WorkerId


def drain(books: Books, ws: WorkerState) -> None:
    """Begin to drain a worker."""
    if not ws.draining:
        ws.draining = True
        books.watch.draining[ws] = None
        queues.left(books, ws)
        books.send(ws, Drain())


def part(
    books: Books,
    ws: WorkerState,
    why: str,
    *,
    accuses: bool,
    exit_code: int | None = None,
    sent_away: bool = False,
) -> None:
    """A worker is gone; those who asked for that are told. `why` completes 'the worker ...'."""
    watch = books.watch
    give_up(books, ws, why, accuses=accuses and not ws.draining, exit_code=exit_code)
    _data.worker_left(books, ws)
    watch.forget(ws, sent_away=sent_away)
    for peer, ask in ws.retired_by:
        waiting = watch.asks.get((peer, ask))
        if waiting is not None:
            waiting.pop(ws.id, None)
            answer(books, peer, ask)


def answer(books: Books, peer: str, ask: int) -> None:
    """Tell a client that the workers it wanted to retire are gone, if they are."""
    client = books.clients.get(peer)
    if not books.watch.asks[peer, ask]:
        del books.watch.asks[peer, ask]
        if client is not None:
            books.send(client, Reply(ask))


def forget_asks(books: Books, client: ClientState) -> None:
    """The client is gone: nobody waits for its answers."""
    asks = books.watch.asks
    for key in [key for key in asks if key[0] == client.peer]:
        del asks[key]


def changed(books: Books) -> bool:
    """Whether a draining worker is not as it was when it was last looked at."""
    return any(stamp != _stamp(books, ws) for ws, stamp in books.watch.draining.items())


def proceed(books: Books, *, all: bool) -> None:
    """Move what is to be moved, and send away who is done. `all`: also who has not changed."""
    draining = books.watch.draining
    for ws in list(draining):
        if ws not in draining or (not all and draining[ws] == _stamp(books, ws)):
            continue
        clear = _data.evacuate(books, ws)
        draining[ws] = _stamp(books, ws)
        if clear and not ws.processing and not ws.actors:
            send_away(books, ws)


def send_away(books: Books, ws: WorkerState) -> None:
    """Let go of a worker that drains."""
    part(books, ws, "was sent away", accuses=False, sent_away=True)
    tell_stranger(books, ws.id, Depart())


def tell_stranger(books: Books, id: WorkerId, message: Message) -> None:
    """Tell a worker something that is not in the books (any longer)."""
    books.send(WorkerState(id, 0, "", 0), message)


def _stamp(books: Books, ws: WorkerState) -> Stamp:
    evacuation = books.moves.evacuations.get(ws)
    under_way = 0 if evacuation is None else evacuation.open
    has = len(ws.has_what)
    return (has, under_way, len(ws.processing), len(ws.actors), books.watch.losses)
