"""Results that are kept under a name, whoever leaves.

Each name is a client without a process, which wants what was published.
"""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._admission import desire
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import find
from treadle.scheduler._client import ClientState
from treadle.scheduler._release import unwant

_ROLE = "published/"


def publish(books: Books, client: ClientState, message: wire.Publish) -> None:
    """Keep results under a name."""
    peer = _ROLE + message.name
    old = books.clients.get(peer)
    if old is not None and not message.override:
        text = f"{message.name!r} is published already; unpublish it, or say override"
        books.send(client, wire.Reply(message.ask, error=text))
        return
    found = [find(books, id) for id in message.ids]
    strange = [id for id, ts in zip(message.ids, found, strict=True) if ts is None]
    if strange:
        shown = ", ".join(map(str, strange[:10]))
        text = f"{len(strange)} of these are not known (any longer): {shown}"
        books.send(client, wire.Reply(message.ask, error=text))
        return
    new = books.clients[peer] = ClientState(peer, note=message.note)
    for id in message.ids:
        desire(books, new, id)
    if old is not None:
        drop(books, old)
    books.send(client, wire.Reply(message.ask))


def unpublish(books: Books, client: ClientState, message: wire.Unpublish) -> None:
    """Keep what has this name no longer."""
    old = books.clients.get(_ROLE + message.name)
    if old is None:
        books.send(client, _unknown(message.ask, message.name))
        return
    del books.clients[old.peer]
    drop(books, old)
    books.send(client, wire.Reply(message.ask))


def get_published(books: Books, client: ClientState, message: wire.GetPublished) -> None:
    """Answer what stands under a name; who wants it must say so."""
    found = books.clients.get(_ROLE + message.name)
    if found is None:
        books.send(client, _unknown(message.ask, message.name))
        return
    books.send(client, wire.Reply(message.ask, [[ts.id for ts in found.wants_what], found.note]))


def list_published(books: Books, client: ClientState, message: wire.ListPublished) -> None:
    """Answer which names there are."""
    names = sorted(peer[len(_ROLE) :] for peer in books.clients if peer.startswith(_ROLE))
    books.send(client, wire.Reply(message.ask, names))


def drop(books: Books, client: ClientState) -> None:
    """A client that is in the books no longer wants nothing."""
    for ts in tuple(client.wants_what):
        unwant(books, ts, client)


def _unknown(ask: int, name: str) -> wire.Reply:
    return wire.Reply(ask, error=f"nothing is published as {name!r}")
