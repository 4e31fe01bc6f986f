"""Results that nobody wants, but that somebody may be about to want: they linger.

Whoever lets go of a result while a future of it is in a pickle, on its way to somebody else, says
so. The result is then wanted for a while by a client without a process, so that the other finds it.
That client keeps nothing from being cancelled.
"""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._admission import desire
from treadle.scheduler._books import LINGERING, Books
from treadle.scheduler._bundles import find
from treadle.scheduler._client import ClientState
from treadle.scheduler._release import unwant
from treadle.scheduler._task import TaskState


def let_linger(books: Books, client: ClientState, message: wire.Linger) -> None:
    """The client wants these no longer, and somebody else may be about to."""
    for id in message.ids:
        ts = find(books, id)
        if ts is None:
            books.refuse("linger of an unknown task")
            continue
        linger(books, ts)
        # As with a release: of what is told together, its first row stands for all.
        if ts.id == id and ts in client.wants_what:
            unwant(books, ts, client)


def linger(books: Books, ts: TaskState) -> None:
    """Keep a task that is known, and its result, for a while from now on."""
    desire(books, books.clients[LINGERING], ts.id)
    lingering = books.lingering
    lingering.pop(ts, None)  # the last one is the last to go
    lingering[ts] = books.now + books.policy.linger_s


def tick(books: Books) -> None:
    """Let go of what has lingered long enough."""
    lingering = books.lingering
    client = books.clients[LINGERING]
    while lingering:
        ts, until = next(iter(lingering.items()))
        if until > books.now:
            return
        del lingering[ts]
        if ts in client.wants_what:
            unwant(books, ts, client)


def wake_at(books: Books) -> float | None:
    """When somebody has lingered long enough; None: nobody lingers."""
    lingering = books.lingering
    return lingering[next(iter(lingering))] if lingering else None
