"""Clients come and go, and say what they want."""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._admission import desire as desire_one
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._events import PeerGone
from treadle.scheduler._release import unwant


def attach(books: Books, message: wire.Attach, source: str) -> None:
    """A client is here, or here again."""
    books.clients[source] = ClientState(source, message.session)


def desire(books: Books, client: ClientState, message: wire.Desire) -> None:
    """The client wants these too."""
    for id in message.ids:
        desire_one(books, client, id)


def release(books: Books, client: ClientState, message: wire.Release) -> None:
    """The client wants these no longer."""
    for id in message.ids:
        ts = books.tasks.get(id)
        if ts is not None and ts in client.wants_what:
            unwant(books, ts, client)


def cancel(books: Books, client: ClientState, message: wire.Cancel) -> None: ...
def retry(books: Books, client: ClientState, message: wire.Retry) -> None: ...
def fire_and_forget(books: Books, client: ClientState, message: wire.FireAndForget) -> None: ...
def beat(books: Books, client: ClientState, message: wire.ClientBeat) -> None: ...
def leave(books: Books, client: ClientState, message: wire.Leave) -> None: ...
def publish(books: Books, client: ClientState, message: wire.Publish) -> None: ...
def unpublish(books: Books, client: ClientState, message: wire.Unpublish) -> None: ...
def get_published(books: Books, client: ClientState, message: wire.GetPublished) -> None: ...
def list_published(books: Books, client: ClientState, message: wire.ListPublished) -> None: ...
def link_lost(books: Books, peer: str) -> None: ...
def peer_gone(books: Books, event: PeerGone) -> None: ...
def tick(books: Books) -> None: ...
