"""Clients come and go, and say what they want."""

from __future__ import annotations

from treadle import wire
from treadle.scheduler import _cancel, _coordination, _data, _lingering, _muster
from treadle.scheduler import _departures as departures
from treadle.scheduler import _leases as leases
from treadle.scheduler._admission import desire as desire_one
from treadle.scheduler._books import FORGETFUL, Books
from treadle.scheduler._bundles import find, owner
from treadle.scheduler._client import ClientState
from treadle.scheduler._end import done, erred
from treadle.scheduler._events import PeerGone
from treadle.scheduler._published import drop, get_published, list_published, publish, unpublish
from treadle.scheduler._release import unwant
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import ERRED, MEMORY
from treadle.wire import TaskId

__all__ = [
    "attach",
    "beat",
    "cancel",
    "desire",
    "fire_and_forget",
    "get_published",
    "leave",
    "link_lost",
    "list_published",
    "peer_gone",
    "publish",
    "release",
    "retry",
    "tick",
    "unknown",
    "unpublish",
]


def attach(books: Books, message: wire.Attach, source: str) -> None:
    """A client is here, or here again."""
    client = books.clients.get(source)
    for other in books.clients.values():
        if other.session == message.session and other is not client:
            books.refuse("attach with the session of another client")
            text = f"session {message.session:x} is another client's; draw another one"
            books.send(ClientState(source), wire.Refused("attach", text))
            return
    if client is not None and client.session != message.session:
        _forget(books, client)
        client = None
    resumed = client is not None and _has_spoken(books, client)
    if client is None:
        client = books.clients[source] = ClientState(source, message.session)
        leases.watch(books)
    if resumed:
        books.watch.newcomers.pop(client, None)
    else:
        books.watch.newcomers[client] = books.now
    books.watch.strangers.pop(source, None)
    client.name = message.name
    client.lease_s = message.lease_s
    client.linked = True
    client.last_seen = books.now
    books.send(client, wire.Attached(message.session, resumed))
    for end in client.untold.values():
        ts = books.tasks.get(end.id) if isinstance(end, wire.Erred | wire.Cancelled) else None
        if ts is None or ts not in client.wants_what:
            books.send(client, end)
    client.untold = {}
    if resumed:
        _data.client_back(books, client)
    for ts in client.wants_what:
        if ts.code == MEMORY:
            books.send(client, done(ts))
        elif ts.code == ERRED:
            books.send(client, erred(ts))


def _has_spoken(books: Books, client: ClientState) -> bool:
    """Whether it has said anything since it was told that it is new; else it may not know that."""
    told = books.watch.newcomers.get(client)
    if told is None or client.last_seen > told:
        return True
    return bool(client.wants_what) or client.desk is not None


def unknown(books: Books, source: str) -> None:
    """Somebody who was forgotten is still there: tell it, once a beat."""
    books.refuse("message of a client that is not attached")
    if not books.watch.is_told(source, books.now, books.policy.beat_s):
        leases.watch(books)
        text = "you are not attached (any longer), and what you wanted is forgotten: attach anew"
        books.send(ClientState(source), wire.Refused("client", text))


def _forget(books: Books, client: ClientState) -> None:
    """A client is gone, and wants nothing any longer."""
    del books.clients[client.peer]
    client.linked = False
    books.watch.newcomers.pop(client, None)
    drop(books, client)
    _coordination.forget(books, client)
    _data.client_left(books, client)
    departures.forget_asks(books, client)
    _muster.forget(books, client)


def _known(
    books: Books, client: ClientState, what: str, ids: tuple[TaskId, ...]
) -> list[TaskState]:
    """The tasks with these identifiers; the client is told which are not known."""
    found, strange = _sorted_out(books, ids)
    if strange:
        text = f"{len(strange)} of these are not known (any longer)"
        books.send(client, wire.Refused(what, text, tuple(strange)))
    return found


def _sorted_out(books: Books, ids: tuple[TaskId, ...]) -> tuple[list[TaskState], list[TaskId]]:
    found: list[TaskState] = []
    strange: list[TaskId] = []
    for id in ids:
        ts = find(books, id)
        if ts is None:
            strange.append(id)
        else:
            found.append(ts)
    return found, strange


def desire(books: Books, client: ClientState, message: wire.Desire) -> None:
    """The client wants these too."""
    for ts in _known(books, client, "desire", message.ids):
        desire_one(books, client, ts.id)


def release(books: Books, client: ClientState, message: wire.Release) -> None:
    """The client wants these no longer."""
    for id in message.ids:
        ts = books.tasks.get(id)
        if ts is not None and ts in client.wants_what:
            unwant(books, ts, client)
        else:
            books.refuse("release of what is not wanted")


def cancel(books: Books, client: ClientState, message: wire.Cancel) -> None:
    """The client wants these stopped, and what waits for them."""
    found, strange = _sorted_out(books, message.ids)
    for _ in strange:
        books.refuse("cancel of an unknown task")
    reason = message.reason or "cancelled by its client"
    _cancel.cancel(books, client, found, reason, force=message.force, waiting=message.waiting)


def retry(books: Books, client: ClientState, message: wire.Retry) -> None:
    """The client wants these tried again, as far as they have erred."""
    _cancel.retry(books, _known(books, client, "retry", message.ids))


def fire_and_forget(books: Books, client: ClientState, message: wire.FireAndForget) -> None:
    """These are run to their end, whoever may have lost interest."""
    forgetful = books.clients[FORGETFUL]
    strange = []
    found: dict[TaskState, None] = {}
    for id in message.ids:
        ts = owner(books, id)  # not `find`: rows of one bundle stay together
        if ts is None:
            strange.append(id)
        else:
            found[ts] = None
    if strange:
        text = f"{len(strange)} of these are not known (any longer)"
        books.send(client, wire.Refused("fire_and_forget", text, tuple(strange)))
    for ts in found:
        if ts.code != MEMORY and ts.code != ERRED and ts.run_spec is not None:
            desire_one(books, forgetful, ts.id)


def beat(books: Books, client: ClientState, message: wire.ClientBeat) -> None:
    """A client is alive."""
    books.send(client, wire.Beaten(message.number))


def leave(books: Books, client: ClientState, message: wire.Leave) -> None:
    """A client says goodbye."""
    _forget(books, client)


def link_lost(books: Books, peer: str) -> None:
    """A client's link is lost: its lease begins."""
    client = books.clients.get(peer)
    if client is not None and client.linked:
        client.linked = False
        client.lost_at = books.now
        _coordination.link_lost(client)


def peer_gone(books: Books, event: PeerGone) -> None:
    """A client is surely gone."""
    client = books.clients.get(event.peer)
    if client is not None and client.real:
        _forget(books, client)


def tick(books: Books) -> None:
    """Forget clients whose lease is over."""
    _coordination.tick(books)
    if books.lingering:
        _lingering.tick(books)
    if leases.due(books):
        for client in leases.overdue_clients(books):
            _forget(books, client)
