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
        tell(books, client, message.ask, [1, []])
        return
    first = topic.number - len(topic.messages) + 1
    tell(books, client, message.ask, [first, list(topic.messages)])


def subscribe(books: Books, client: ClientState, message: wire.Subscribe) -> None:
    """Tell this client what is announced from now on, and what it missed."""
    desk = desk_of(client)
    topic = desk.topics.get(message.topic)
    if message.ask > desk.asked:
        desk.asked = message.ask
        if topic is not None:
            topic.readers[client].ask = message.ask
    elif message.ask and (topic is None or topic.readers[client].ask != message.ask):
        tell(books, client, message.ask)  # it came again, and was undone since
        return
    if topic is None:
        topic = desk.topics[message.topic] = _topic(books, message.topic)
        topic.readers[client] = Reader(topic.number, message.ask)
    reader = topic.readers[client]
    if message.ask:
        tell(books, client, message.ask, reader.start)
    if reader.paused:
        reader.paused = False
        after = reader.start if message.after is None else message.after
        for number, data in _after(topic, after):
            books.send(client, Announced(topic.name, number, data))


def unsubscribe(books: Books, client: ClientState, message: wire.Unsubscribe) -> None:
    """Tell it no longer."""
    desk = desk_of(client)
    if message.ask > desk.asked:
        desk.asked = message.ask
        topic = desk.topics.pop(message.topic, None)
        if topic is not None:
            del topic.readers[client]
            left(books, topic)
    tell(books, client, message.ask)


def link_lost(desk: Desk, client: ClientState) -> None:
    """What is announced now waits until the client says what it has heard."""
    for topic in desk.topics.values():
        topic.readers[client].paused = True


def left(books: Books, topic: Topic) -> None:
    """Nobody may be there: what never said anything is forgotten."""
    if not topic.readers and not topic.number:
        del books.shared.topics[topic.name]


def _after(topic: Topic, number: int) -> list[tuple[int, bytes]]:
    first = topic.number - len(topic.messages) + 1
    begin = max(number + 1, first)
    return list(enumerate(islice(topic.messages, begin - first, None), begin))


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
