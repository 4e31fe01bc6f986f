"""Topics: the newest messages of each are remembered, and told to who reads it.

Messages of a topic are numbered. A reader that has a new link says which was the last that it
heard, and is told what came after it before anything else: it misses nothing that is remembered.
"""

from __future__ import annotations

from itertools import islice

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import desk_of, tell
from treadle.scheduler._shared import Desk, Reader, Topic
from treadle.wire import Announced

#: Messages of a topic that are remembered, and their bytes.
MAX_MESSAGES = 10_000
MAX_BYTES = 16 * 1024 * 1024
#: Topics that nobody reads which are remembered.
MAX_TOPICS = 10_000


def announce(books: Books, client: ClientState, message: wire.Announce) -> None:
    """Remember a message, and tell who reads the topic."""
    desk = desk_of(client)
    if message.serial:
        if message.serial <= desk.announced:
            books.refuse("announced twice")
            return
        desk.announced = message.serial
    topic = _topic(books, message.topic)
    topic.number += 1
    topic.messages.append(message.data)
    topic.nbytes += len(message.data)
    while len(topic.messages) > MAX_MESSAGES or topic.nbytes > MAX_BYTES:
        topic.nbytes -= len(topic.messages.popleft())
    told = Announced(topic.name, topic.number, message.data)
    for reader, state in topic.readers.items():
        if not state.paused:
            books.send(reader, told)


def recall(books: Books, client: ClientState, desk: Desk, message: wire.Recall) -> None:
    """Tell what is remembered."""
    topic = books.shared.topics.get(message.topic)
    if topic is None:
        tell(books, client, message.ask, [])
        return
    first = topic.number - len(topic.messages) + 1
    tell(books, client, message.ask, [list(row) for row in enumerate(topic.messages, first)])


def subscribe(books: Books, client: ClientState, message: wire.Subscribe) -> None:
    """Tell this client what is announced from now on, and what it missed."""
    topic = _topic(books, message.topic)
    reader = topic.readers.get(client)
    after = message.after
    if reader is None:
        reader = topic.readers[client] = Reader(topic.number)
        desk_of(client).topics[topic.name] = topic
        until = topic.number
    elif reader.paused:
        until = topic.number
    else:
        until = reader.start  # all after that it has been told by this link
    reader.paused = False
    for number, data in _between(topic, reader.start if after is None else after, until):
        books.send(client, Announced(topic.name, number, data))
    if message.ask:
        tell(books, client, message.ask, topic.number)


def unsubscribe(books: Books, client: ClientState, message: wire.Unsubscribe) -> None:
    """Tell it no longer."""
    topic = desk_of(client).topics.pop(message.topic, None)
    if topic is not None:
        del topic.readers[client]
        left(books, topic)


def link_lost(desk: Desk, client: ClientState) -> None:
    """What is announced now waits until the client says what it has heard."""
    for topic in desk.topics.values():
        topic.readers[client].paused = True


def left(books: Books, topic: Topic) -> None:
    """Nobody may be there: what never said anything is forgotten."""
    if not topic.readers and not topic.number:
        del books.shared.topics[topic.name]


def _between(topic: Topic, after: int, until: int) -> list[tuple[int, bytes]]:
    first = topic.number - len(topic.messages) + 1
    begin = max(after + 1, first)
    if begin > until:
        return []
    rows = islice(topic.messages, begin - first, until + 1 - first)
    return list(enumerate(rows, begin))


def _topic(books: Books, name: str) -> Topic:
    topics = books.shared.topics
    topic = topics.get(name)
    if topic is None:
        if len(topics) >= MAX_TOPICS:
            idle = next((t for t in topics.values() if not t.readers), None)
            if idle is not None:
                del topics[idle.name]
        topic = topics[name] = Topic(name)
    return topic
