"""What a slot is given: a task's packet, with all that this slot lacks for it.

A function travels once to each slot; inputs go as the place where they stand in shared memory, or
as they are when they are small. The surroundings that tasks run in go again when they change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import msgspec

from treadle.cluster._packets import Supply, Task, decode_for_slot, encode
from treadle.serialize import decode_spec
from treadle.wire import DIGEST_BYTES, Code, Run, World

if TYPE_CHECKING:
    from treadle.cluster._agent_slot import SlotEnd
    from treadle.wire import Spot, TaskId

_ENCODER: Final = msgspec.msgpack.Encoder()
#: How the spec of a task begins whose function goes by digest: an array, bytes, so many.
_BYTES_TAG: Final = 0xC4
_HEAD: Final = 3


class Supplies(Protocol):
    """Where inputs are."""

    def supply(self, key: tuple[TaskId, int]) -> bytes | Spot:
        """The object, for a reader in another process. Raises KeyError if it is not in memory."""


class Pantry:
    """All that tasks need beside what their orders say: code, surroundings, inputs."""

    def __init__(self, supplies: Supplies) -> None:
        self._supplies = supplies
        self._codes: dict[bytes, tuple[bytes, str, bytes]] = {}
        self._world: bytes | None = None
        #: Objects that hold the results of several rows, and of how many.
        self.rows: dict[tuple[TaskId, int], int] = {}

    def learn(self, code: Code) -> None:
        """Keep a function."""
        self._codes.setdefault(code.digest, (code.digest, code.name, code.payload))

    def settle(self, world: World) -> None:
        """Tasks live in these surroundings from now on."""
        self._world = _ENCODER.encode(world)

    def packet(self, slot: SlotEnd, run: Run) -> bytes:
        """The packet that has the slot run this; the slot counts as having what is in it."""
        spec = run.run_spec
        code: tuple[tuple[bytes, str, bytes], ...] = ()
        digest = digest_of(spec)
        if digest and digest not in slot.codes:
            known = self._codes.get(digest)
            if known is not None:
                code = (known,)
                slot.codes.add(digest)
        world = self._world
        if world is slot.world:
            world = None
        else:
            slot.world = world
        supplies = self._supplies_of(run) if run.inputs else ()
        return encode(
            Task(run.id, run.attempt, spec, supplies, run.rows, code, world, run.actor, run.home)
        )

    def forget_packet(self, slot: SlotEnd, packet: bytes) -> None:
        """A packet was taken back unread: the slot lacks what was in it."""
        task = decode_for_slot(packet)
        if isinstance(task, Task):
            slot.codes.difference_update(digest for digest, _, _ in task.code)
            if task.world is not None:
                slot.world = None

    def name_of(self, run: Run) -> str:
        """What the task's function is called."""
        try:
            spec = decode_spec(run.run_spec)
        except msgspec.DecodeError:
            return ""
        known = self._codes.get(spec.digest)
        return spec.name or (known[1] if known is not None else "")

    def _supplies_of(self, run: Run) -> tuple[Supply, ...]:
        supplies = []
        for each in run.inputs:
            key = (each.id, each.attempt)
            try:
                data = self._supplies.supply(key)
            except KeyError:  # an actor, which lives in its slot
                continue
            supplies.append(Supply(each.id, each.attempt, data, self.rows.get(key, 1)))
        return tuple(supplies)


def digest_of(spec: bytes) -> bytes:
    """The digest of the function that an encoded spec names; empty if it names none.

    It stands at the beginning: to decode all of it for each task would copy the arguments.
    """
    if len(spec) > _HEAD and spec[1] == _BYTES_TAG and spec[2] == DIGEST_BYTES:
        return spec[_HEAD : _HEAD + DIGEST_BYTES]
    try:
        return decode_spec(spec).digest
    except msgspec.DecodeError:  # the slot says what is wrong with it
        return b""
