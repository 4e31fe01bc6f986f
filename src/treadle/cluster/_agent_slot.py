"""The agent's end of one slot: two sockets, a page of shared memory, and what the slot was fed.

The agent holds the reading end of *feed* too: whoever reads a packet owns it. And it never holds
the slot's end of *talk*: when all who have that are gone, it ends.
"""

from __future__ import annotations

import os
import signal
import socket
from collections import deque
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

import msgspec

from treadle.cluster._packets import (
    PACKET_BYTES,
    Big,
    FromSlot,
    Packet,
    encode,
)
from treadle.cluster._slot_channel import memory_of
from treadle.cluster._slot_page import Listener, make_page

if TYPE_CHECKING:
    import asyncio

    from treadle.wire import Run, Spot, TaskId

#: A packet, and the descriptor of the memory that holds it if it is a long one.
Parcel = tuple[bytes, int]
#: Longest packet that a socket takes.
MOST_PACKET: Final = 2 * PACKET_BYTES
_ANCILLARY: Final = socket.CMSG_SPACE(8 * 4)
_NOTHING: Final[list[FromSlot]] = []


class Inherited:
    """What a slot process starts with, of these sockets: to be closed here when it has it."""

    __slots__ = ("blame", "feed", "talk")

    def __init__(self, feed: int, talk: int, blame: int) -> None:
        self.feed = feed
        self.talk = talk
        self.blame = blame

    def close(self) -> None:
        """Close what the agent does not keep. The reading end of *feed* it keeps."""
        os.close(self.talk)
        os.close(self.blame)


