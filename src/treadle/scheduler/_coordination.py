"""How clients coordinate through the scheduler: the door to the rooms of named things.

Everything that a client has here ends with it: its places are free, its requests no longer wait,
items that were under way to it go back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from treadle import wire
from treadle.scheduler import _channels, _metadata, _semaphores, _signals, _topics, _variables
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import MAX_KEPT, answer, desk_of, end, told_again
from treadle.scheduler._shared import Desk, Kept, Queue, Semaphore, Signal, Variable, Wait

#: Requests, each answered once.
_REQUESTS: dict[type, Callable[[Books, ClientState, Desk, Any], None]] = {
    wire.Acquire: _semaphores.acquire,
    wire.GiveBack: _semaphores.give_back,
    wire.Holders: _semaphores.holders,
    wire.SetEvent: _signals.set_event,
    wire.AwaitEvent: _signals.await_event,
    wire.Put: _channels.put,
    wire.Take: _channels.take,
    wire.QueueSize: _channels.size,
    wire.Assign: _variables.assign,
    wire.Look: _variables.look,
    wire.Recall: _topics.recall,
    wire.SetMetadata: _metadata.set_metadata,
    wire.GetMetadata: _metadata.get_metadata,
}
#: Of these, the questions: asked again, they are answered as things are then.
_QUESTIONS = frozenset((wire.Holders, wire.QueueSize, wire.Recall, wire.GetMetadata))


def asked(books: Books, client: ClientState, message: Any) -> None:
    """A client asks for something, or asks again."""
    desk = desk_of(client)
    kind = type(message)
    if message.ask > desk.asked:
        desk.asked = message.ask
    elif kind not in _QUESTIONS:
        told_again(books, client, desk, message.ask)
        return
    _REQUESTS[kind](books, client, desk, message)
    if len(desk.kept) > MAX_KEPT:
        _settle(books, desk, next(iter(desk.kept)))


def heard(books: Books, client: ClientState, message: wire.Heard) -> None:
    """Answers have arrived."""
    desk = desk_of(client)
    for ask in message.asks:
        _settle(books, desk, ask)


def withdraw(books: Books, client: ClientState, message: wire.Withdraw) -> None:
    """A request is wanted no longer: it is as if it had not been answered, if it was."""
    desk = desk_of(client)
    wait = desk.waits.get(message.request)
    if wait is not None:
        _stop(books, wait)
        books.send(client, wire.Reply(message.request, error="it was withdrawn"))
        return
    kept = desk.kept.pop(message.request, None)
    if kept is not None:
        _undo(books, desk, kept)


def forget(books: Books, client: ClientState) -> None:
    """A client is gone."""
    desk = client.desk
    if desk is None:
        return
    for wait in tuple(desk.waits.values()):
        if wait.is_open:  # else it was answered when one before it went, which is undone below
            _stop(books, wait)
    for topic in tuple(desk.topics.values()):
        del topic.readers[client]
        _topics.left(books, topic)
    desk.topics.clear()
    # The newest first: so items go back in their order.
    for ask in sorted(desk.kept, reverse=True):
        _undo(books, desk, desk.kept.pop(ask))
    for token in tuple(desk.places):
        _semaphores.free(books, desk, token)
    client.desk = None


def link_lost(client: ClientState) -> None:
    """A client has no link for now."""
    if client.desk is not None:
        _topics.link_lost(client.desk, client)


def tick(books: Books) -> None:
    """Answer those whose time is up."""
    clock = books.shared.clock
    while (wait := clock.due(books.now)) is not None:
        _stop(books, wait)
        answer(books, wait.client, wait.ask, wait.late)


def _settle(books: Books, desk: Desk, ask: int) -> None:
    """The answer has arrived: what it gave is the client's for good."""
    kept = desk.kept.pop(ask, None)
    if kept is not None and kept.queue is not None:
        _channels.arrived(books, kept)


def _undo(books: Books, desk: Desk, kept: Kept) -> None:
    """What the answer gave goes back."""
    if kept.queue is not None:
        _channels.put_back(books, kept)
    elif kept.token is not None and kept.token in desk.places:
        _semaphores.free(books, desk, kept.token)


def _stop(books: Books, wait: Wait) -> None:
    """A request waits no longer."""
    thing = wait.thing
    if isinstance(thing, Queue):
        _channels.stopped(books, wait)
        return
    end(books, wait, thing.line)
    if isinstance(thing, Semaphore):
        _semaphores.left(books, thing)
    elif isinstance(thing, Signal):
        _signals.left(books, thing)
    else:
        assert isinstance(thing, Variable)
        _variables.left(books, thing)


#: What a client may say of all this.
HANDLERS: dict[type, Callable[..., None]] = {
    **dict.fromkeys(_REQUESTS, asked),
    wire.Heard: heard,
    wire.Withdraw: withdraw,
    wire.Announce: _topics.announce,
    wire.Subscribe: _topics.subscribe,
    wire.Unsubscribe: _topics.unsubscribe,
}
