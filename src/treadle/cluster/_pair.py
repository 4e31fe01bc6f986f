"""Links within one process: messages pass as the objects they are.

They are delivered when the current callback of the loop has ended, together, and never from within
a call: two machines in one process see each other as two processes would, without the bytes.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from treadle.cluster._link import Ear, Frames, Link, guarded, report, tell_lost, this_party
from treadle.cluster._turns import Turns, turns_of
from treadle.wire import Message, Role, decoder, encode, read_chunk
from treadle.wire._frames import HEADER

if TYPE_CHECKING:
    import asyncio


def pair(
    loop: asyncio.AbstractEventLoop, one: str, other: str, *, run: str = "", checked: bool = False
) -> tuple[Link, Link]:
    """Two ends of a link: the one that `one` holds, whose peer is `other`, and the other way round.

    Each delivers from when its `ear` is set.

    Args:
        one, other: as 'role/ID'.
        checked: encode and decode each message, as a socket would; for tests.
    """
    turns = turns_of(loop)
    held_by_one, held_by_other = (_End(turns, name, run) for name in (other, one))
    held_by_one.other, held_by_other.other = held_by_other, held_by_one
    if checked:
        held_by_one.check = _check(one, other)
        held_by_other.check = _check(other, one)
    return held_by_one, held_by_other


class _End(Link):
    """One end. `check`: what messages sent from here must pass."""

    __slots__ = ("_armed", "_chunks", "_ear", "_inbox", "_told", "_turns", "_why", "check", "other")

    def __init__(self, turns: Turns, peer: str, run: str) -> None:
        self._turns = turns
        self._ear: Ear | None = None
        #: What the other end has sent.
        self._inbox: list[Message] = []
        #: What is to be sent from here, pulled when there is time.
        self._chunks: deque[tuple[Frames, Callable[[], None]]] = deque()
        self._why: str | None = None
        #: The ear has been told of the end.
        self._told = False
        #: A delivery is on its way.
        self._armed = False
        self.check: Callable[[Sequence[Message]], list[Message]] | None = None
        self.other: _End = self
        role, _, id = peer.partition("/")
        super().__init__(peer, this_party(role, id, run), same_machine=True, pid=os.getpid())

    @property
    def ear(self) -> Ear | None:
        return self._ear

    @ear.setter
    def ear(self, ear: Ear | None) -> None:
        self._ear = ear
        if self._inbox or self._why is not None:
            self._arm()
        if self.other._chunks:
            self._turns.loop.call_soon(self.other._next_chunk)

    def send(self, messages: Sequence[Message]) -> None:
        if self._why is not None:
            return
        if self.check is not None:
            messages = self.check(messages)
        other = self.other
        other._inbox += messages
        if not other._armed:
            other._armed = True
            self._turns.deliver_later(other)

    def send_chunks(self, frames: Frames, then: Callable[[], None]) -> None:
        self._chunks.append((frames, then))
        if self._why is not None:
            self._arm()
        elif len(self._chunks) == 1:
            self._turns.loop.call_soon(self._next_chunk)

    @property
    def backlog(self) -> int:
        return 0

    @property
    def closed(self) -> bool:
        return self._why is not None

    def close(self, why: str = "") -> None:
        if self._why is not None:
            return
        self._why = why or "closed by this side"
        self._inbox.clear()
        self._arm()
        other = self.other
        if other._why is None:
            # What was sent before is still heard: the end comes with the next delivery.
            other._why = "the other side has closed the link"
            other._arm()

    def forsake(self) -> None:
        self._why = self._why or "this process was forked from the one that has the link"

    def deliver(self) -> None:
        self._armed = False
        ear = self._ear
        if ear is not None and self._inbox:
            messages, self._inbox = self._inbox, []
            try:
                ear.heard(self, messages)
            except Exception as error:  # noqa: BLE001 - an ear's fault ends its link, not the loop
                report(self._turns.loop, self, error)
                self.close(f"a fault on this side: {error!r}")
        if self._why is None:
            return
        while self._chunks:
            _, then = self._chunks.popleft()
            guarded(self._turns.loop, self, then)
        if ear is not None and not self._told:
            self._told = True
            tell_lost(self._turns.loop, self, self._why)

    # --- details -----------------------------------------------------------------------------

    def _arm(self) -> None:
        if not self._armed:
            self._armed = True
            self._turns.deliver_later(self)

    def _next_chunk(self) -> None:
        """One for each turn of the loop: a chunk may be a megabyte."""
        other = self.other
        if other._inbox:
            other.deliver()  # what was said before it
        if other._ear is None or not self._chunks:
            return
        frames, then = self._chunks[0]
        try:
            frame = next(frames, None)
            if frame is None:
                self._chunks.popleft()
                then()
            elif not other._told and self._why is None:
                payload = memoryview(b"".join(frame))[HEADER.size :]
                other._ear.chunk(other, read_chunk(payload))
        except Exception as error:  # noqa: BLE001 - as above
            report(self._turns.loop, other, error)
            self.close(f"a fault on this side: {error!r}")
        if self._chunks:
            self._turns.loop.call_soon(self._next_chunk)


def _check(sender: str, receiver: str) -> Callable[[Sequence[Message]], list[Message]]:
    read = decoder(Role(sender.partition("/")[0]), Role(receiver.partition("/")[0]))
    return lambda messages: read.decode(encode(messages))