class SlotEnd:
    """One slot process, from the order to start it until its end has been told."""

    __slots__ = (
        "_page",
        "_unsent",
        "codes",
        "doomed",
        "fed",
        "feed",
        "feed_out",
        "in_hand",
        "number",
        "ours",
        "pid",
        "ready",
        "spot",
        "talk",
        "told",
        "world",
    )

    def __init__(self, number: int) -> None:
        self.number = number
        #: 0 until it has been started.
        self.pid = 0
        #: It has said that it waits for work.
        self.ready = False
        #: It is being ended, and whether by our hand.
        self.doomed = False
        self.ours = False
        #: What it was fed and has not ended, by attempt, oldest first.
        self.fed: dict[int, Run] = {}
        #: The last attempt of it that was told as begun.
        self.told = 0
        #: Was granted, for the result that it writes.
        self.spot: Spot | None = None
        #: It was asked for an attempt back that it has read already: who looks finds it running.
        self.in_hand = False
        #: Code that it has, by digest, and the surroundings it was given.
        self.codes: set[bytes] = set()
        self.world: bytes | None = None
        #: Packets that its socket has no room for.
        self._unsent: deque[Parcel] = deque()

    def open(self) -> Inherited:
        """Make the sockets and the page.

        Raises:
            OSError: there are no descriptors left; nothing is left open.
        """
        with ExitStack() as undo:
            pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(_close_both, pair)
            talk, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            undo.callback(_close_both, (talk, theirs))
            page = make_page()
            undo.callback(os.close, page)
            self._page = Listener(page)
            undo.pop_all()
        self.feed, self.feed_out = pair
        self.talk = talk
        # Not the reading end: the slot's own is the same to the system, and it waits.
        self.feed.setblocking(False)
        self.talk.setblocking(False)
        return Inherited(self.feed_out.fileno(), theirs.detach(), page)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Forget the slot; what it was fed and has not read is gone."""
        loop.remove_reader(self.talk.fileno())
        loop.remove_writer(self.feed.fileno())
        self.feed.close()
        self.feed_out.close()
        self.talk.close()
        self._page.close()
        for _, fd in self._unsent:
            if fd >= 0:
                os.close(fd)
        self._unsent.clear()

    def kill(self, *, ours: bool) -> None:
        """End its process, and all of its session that has not left its group."""
        self.doomed = True
        self.ours = self.ours or ours
        if self.pid:
            for kill in (os.killpg, os.kill):  # it may not lead a group yet
                try:
                    kill(self.pid, signal.SIGKILL)
                except OSError:  # it has ended
                    pass

    # --- the page ------------------------------------------------------------------------------

    def runs(self) -> tuple[Run | None, TaskId, int]:
        """What it runs now, of that the row, and since when (monotonic, ns); None: nothing that it
        was fed."""
        attempt, row, since_ns = self._page.running
        run = self.fed.get(attempt)
        if run is None:
            return None, 0, since_ns
        if row and row < len(run.rows) and isinstance(run.id, int):
            return run, run.id + row, since_ns
        return run, run.id, since_ns

    def unsaid(self) -> list[FromSlot]:
        """What it has to say and holds back for a moment. All that it has said must be heard."""
        run = self.runs()[0]
        return self._page.look(run.id if run is not None and run.rows else None)

    @property
    def has_more(self) -> bool:
        """Whether it is worth the while to listen once more before waiting."""
        return self._page.has_more

    # --- feed ----------------------------------------------------------------------------------

    def put(self, packet: bytes, loop: asyncio.AbstractEventLoop) -> None:
        """Put a task into its socket, or behind those that wait to be put there."""
        if len(packet) <= PACKET_BYTES:
            parcel = (packet, -1)
            if not self._unsent:
                try:
                    self.feed.send(packet)
                    return
                except BlockingIOError:
                    pass
                except OSError:  # nobody will read it: the slot's end is on its way
                    return
        else:
            parcel = _boxed(packet)
            if not self._unsent and self._send(parcel):
                return
        if not self._unsent:
            loop.add_writer(self.feed.fileno(), self._go_on, loop)
        self._unsent.append(parcel)

    def take_all(self) -> list[Parcel]:
        """Take out all that it has not read, in order."""
        parcels = []
        while (parcel := _receive(self.feed_out)) is not None:
            parcels.append(parcel)
        parcels += self._unsent
        self._unsent.clear()
        return parcels

    def put_again(self, parcels: list[Parcel], loop: asyncio.AbstractEventLoop) -> None:
        """Put back what was taken out and was not wanted; oldest first."""
        for parcel in parcels:
            if self._unsent or not self._send(parcel):
                if not self._unsent:
                    loop.add_writer(self.feed.fileno(), self._go_on, loop)
                self._unsent.append(parcel)

    def _send(self, parcel: Parcel) -> bool:
        packet, fd = parcel
        try:
            if fd < 0:
                self.feed.send(packet)
            else:
                socket.send_fds(self.feed, [packet], [fd])
        except BlockingIOError:
            return False
        except OSError:  # nobody will read it: the slot's end is on its way
            pass
        if fd >= 0:
            os.close(fd)
        return True

    def _go_on(self, loop: asyncio.AbstractEventLoop) -> None:
        unsent = self._unsent
        while unsent and self._send(unsent[0]):
            unsent.popleft()
        if not unsent:
            loop.remove_writer(self.feed.fileno())

    # --- talk ----------------------------------------------------------------------------------

    def answer(self, packet: Packet) -> None:
        """Answer what the slot waits for."""
        try:
            self.talk.send(encode(packet))
        except OSError:  # it is dead: its end is on its way
            pass

    def hear(self, buffer: memoryview) -> list[FromSlot] | None:
        """What it has said, in one packet; empty if nothing now, None if it will say nothing more.

        Raises:
            ValueError: it says what cannot be read.
        """
        try:
            nbytes, ancillary, _, _ = self.talk.recvmsg_into((buffer,), _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return _NOTHING
        except OSError:
            return None
        if not nbytes:
            return None
        packet = _unboxed(ancillary) if ancillary else buffer[:nbytes]
        try:
            return self._page.hear(packet)
        except (msgspec.MsgspecError, RecursionError, AssertionError) as error:
            raise ValueError(str(error)) from None


def _close_both(pair: tuple[socket.socket, socket.socket]) -> None:
    for end in pair:
        end.close()


# --- long packets --------------------------------------------------------------------------------


def _boxed(packet: bytes) -> Parcel:
    """A long packet in memory of its own."""
    return encode(Big(len(packet))), memory_of(packet)


def content(parcel: Parcel) -> bytes:
    """The packet that a parcel holds; the parcel stays as it is."""
    packet, fd = parcel
    return packet if fd < 0 else _read(fd)


def drop(parcel: Parcel) -> None:
    """Forget a parcel that was taken out."""
    if parcel[1] >= 0:
        os.close(parcel[1])


def _read(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    pieces = []
    position = 0
    while position < size and (piece := os.pread(fd, size - position, position)):
        pieces.append(piece)
        position += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _fds_of(ancillary: list[tuple[int, int, bytes]]) -> list[int]:
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            whole = len(data) - len(data) % 4
            fds += memoryview(data[:whole]).cast("i").tolist()
    return fds


def _unboxed(ancillary: list[tuple[int, int, bytes]]) -> bytes:
    """What stands in the memory whose descriptor came along."""
    fds = _fds_of(ancillary)
    try:
        return _read(fds[0]) if fds else b""
    except OSError:
        return b""
    finally:
        for fd in fds:
            os.close(fd)


def _receive(feed_out: socket.socket) -> Parcel | None:
    """A packet out of the slot's socket; None if there is none."""
    try:
        packet, ancillary, _, _ = feed_out.recvmsg(MOST_PACKET, _ANCILLARY, socket.MSG_DONTWAIT)
    except OSError:  # empty
        return None
    fds = _fds_of(ancillary)
    for extra in fds[1:]:
        os.close(extra)
    return packet, fds[0] if fds else -1
