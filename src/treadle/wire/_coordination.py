"""Messages between a client and the scheduler by which programs and tasks coordinate.

Semaphores (a lock is one with a single place), events, queues, variables, topics, metadata. All are
named, and made when they are first named. What has an owner ends with it: a place that a client
holds is free again when the client leaves, or is forgotten. What waits has a time of its own, kept
by the scheduler, so that an answer and a timeout cannot cross. A request that is sent again after a
link was lost is the same request, by its number `ask`: it is not carried out twice. Its answer is
kept, to be told again, until the client says that it has it (`Heard`) or wants it no longer
(`Withdraw`). A client counts its requests up, and says them in that order.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from treadle.wire._terms import MAX_ITEMS, Count, Ids, Message, Name, Seconds, Serial

#: Longest item of a queue, value of a variable, or message of a topic. Larger data is a future's.
MAX_ITEM = 1 << 20

Payload = Annotated[bytes, Meta(max_length=MAX_ITEM)]
Path = Annotated[tuple[Name, ...], Meta(max_length=64)]
Asks = Annotated[tuple[Serial, ...], Meta(max_length=MAX_ITEMS)]


class Item(Struct, frozen=True, array_like=True, gc=False):
    """A value as its readers unpickle it, and the results that futures in it stand for."""

    data: Payload
    ids: Ids = ()


class Linger(Message, frozen=True, gc=False):
    """I let go of these, as by `Release`, but a future of each was pickled: keep them for a while,
    since somebody else may be about to say `Desire`."""

    ids: Ids


class Heard(Message, frozen=True, gc=False):
    """These answers have come; items that were in them are mine. No answer."""

    asks: Asks


# --- semaphores ----------------------------------------------------------------------------------


class Acquire(Message, frozen=True, gc=False):
    """I want a place of this semaphore, which has so many.

    Answer: the place's fencing token, a number higher than that of any place of this semaphore
    before it; or None when the time (None: as long as it takes) is up. `owner`: who holds it, for
    people.
    """

    ask: Serial
    name: Name
    places: Count = 1
    timeout_s: Seconds | None = None
    owner: Name = ""


class GiveBack(Message, frozen=True, gc=False):
    """I hold this place no longer. Answer: True; an error if it is not mine (any more)."""

    ask: Serial
    name: Name
    token: Serial


class Holders(Message, frozen=True, gc=False):
    """Who has places? Answer: [places, [[token, client, owner], ...], how many wait]."""

    ask: Serial
    name: Name


class Withdraw(Message, frozen=True, gc=False):
    """I do not wait for the answer to this request of mine any longer; what it has given me
    meanwhile (a place, items) goes back. No answer."""

    request: Serial


# --- events --------------------------------------------------------------------------------------


class SetEvent(Message, frozen=True, gc=False):
    """Set this event, or clear it. Answer: nothing."""

    ask: Serial
    name: Name
    is_set: bool


class AwaitEvent(Message, frozen=True, gc=False):
    """Tell me when it is set. Answer: True, or False when the time is up (0: how is it now?)."""

    ask: Serial
    name: Name
    timeout_s: Seconds | None = None


# --- queues and variables ------------------------------------------------------------------------


class Put(Message, frozen=True, gc=False):
    """Append this. A queue holds `maxsize` items (0: any number), as its first message says.

    Answer: True, or False when the time is up.
    """

    ask: Serial
    name: Name
    item: Item
    maxsize: Count = 0
    timeout_s: Seconds | None = None


class Take(Message, frozen=True, gc=False):
    """Give me items: at least so many (0: what there is), and at most.

    Answer: their list, each [data, ids], or None when the time is up. What futures in them stand
    for lingers until I say `Desire`.
    """

    ask: Serial
    name: Name
    least: Count = 1
    most: Count = 1
    maxsize: Count = 0
    timeout_s: Seconds | None = None


class QueueSize(Message, frozen=True, gc=False):
    """How many items are in it? Answer: a number."""

    ask: Serial
    name: Name


class Assign(Message, frozen=True, gc=False):
    """Set this variable (None: delete it). Answer: nothing."""

    ask: Serial
    name: Name
    item: Item | None


class Look(Message, frozen=True, gc=False):
    """What is this variable's value? Answer: [data, ids], once it has one; None when time is up."""

    ask: Serial
    name: Name
    timeout_s: Seconds | None = None


# --- topics and metadata -------------------------------------------------------------------------


class Announce(Message, frozen=True, gc=False):
    """Append this to a topic. No answer.

    `serial`: counts up with each that a client announces, whatever the topic: what is sent again is
    not announced twice. 0: not said.
    """

    topic: Name
    data: Payload
    serial: Serial = 0


class Recall(Message, frozen=True, gc=False):
    """What was announced? Answer: [number of the first, data of the newest, oldest first]."""

    ask: Serial
    topic: Name


class Subscribe(Message, frozen=True, gc=False):
    """Tell me what is announced from now on, or (`ask` 0: on a new link) what came after a number.

    Answer: the newest number there was when I first said so. What is `Announced` before that answer
    is not meant for this subscription.
    """

    topic: Name
    after: Serial | None = None
    ask: Serial = 0


class Unsubscribe(Message, frozen=True, gc=False):
    """Tell me no longer. Answer: nothing."""

    topic: Name
    ask: Serial = 0


class Announced(Message, frozen=True, gc=False):
    """This was announced. Numbers of a topic count up by one."""

    topic: Name
    number: Serial
    data: Payload


class SetMetadata(Message, frozen=True, gc=False):
    """Set what stands at this path of a tree: bytes, or a mapping from names to such. Answer:
    nothing."""

    ask: Serial
    path: Path
    value: Any


class GetMetadata(Message, frozen=True, gc=False):
    """What stands at this path? Answer: bytes or a mapping; None if nothing does."""

    ask: Serial
    path: Path
