"""Who is silent for too long is given up, by a judge who was awake himself.

A lease runs from the last word of a peer that has a link, and from the loss of the link of one that
has none. Leases are looked at once a beat. If a look comes later than it was asked for, the judge
was stopped or busy, and what peers said in that time may still be unread: the time is added to all
leases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.scheduler._books import Books
    from treadle.scheduler._client import ClientState
    from treadle.scheduler._worker import WorkerState

#: Two looks are at least this part of a beat apart.
_LOOKS_A_BEAT = 8


def watch(books: Books) -> None:
    """There is somebody to watch."""
    if books.watch.look_at is None:
        books.watch.look_at = books.now + books.policy.beat_s


def due(books: Books) -> bool:
    """Whether leases are to be looked at now."""
    look_at = books.watch.look_at
    return look_at is not None and books.now >= look_at


def catch_up(books: Books) -> None:
    """If the look that is due is late by more than a beat, everybody gets the lost time."""
    look_at = books.watch.look_at
    assert look_at is not None
    late = books.now - look_at
    if late > books.policy.beat_s:
        for ws in books.workers.values():
            _add(books, ws, late)
        for client in books.clients.values():
            _add(books, client, late)


def _add(books: Books, state: WorkerState | ClientState, late: float) -> None:
    state.last_seen = min(books.now, state.last_seen + late)
    state.lost_at = min(books.now, state.lost_at + late)


def overdue_workers(books: Books) -> list[WorkerState]:
    """Whose leases are over."""
    now = books.now
    lease_s = books.policy.lease_s
    found = []
    oldest = now
    for ws in books.workers.values():  # there are many: no call for each
        heard = ws.last_seen if ws.linked else ws.lost_at
        if heard + lease_s <= now:
            found.append(ws)
        elif heard < oldest:
            oldest = heard
    books.watch.first = oldest + lease_s
    return found


def overdue_clients(books: Books) -> list[ClientState]:
    """Whose leases are over. Workers have been looked at before: says when to look again."""
    found = []
    first = books.watch.first
    somebody = bool(books.workers)
    for client in books.clients.values():
        if client.real:
            ends_at = (client.last_seen if client.linked else client.lost_at) + client.lease_s
            if ends_at <= books.now:
                found.append(client)
            else:
                somebody = True
                first = min(first, ends_at)
    _look_again(books, first, somebody)
    return found


def how(books: Books, ws: WorkerState) -> str:
    """What a worker whose lease is over did, in words."""
    since = books.now - (ws.last_seen if ws.linked else ws.lost_at)
    return f"{'was silent' if ws.linked else 'was without a link'} for {since:.3g} s"


def _look_again(books: Books, first: float, somebody: bool) -> None:
    """Leases have been looked at, and the first of them ends then."""
    beat_s = books.policy.beat_s
    strangers = books.watch.strangers
    for peer in [p for p, told in strangers.items() if books.now - told >= books.policy.lease_s]:
        del strangers[peer]
    if not somebody and not strangers:
        books.watch.look_at = None
        return
    rest = max(first - books.now, beat_s / _LOOKS_A_BEAT)
    books.watch.look_at = books.now + min(beat_s, rest)
