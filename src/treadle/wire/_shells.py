"""Messages between the shells: machines never see them.

What code a task runs, in what surroundings, where a worker is to be reached, what a task printed.
The shell of the scheduler keeps what it is told and passes it on to who needs it.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from treadle.wire._terms import (
    MAX_ITEMS,
    Addresses,
    Count,
    Message,
    Name,
    Serial,
    TaskId,
    Text,
    WorkerId,
    WorkerIds,
)

#: Bytes of the digest that names code.
DIGEST_BYTES = 16

Digest = Annotated[bytes, Meta(max_length=DIGEST_BYTES)]


class Code(Message, frozen=True, gc=False):
    """A function that tasks name by its digest from now on. `name`: for people. Sent once on each
    link, before the first task that names it."""

    digest: Digest
    name: Name
    payload: bytes


class World(Message, frozen=True, gc=False):
    """In what surroundings a client's tasks run: as in its own process. Sent once, first of all.

    `main`: path of its program, for what is named by its module.
    """

    sys_path: Annotated[tuple[Text, ...], Meta(max_length=10_000)]
    directory: Text
    umask: Count
    main: Text = ""


class Locate(Message, frozen=True, gc=False):
    """Where are these workers to be reached? Answer: `Located`."""

    ask: Serial
    workers: WorkerIds


class Place(Struct, frozen=True, array_like=True, gc=False):
    """Where a worker is to be reached, best address first; none if it is not known (any more).

    `host`: of an address on the same machine, a Unix socket will do.
    """

    worker: WorkerId
    host: Name
    addresses: Addresses


class Located(Message, frozen=True, gc=False):
    """They are here."""

    ask: Serial
    places: Annotated[tuple[Place, ...], Meta(max_length=MAX_ITEMS)]


class Printed(Message, frozen=True, gc=False):
    """A task printed this. `stream`: 1 is its standard output, 2 its standard error. `dropped`:
    bytes before it that were too many."""

    id: TaskId
    name: Name
    stream: Count
    text: Text
    dropped: Serial = 0


class Issue(Message, frozen=True, gc=False):
    """I am about to start a block: what are its workers to prove themselves with? Answer: `Issued`."""

    ask: Serial
    block: Name


class Issued(Message, frozen=True, gc=False):
    """The credential of a block: what is to stand in its file; nothing where none is needed.
    `error`: why there is none."""

    ask: Serial
    credential: bytes
    error: Text = ""


class Revoke(Message, frozen=True, gc=False):
    """This block has ended: nobody may speak for it any longer."""

    block: Name


class Roll(Message, frozen=True, gc=False):
    """Which workers are there? Answer: a `Reply` with two lists: [worker, block, host, slots, how
    many tasks it has been given] of each, and [block, how many of its workers there have ever
    been] of each block."""

    ask: Serial
