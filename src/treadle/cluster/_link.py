"""Links: messages to one peer, and from it.

Two rules. Who is at the other end was settled before there is a link, by its handshake, and on a
network by its certificate. And a link never blocks, never calls back from within a call, and ends
once: whatever goes wrong with it, its ear is told `lost`, and hears nothing after that.

Two processes may have several links one after the other, and for a moment two at once: what is
known of a peer is to be kept by the link itself, not by the peer's name, until `lost` has come.
"""

from __future__ import annotations

import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

from treadle._version import VERSION
from treadle.log import logger
from treadle.wire import Chunk, Message, Party, Role

if TYPE_CHECKING:
    import asyncio

_log = logger("cluster")

#: Who is turned away can be anybody, as often as he likes: our log is not his to fill.
_LOG_EVERY_S = 10.0

#: What is shared out to `send_chunks`: the head of a frame, and the bytes behind it.
Frames = Iterator[tuple[bytes, memoryview]]


class Ear(Protocol):
    """Who listens to a link. Called on the loop's thread; must be short, and may not block.

    It may also have `unsent(link, message, why)`: told of a message that cannot be sent (too large
    for a frame, or with text in it that is not Unicode). Without it the link is closed then.
    """

    def heard(self, link: Link, messages: list[Message]) -> None:
        """The messages of one frame, in order."""

    def chunk(self, link: Link, chunk: Chunk) -> None:
        """A piece of an object. Its payload is good during this call only."""

    def lost(self, link: Link, why: str) -> None:
        """The link has ended; exactly once, also after `close`. `why` is for people."""


class Link(ABC):
    """A link to a peer, to be used on its loop's thread."""

    __slots__ = ("ear", "party", "peer", "pid", "same_machine")

    def __init__(self, peer: str, party: Party, *, same_machine: bool, pid: int = 0) -> None:
        #: 'worker/ID', 'client/NAME' or 'scheduler/RUN', as proved or said in the handshake.
        self.peer = peer
        #: What the other side said of itself.
        self.party = party
        #: Its memory can be had by `/proc/PID/fd`: a Unix socket, or this very process.
        self.same_machine = same_machine
        #: The process at the other end, if it is on this machine; 0 if that is not known.
        self.pid = pid
        #: Who listens; None until somebody does.
        self.ear: Ear | None = None

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Send messages. Never blocks; what is sent within a turn of the loop leaves as one frame.

        After the link has ended this does nothing: its ear is told.
        """

    @abstractmethod
    def send_chunks(self, frames: Frames, then: Callable[[], None]) -> None:
        """Send frames of data, pulled as the other side takes them; messages go between.

        Args:
            frames: see `treadle.wire.chunks`.
            then: called once, when all have left this process, and all that was sent before
                them, or the link has ended.
        """

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Bytes that wait because the other side does not take them."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """It has ended, or is about to: nothing is sent or heard any more."""

    @abstractmethod
    def close(self, why: str = "") -> None:
        """End the link: what was sent before still leaves, if the other side takes it soon."""

    @abstractmethod
    def forsake(self) -> None:
        """In a forked child: let go of what the parent's link holds open. It is of no use here, and
        the other side is to notice when the parent ends."""

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"backlog {self.backlog}"
        return f"<{type(self).__name__} to {self.peer}, {state}>"


class Tally:
    """How often somebody was turned away. Logged, but never more than a line each ten seconds."""

    __slots__ = ("_clock", "_next", "_unsaid", "malformed_links", "strangers")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        #: Those that did not come through the handshake.
        self.strangers = 0
        #: Peers that said what they must not.
        self.malformed_links = 0
        self._clock = clock
        self._next = 0.0
        self._unsaid = 0

    def stranger(self, where: str, why: str) -> None:
        """Somebody at this address was turned away."""
        self.strangers += 1
        self._say("turned away %s: %s", where, why)

    def malformed(self, peer: str, why: str) -> None:
        """A peer was dropped for what it said."""
        self.malformed_links += 1
        self._say("dropped %s, which sent what it must not: %s", peer, why)

    def _say(self, text: str, who: str, why: str) -> None:
        now = self._clock()
        if now < self._next:
            self._unsaid += 1
            return
        more = f" (and {self._unsaid} more since the last line like this)" if self._unsaid else ""
        self._next, self._unsaid = now + _LOG_EVERY_S, 0
        _log.warning(text + more, who, why)


def report(loop: asyncio.AbstractEventLoop, link: Link, error: Exception) -> None:
    """Tell the loop's owner of a fault in an ear."""
    loop.call_exception_handler(
        {"message": f"what listens to {link!r} has raised", "exception": error}
    )


def guarded(loop: asyncio.AbstractEventLoop, link: Link, call: Callable[[], None]) -> None:
    """Call, and report what it raises: a fault of one keeps nothing from the others."""
    try:
        call()
    except Exception as error:  # noqa: BLE001 - see above
        report(loop, link, error)


def tell_lost(loop: asyncio.AbstractEventLoop, link: Link, why: str) -> None:
    """Tell the ear that its link has ended."""
    ear = link.ear
    if ear is not None:
        guarded(loop, link, lambda: ear.lost(link, why))


def this_party(role: Role | str, id: str, run: str, *, capabilities: tuple[str, ...] = ()) -> Party:
    """What this process says of itself in a handshake."""
    python = (sys.version_info.major, sys.version_info.minor)
    return Party(str(role), id, run, VERSION, python, capabilities=capabilities)


def name_of(party: Party) -> str:
    """'worker/ID', 'client/NAME' or 'scheduler/RUN'."""
    return f"{party.role}/{party.id}"
