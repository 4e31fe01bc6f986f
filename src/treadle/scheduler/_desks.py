"""Requests and answers of clients that coordinate: each is carried out once, and answered once.

A client that was without a link sends again what it does not know to have arrived. Requests are
numbered in the order in which they are first said, so what is not newer than the newest is known:
it waits still, or its answer is told again, or its client has had that.
"""

from __future__ import annotations

from typing import Any

from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._shared import Desk, Kept, Queue, Stored, Wait
from treadle.wire import Reply

#: Answers that are kept for one client; without a bound, one that never says `Heard` could fill
#: the books.
MAX_KEPT = 100_000


def desk_of(client: ClientState) -> Desk:
    """The client's desk."""
    desk = client.desk
    if desk is None:
        desk = client.desk = Desk()
    return desk


def answer(
    books: Books,
    client: ClientState,
    ask: int,
    value: Any = None,
    error: str = "",
    *,
    token: int | None = None,
    queue: Queue | None = None,
    items: tuple[Stored, ...] = (),
) -> None:
    """Answer a request, and keep the answer until the client has it."""
    reply = Reply(ask, value, error)
    kept = desk_of(client).kept
    kept[ask] = Kept(reply, token, queue, items)
    books.send(client, reply)


def tell(books: Books, client: ClientState, ask: int, value: Any = None, error: str = "") -> None:
    """Answer a question; if that does not arrive, it can be answered again."""
    books.send(client, Reply(ask, value, error))


def told_again(books: Books, client: ClientState, desk: Desk, ask: int) -> None:
    """A request has come again."""
    if ask in desk.waits:
        return
    kept = desk.kept.get(ask)
    # If it is not kept, the client has had the answer, or wants none.
    books.send(client, Reply(ask) if kept is None else kept.reply)


def begin(books: Books, wait: Wait, line: dict[Wait, None], timeout_s: float | None) -> None:
    """A request waits from now on."""
    line[wait] = None
    desk_of(wait.client).waits[wait.ask] = wait
    if timeout_s is not None:
        wait.until = books.now + timeout_s
        books.shared.clock.add(wait)


def end(books: Books, wait: Wait, line: dict[Wait, None]) -> None:
    """It waits no longer."""
    del line[wait]
    del desk_of(wait.client).waits[wait.ask]
    wait.is_open = False
    books.shared.clock.ended(wait)
