"""What an agent and its slots say to each other, packet by packet.

A slot has two socket pairs of the kind SEQPACKET: one `Task` or `Bye` each on *feed*, whose reading
end the agent holds too (whoever reads a packet owns it, so the agent can take back what the slot
has not begun); all else on *talk*: the agent's `Granted` and `Denied`, the slot's lists of reports.
A packet over `PACKET_BYTES` goes as a `Big`, with the descriptor of memory that holds it.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from treadle.wire import Failure, Spot, TaskId

#: Longest packet that goes as it is: what a socket's default buffer holds twice.
PACKET_BYTES: Final = 64 * 1024


class Packet(Struct, frozen=True, array_like=True, tag_field="packet", tag=str.lower, gc=False):
    """A packet. Its tag is the name of its class in lower case."""


# --- the agent to a slot -------------------------------------------------------------------------


class Supply(Struct, frozen=True, array_like=True, gc=False):
    """An input of a task: its bytes, or where they stand. `rows`: results of so many rows of a
    bundle are in it, from `id` on."""

    id: TaskId
    attempt: int
    data: bytes | Spot
    rows: int = 1


class Task(Packet, frozen=True, gc=False):
    """Run this. `spec`: see `treadle.serialize.CallSpec`. `rows`: once for each of these instead,
    row `i` under the identifier `id + i`. `code`: functions that this slot has not been given yet:
    digest, name, payload. `world`: the surroundings, if they are new to this slot (encoded
    `wire.World`). `actor`: keep the result as the actor `id`. `home`: call that actor."""

    id: TaskId
    attempt: int
    spec: bytes
    supplies: tuple[Supply, ...] = ()
    rows: tuple[bytes, ...] = ()
    code: tuple[tuple[bytes, str, bytes], ...] = ()
    world: bytes | None = None
    actor: bool = False
    home: TaskId | None = None


class Bye(Packet, frozen=True, gc=False):
    """There is no more work: end."""


class Granted(Packet, frozen=True, gc=False):
    """Write the result here."""

    attempt: int
    spot: Spot


class Denied(Packet, frozen=True, gc=False):
    """There will never be room for a result of that size."""

    attempt: int
    why: str


class Turn(Packet, frozen=True, gc=False):
    """The answer to `Wants`: go on."""

    attempt: int


class Big(Packet, frozen=True, gc=False):
    """A packet of so many bytes stands in the memory whose descriptor comes along."""

    nbytes: int


# --- a slot to its agent -------------------------------------------------------------------------


class Ready(Packet, frozen=True, gc=False):
    """I wait for work. `warning`: something the user should know."""

    pid: int
    warning: str = ""


class Asked(Packet, frozen=True, gc=False):
    """I need room for a result of so many bytes."""

    id: TaskId
    attempt: int
    nbytes: int


class Returned(Packet, frozen=True, gc=False):
    """A result. `data`: its bytes if they are few; else it stands where it was granted.

    `rows`: of a bundle, the results of so many rows, from `id` on. `last`: I wait for work again.
    `printed`: bytes that standard output and standard error have grown by.
    """

    id: TaskId
    attempt: int
    nbytes: int
    type: str
    duration_s: float
    memory_bytes: int = 0
    data: bytes | None = None
    rows: int = 1
    last: bool = True
    printed: tuple[int, int] = (0, 0)


class Raised(Packet, frozen=True, gc=False):
    """A failure of an attempt, or of a row of a bundle. `final`: it would fail the same way again."""

    id: TaskId
    attempt: int
    failure: Failure
    duration_s: float
    final: bool = False
    last: bool = True
    printed: tuple[int, int] = (0, 0)


class Waits(Packet, frozen=True, gc=False):
    """My task waits for others, or has seceded: its turn is somebody else's. `id`: of a bundle, the
    first row's. An attempt that ends so never asks for a turn again."""

    id: TaskId
    attempt: int


class Wants(Packet, frozen=True, gc=False):
    """My task has something to do again; it waits for a `Turn`."""

    id: TaskId
    attempt: int


class Logged(Packet, frozen=True, gc=False):
    """My task has logged this, at that time."""

    level: int
    name: str
    text: str
    created: float


class Worn(Packet, frozen=True, gc=False):
    """Replace me before the next task: the last one left me in a state that I cannot mend."""

    why: str


ToSlot = Task | Bye | Granted | Denied | Turn | Big
FromSlot = Ready | Asked | Returned | Raised | Waits | Wants | Logged | Worn | Big

_ENCODER = msgspec.msgpack.Encoder()
encode = _ENCODER.encode
#: What stands on *feed* and on the slot's side of *talk*: one packet.
decode_for_slot = msgspec.msgpack.Decoder(ToSlot).decode
#: What a slot says: a list of packets, in order.
decode_from_slot = msgspec.msgpack.Decoder(list[FromSlot]).decode

# --- the blame word ------------------------------------------------------------------------------

#: Memory that a slot and its agent share; the slot writes numbers of 8 bytes, native order. What
#: else stands there: see `_slot_page`.
BLAME_BYTES: Final = 32 * 1024
#: Index of: the attempt it runs (0: none); the row of it; when it began (CLOCK_MONOTONIC, ns).
BLAME_ATTEMPT, BLAME_ROW, BLAME_SINCE = 0, 1, 2
