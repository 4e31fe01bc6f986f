"""What is always true of the things by which clients coordinate."""

from __future__ import annotations

from typing import NoReturn

from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._shared import Desk, Queue, Stored, Thing, Wait


def check_shared(books: Books) -> None:
    """Raise `AssertionError` if what is written of one of them cannot all be true."""
    shared = books.shared
    for table in (shared.semaphores, shared.signals, shared.queues, shared.variables):
        for name, thing in table.items():
            if thing.name != name:
                _fail(thing, f"is filed under {name!r}")
            _check_line(books, thing, thing.line)
    _check_semaphores(books)
    _check_signals(books)
    _check_queues(books)
    _check_topics(books)
    for client in books.clients.values():
        if client.desk is not None:
            _check_desk(books, client, client.desk)
    _check_keepers(books)
    _check_clock(books)


def _fail(what: object, text: str) -> NoReturn:
    raise AssertionError(f"{what} {text}")


def _check_line(books: Books, thing: Thing, line: dict[Wait, None]) -> None:
    """Who waits is there, knows of it, and waits here."""
    for wait in line:
        client = wait.client
        if books.clients.get(client.peer) is not client or client.desk is None:
            _fail(thing, f"is waited for by {client.peer}, who has left")
        if client.desk.waits.get(wait.ask) is not wait or not wait.is_open:
            _fail(thing, f"is waited for by {client.peer}, who does not know it")
        if wait.thing is not thing:
            _fail(thing, f"has somebody in its line who waits for {wait.thing.name!r}")


def _check_semaphores(books: Books) -> None:
    seen: dict[int, str] = {}
    for semaphore in books.shared.semaphores.values():
        taken = len(semaphore.taken)
        if taken > semaphore.places or semaphore.places < 1:
            _fail(semaphore, f"has {semaphore.places} places, and {taken} are taken")
        if semaphore.line and taken < semaphore.places:
            _fail(semaphore, "has a free place, and somebody waits")
        if not semaphore.line and not taken:
            _fail(semaphore, "is remembered, and nobody is there")
        for token, place in semaphore.taken.items():
            if token in seen or not 0 < token <= books.shared.tokens:
                _fail(semaphore, f"has the token {token}; the newest is {books.shared.tokens}")
            seen[token] = semaphore.name
            desk = place.client.desk
            if books.clients.get(place.client.peer) is not place.client or desk is None:
                _fail(semaphore, f"is held by {place.client.peer}, who has left")
            if desk.places.get(token) is not semaphore:
                _fail(semaphore, f"is held by {place.client.peer}, who does not know it")


def _check_signals(books: Books) -> None:
    for signal in books.shared.signals.values():
        if signal.is_set == bool(signal.line):
            _fail(signal, "is set, and somebody waits; or neither")
    for variable in books.shared.variables.values():
        if (variable.value is not None) == bool(variable.line):
            _fail(variable, "has a value, and somebody waits; or neither")


def _check_queues(books: Books) -> None:
    under_way: dict[str, int] = {}
    for client in books.clients.values():
        for kept in () if client.desk is None else client.desk.kept.values():
            if kept.queue is not None:
                name = kept.queue.name
                under_way[name] = under_way.get(name, 0) + 1
                if books.shared.queues.get(name) is not kept.queue:
                    _fail(kept.queue, "has items under way, and is forgotten")
    for queue in books.shared.queues.values():
        _check_line(books, queue, queue.puts)
        size = len(queue.items)
        if queue.line and size >= next(iter(queue.line)).least:
            _fail(queue, "has what the first taker waits for")
        if queue.puts and not 0 < queue.maxsize <= size:
            _fail(queue, "has room, and somebody waits to put")
        if queue.under_way != under_way.get(queue.name, 0):
            _fail(queue, f"counts {queue.under_way} answers under way")
        if not (size or queue.line or queue.puts or queue.under_way):
            _fail(queue, "is remembered, and nobody is there")


def _check_topics(books: Books) -> None:
    for topic in books.shared.topics.values():
        if not topic.readers and not topic.number:
            _fail(topic, "is remembered, and nobody is there")
        if len(topic.messages) > topic.number or topic.nbytes != sum(map(len, topic.messages)):
            _fail(topic, "does not count its messages")
        for client in topic.readers:
            desk = client.desk
            if desk is None or desk.topics.get(topic.name) is not topic:
                _fail(topic, f"is read by {client.peer}, who does not know it")


def _check_desk(books: Books, client: ClientState, desk: Desk) -> None:
    for ask, wait in desk.waits.items():
        if ask in desk.kept or ask > desk.asked or wait.client is not client or wait.ask != ask:
            _fail(client, f"waits for the answer {ask}, which it has, or never asked for")
        thing = wait.thing
        if wait not in thing.line and not (isinstance(thing, Queue) and wait in thing.puts):
            _fail(client, f"waits for {thing.name!r}, which does not know it")
    for token, semaphore in desk.places.items():
        if token not in semaphore.taken or semaphore.taken[token].client is not client:
            _fail(client, f"has the place {token} of {semaphore.name!r}, which does not know it")
    for name, topic in desk.topics.items():
        if books.shared.topics.get(name) is not topic or client not in topic.readers:
            _fail(client, f"reads the topic {name!r}, which does not know it")


def _check_keepers(books: Books) -> None:
    """Each item with futures in it has a client that wants them, and no other is there."""
    stored: list[Stored] = []
    for queue in books.shared.queues.values():
        stored += queue.items
        stored += [wait.stored for wait in queue.puts if wait.stored is not None]
    for client in books.clients.values():
        for kept in () if client.desk is None else client.desk.kept.values():
            stored += kept.items
    stored += [v.value for v in books.shared.variables.values() if v.value is not None]
    keepers = {each.keeper.peer for each in stored if each.keeper is not None}
    there = {peer for peer in books.clients if peer.startswith(("queue/", "variable/"))}
    if keepers != there:
        _fail(sorted(keepers ^ there), "keep results for no item, or should and are not there")


def _check_clock(books: Books) -> None:
    clock = books.shared.clock
    waits = [
        wait
        for client in books.clients.values()
        if client.desk is not None
        for wait in client.desk.waits.values()
        if wait.until is not None
    ]
    live = [entry[2] for entry in clock.heap if entry[2].is_open]
    if {id(wait) for wait in live} != {id(wait) for wait in waits} or len(clock) != len(live):
        _fail(clock, f"counts {len(clock)} requests with a time; there are {len(waits)}")
    if clock.heap and not clock.heap[0][2].is_open:
        _fail(clock, "would wake for a request that has ended")
