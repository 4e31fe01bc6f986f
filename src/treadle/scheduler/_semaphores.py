"""Semaphores; a lock is one with a single place.

A place belongs to a client, and is free again when the client gives it back, leaves, or is
forgotten. Its token is higher than that of any place before it: who is told the tokens of those who
write can refuse one that was given up for lost and does not know it.
"""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import answer, begin, desk_of, end, tell
from treadle.scheduler._shared import Desk, Place, Semaphore, Wait


def acquire(books: Books, client: ClientState, desk: Desk, message: wire.Acquire) -> None:
    """Give a place, when there is one."""
    known = books.shared.semaphores.get(message.name)
    wrong = _fault(known, message)
    if wrong is not None:
        answer(books, client, message.ask, error=wrong)
        return
    semaphore = known or Semaphore(message.name, places=message.places)
    wait = Wait(client, message.ask, semaphore, owner=message.owner)
    if len(semaphore.taken) < semaphore.places:
        books.shared.semaphores[message.name] = semaphore
        _give(books, semaphore, wait)
    elif message.timeout_s == 0:
        answer(books, client, message.ask)
    else:
        begin(books, wait, semaphore.line, message.timeout_s)


def give_back(books: Books, client: ClientState, desk: Desk, message: wire.GiveBack) -> None:
    """A place is held no longer."""
    semaphore = desk.places.get(message.token)
    if semaphore is None or semaphore.name != message.name:
        text = f"you do not hold the place {message.token} of {message.name!r} (any longer)"
        answer(books, client, message.ask, error=text)
        return
    free(books, desk, message.token)
    answer(books, client, message.ask, True)


def holders(books: Books, client: ClientState, desk: Desk, message: wire.Holders) -> None:
    """Say who has places."""
    semaphore = books.shared.semaphores.get(message.name)
    if semaphore is None:
        tell(books, client, message.ask, [0, [], 0])
        return
    taken = [[token, p.client.peer, p.owner] for token, p in semaphore.taken.items()]
    tell(books, client, message.ask, [semaphore.places, taken, len(semaphore.line)])


def free(books: Books, desk: Desk, token: int) -> None:
    """A place is free: it goes to who has waited longest."""
    semaphore = desk.places.pop(token)
    del semaphore.taken[token]
    if semaphore.line and len(semaphore.taken) < semaphore.places:
        wait = next(iter(semaphore.line))
        end(books, wait, semaphore.line)
        _give(books, semaphore, wait)
    left(books, semaphore)


def left(books: Books, semaphore: Semaphore) -> None:
    """Somebody has left it: if nobody is there, it is forgotten."""
    if not semaphore.taken and not semaphore.line:
        del books.shared.semaphores[semaphore.name]


def _give(books: Books, semaphore: Semaphore, wait: Wait) -> None:
    books.shared.tokens += 1
    token = books.shared.tokens
    semaphore.taken[token] = Place(wait.client, wait.owner)
    desk_of(wait.client).places[token] = semaphore
    answer(books, wait.client, wait.ask, token, token=token)


def _fault(known: Semaphore | None, message: wire.Acquire) -> str | None:
    if message.places < 1:
        return f"semaphore {message.name!r} cannot have {message.places} places: give at least 1"
    if known is not None and known.places != message.places:
        return (
            f"semaphore {message.name!r} has {known.places} places, as its first user said, not "
            f"{message.places}: say the same, or choose another name"
        )
    return None
