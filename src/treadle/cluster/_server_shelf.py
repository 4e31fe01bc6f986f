"""What the scheduler's shell keeps of what it is told, and passes on: code, surroundings, places.

Nothing of it is loaded or understood here. A function goes to a worker once, before the first task
that names it; which function that is stands at the beginning of the task's spec, and is compared
there as bytes: the spec is decoded once for each function and worker, not for each task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from treadle.serialize._spec import decode_spec
from treadle.wire import Code, Message, Place, Register, Run, World
from treadle.wire._shells import DIGEST_BYTES

#: The beginning of an encoded spec: the array's header, the digest's, the digest.
HEAD_BYTES: Final = 3 + DIGEST_BYTES


class Shelf:
    """Code by its digest, the world that tasks live in, and where workers are reached."""

    def __init__(self, world: World | None = None) -> None:
        self.code: dict[bytes, Code] = {}
        self.world = world
        self._places: dict[str, Place] = {}

    def keep_code(self, code: Code) -> None:
        """Keep a function. The same digest is the same function: the first stays."""
        self.code.setdefault(code.digest, code)

    def keep_world(self, world: World) -> None:
        """The first client's surroundings are everybody's; later ones add where modules are found."""
        mine = self.world
        if mine is None:
            self.world = world
            return
        more = tuple(path for path in world.sys_path if path not in mine.sys_path)
        if more:
            self.world = replace(mine, sys_path=mine.sys_path + more)

    def keep_place(self, message: Register) -> None:
        """Remember where a worker says that it is reached."""
        self._places[message.worker] = Place(message.worker, message.host, message.addresses)

    def drop_place(self, worker: str) -> None:
        """The worker's link is lost: nobody is sent there until it is back."""
        self._places.pop(worker, None)

    def places(self, workers: Sequence[str]) -> tuple[Place, ...]:
        """Where these are; without an address who is not here."""
        found = self._places
        return tuple([found.get(worker) or Place(worker, "", ()) for worker in workers])


class Told:
    """What one worker's link has been told of the shelf."""

    __slots__ = ("heads", "world")

    def __init__(self) -> None:
        #: How the specs begin whose function it has.
        self.heads: set[bytes] = set()
        self.world: World | None = None

    def with_needed(self, messages: list[Message], shelf: Shelf) -> list[Message]:
        """These messages, and before each what the worker lacks for it."""
        heads = self.heads
        world = shelf.world
        if world is self.world:
            for message in messages:
                if type(message) is Run and message.run_spec[:HEAD_BYTES] not in heads:
                    break
            else:
                return messages
        whole: list[Message] = []
        if world is not None and world is not self.world:
            self.world = world
            whole.append(world)
        for message in messages:
            if type(message) is Run and message.run_spec[:HEAD_BYTES] not in heads:
                code = self._lacking(message.run_spec, shelf)
                if code is not None:
                    whole.append(code)
            whole.append(message)
        return whole

    def _lacking(self, spec: bytes, shelf: Shelf) -> Code | None:
        """The code that must go before this spec; None if there is none, or none is known."""
        try:
            digest = decode_spec(spec).digest
        except msgspec.DecodeError:
            return None  # the slot says what is wrong with it
        code = shelf.code.get(digest)
        head = spec[:HEAD_BYTES]
        if code is not None and head.endswith(digest):
            self.heads.add(head)
        return code
