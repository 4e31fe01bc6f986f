"""One peer's link to the scheduler: what it has been told, and what waits because it reads slowly.

A peer that does not read (stopped by Ctrl-Z, in a debugger, behind a bad network) costs the others
nothing: past `BACKLOG_BYTES` its messages wait here as objects, small ones, and leave in slices as
its socket drains. What a task printed is dropped first, and counted; who lets millions of messages
pile up is closed.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from treadle.cluster._server_shelf import Told
from treadle.cluster._task_here import OF_TASK
from treadle.wire import Chunk, Done, Message, Printed, TaskId

if TYPE_CHECKING:
    from treadle.cluster._link import Link

#: Bytes that may wait in a link before messages wait here.
BACKLOG_BYTES: Final = 16 << 20
#: Messages of a slow peer's that go at a time, and how many may wait in all.
_SLICE: Final = 2_000
MOST_HELD: Final = 2_000_000
#: Bytes of results that are held inside of messages; beyond that their reader fetches them.
_HELD_INLINE: Final = 64 << 20


class Heard(Protocol):
    """Who hears what peers say: the server."""

    def hear(self, peer: Peer, messages: list[Message]) -> None:
        """A frame has come."""

    def fail(self, peer: Peer, message: Message, why: str) -> None:
        """A message to it cannot be sent, ever."""

    def lose(self, peer: Peer, why: str) -> None:
        """A link has ended."""


class Peer:
    """A link and what the scheduler's shell knows of it. It is the link's ear."""

    __slots__ = (
        "_held",
        "_inline",
        "_server",
        "_unsaid",
        "counts",
        "current",
        "epoch",
        "goodbye",
        "is_of_task",
        "is_worker",
        "link",
        "name",
        "parent",
        "patrons",
        "session",
        "told",
    )

    def __init__(self, server: Heard, link: Link) -> None:
        self._server = server
        self.link = link
        self.name = link.peer
        self.is_worker = link.peer.startswith("worker/")
        #: It is a client that a task made.
        self.is_of_task = not self.is_worker and OF_TASK in link.peer
        #: It is somebody to be there for.
        self.counts = not self.is_worker and not self.is_of_task
        #: It is the one link of its name that the machine hears and answers.
        self.current = False
        #: Of a worker: which process of its name it is.
        self.epoch = -1
        #: Of a client: the session of its tasks; -1 before it attached.
        self.session = -1
        #: It has said that it wants nothing any longer.
        self.goodbye = False
        #: Of a task's client: the task that has submitted last, and whose that was.
        self.parent: TaskId | None = None
        self.patrons: list[Peer] = []
        self.told = Told()
        #: What waits because the link is full; None while it is not.
        self._held: deque[Message] | None = None
        self._inline = 0
        #: Bytes of output that were not passed on.
        self._unsaid = 0

    # --- the link's ear ----------------------------------------------------------------------

    def heard(self, link: Link, messages: list[Message]) -> None:
        """A frame has come."""
        self._server.hear(self, messages)

    def chunk(self, link: Link, chunk: Chunk) -> None:
        """Data has come, which nobody may send to a scheduler."""
        self.link.close("a scheduler takes no data")

    def unsent(self, link: Link, message: Message, why: str) -> None:
        """A message is such that no link can carry it."""
        self._server.fail(self, message, why)

    def lost(self, link: Link, why: str) -> None:
        """The link has ended."""
        self._held = None
        self._server.lose(self, why)

    # --- what is sent ------------------------------------------------------------------------

    def tell(self, messages: list[Message]) -> None:
        """Send these after all that was sent before; hold them while the link is full."""
        if self._held is not None:
            self._hold(messages)
            return
        self.link.send(messages)
        if self.link.backlog > BACKLOG_BYTES:
            self._held = deque()
            self.link.send_chunks(iter(()), self._drained)

    def print(self, message: Printed) -> None:
        """Pass on what a task printed, unless the peer does not read."""
        if self._held is not None:
            self._unsaid += len(message.text) + message.dropped
            return
        if self._unsaid:
            message = replace(message, dropped=message.dropped + self._unsaid)
            self._unsaid = 0
        self.tell([message])

    def _hold(self, messages: list[Message]) -> None:
        held = self._held
        assert held is not None
        if len(held) + len(messages) > MOST_HELD:
            self.link.close(f"it has not read {len(held):,} messages that wait for it")
            return
        held.extend([self._lighter(m) if type(m) is Done and m.inline else m for m in messages])

    def _lighter(self, message: Done) -> Done:
        """The message, without its result if too many are held already: its reader fetches it."""
        self._inline += len(message.inline or b"")
        return message if self._inline <= _HELD_INLINE else replace(message, inline=None)

    def _drained(self) -> None:
        """The link is empty: some of what waits may go."""
        held = self._held
        if held:
            self.link.send([held.popleft() for _ in range(min(_SLICE, len(held)))])
            self.link.send_chunks(iter(()), self._drained)
        else:
            self._held = None
            self._inline = 0
