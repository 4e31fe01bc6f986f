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


def left(books: Books, state: WorkerState | ClientState, lease_s: float) -> float:
    """Seconds that are left of a lease; 0 or less: it is over."""
    return (state.last_seen if state.linked else state.lost_at) + lease_s - books.now


def how(books: Books, state: WorkerState | ClientState) -> str:
    """What a peer whose lease is over did, in words."""
    since = books.now - (state.last_seen if state.linked else state.lost_at)
    return f"{'was silent' if state.linked else 'was without a link'} for {since:.3g} s"


def look_again(books: Books) -> None:
    """Leases have been looked at: say when to do so again."""
    policy = books.policy
    strangers = books.watch.strangers
    for peer in [p for p, told in strangers.items() if books.now - told >= policy.lease_s]:
        del strangers[peer]
    rests = [left(books, ws, policy.lease_s) for ws in books.workers.values()]
    rests += [left(books, c, c.lease_s) for c in books.clients.values() if c.real]
    if not rests and not strangers:
        books.watch.look_at = None
        return
    beat_s = policy.beat_s
    rest = min(rests, default=beat_s)
    books.watch.look_at = books.now + min(beat_s, max(rest, beat_s / _LOOKS_A_BEAT))
