"""The two sockets between a slot and its agent, and the page they share, on the slot's side.

Outcomes leave at once, unless the next task is there already: then they wait for it, a millisecond
at most, and leave together. What waits stands in the page, where the agent sees it.
"""

from __future__ import annotations

import array
import fcntl
import mmap
import os
import select
import socket
import time
from collections.abc import Callable
from typing import Final, NoReturn

from treadle.cluster._packets import (
    PACKET_BYTES,
    Big,
    Bye,
    Denied,
    FromSlot,
    Granted,
    Task,
    ToSlot,
    decode_for_slot,
    encode,
)
from treadle.cluster._slot_mail import Letter, Mail
from treadle.cluster._slot_page import HELD, Page

#: Room for one descriptor.
_ANCILLARY: Final = socket.CMSG_SPACE(4)
_CLOEXEC: Final = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
_EAGER: Final = _CLOEXEC | socket.MSG_DONTWAIT
#: Most time that an outcome is held back.
HOLD_NS: Final = 1_000_000
#: A packet that came within this time stood there before it was asked for.
_AT_ONCE_NS: Final = 6_000
#: Our descriptors are above those that a careless program closes.
_FIRST_FD: Final = 700

#: Exit codes: the agent has gone; a task has closed our sockets.
EX_ORPHANED: Final = 0
EX_CUT_OFF: Final = 76


class Channel:
    """What a slot hears and says."""

    def __init__(self, feed: int, talk: int, page: Page) -> None:
        self.page = page
        self._feed = socket.socket(fileno=out_of_reach(feed))
        self._talk = socket.socket(fileno=out_of_reach(talk))
        self._words = page.words
        #: What comes on *talk*.
        self.mail = Mail(self._read_letter)
        self._eager = False
        self._held_since = 0

    # --- packets that come ---------------------------------------------------------------------

    def next(self, rest: Callable[[], None]) -> Task | None:
        """Wait for the next task. None: there will be no more.

        Before it waits, what is held back leaves, and `rest` is called.
        """
        try:
            if self._eager:
                try:
                    data, fds, _, _ = self._feed.recvmsg(PACKET_BYTES, _ANCILLARY, _EAGER)
                except BlockingIOError:
                    self._eager = False
                    self.flush()
                    rest()
                    data, fds, _, _ = self._feed.recvmsg(PACKET_BYTES, _ANCILLARY, _CLOEXEC)
            else:
                rest()
                asked = time.monotonic_ns()
                data, fds, _, _ = self._feed.recvmsg(PACKET_BYTES, _ANCILLARY, _CLOEXEC)
                self._eager = time.monotonic_ns() - asked < _AT_ONCE_NS
        except OSError:
            self.die()
        if not data:
            os._exit(EX_ORPHANED)
        packet = decode_for_slot(data)
        if type(packet) is Task:
            return packet
        if isinstance(packet, Big):
            packet = _read_big(packet, fds)
        if isinstance(packet, Task):
            return packet
        self.flush()
        assert isinstance(packet, Bye), packet
        return None

    def wait_grant(self, attempt: int) -> Granted | Denied:
        """The agent's answer to `Asked`."""
        self.mail.turn_to(attempt)
        answer = self.mail.wait(attempt, Granted, Denied)
        assert isinstance(answer, (Granted, Denied)), answer
        return answer

    def _read_letter(self) -> Letter:
        try:
            data = self._talk.recv(PACKET_BYTES)
        except OSError:
            self.die()
        if not data:
            os._exit(EX_ORPHANED)
        packet = decode_for_slot(data)
        assert isinstance(packet, Letter), packet
        return packet

    def wait_end(self) -> NoReturn:
        """Read nothing more: what stands in *feed* is another slot's."""
        try:
            while self._talk.recv(PACKET_BYTES):
                pass
        except OSError:
            pass
        os._exit(EX_ORPHANED)

    def is_idle_for(self, seconds: float) -> bool:
        """Wait until something comes, or so long; whether nothing has come."""
        poll = select.poll()
        poll.register(self._feed, select.POLLIN)
        return not poll.poll(seconds * 1000)

    # --- packets that go -----------------------------------------------------------------------

    def report(self, report: FromSlot, now_ns: int) -> None:
        """Tell of an outcome: at once if there is nothing more to do, else soon."""
        if self._eager:
            encoded = encode(report)
            page = self.page
            if not self._words[HELD]:
                self._held_since = now_ns
            elif now_ns - self._held_since > HOLD_NS:
                self.flush()
                self._held_since = now_ns
            if page.hold(encoded):
                return
            self.flush()
        self.say(report)

    def say(self, *reports: FromSlot) -> None:
        """Tell these at once, and before them what is held back."""
        if self._words[HELD]:
            self.flush()
        self._send(encode(reports))
        self.page.let_go(len(reports))

    def flush(self) -> None:
        """Tell what is held back."""
        if self._words[HELD]:
            self._send(self.page.held())
            self.page.let_go(self.page.held_count())

    def _send(self, packet: bytes) -> None:
        try:
            if len(packet) <= PACKET_BYTES:
                self._talk.send(packet)
            else:
                self._send_big(packet)
        except OSError:
            self.die()

    def _send_big(self, packet: bytes) -> None:
        fd = memory_of(packet)
        try:
            socket.send_fds(self._talk, [encode([Big(len(packet))])], [fd])
        finally:
            os.close(fd)

    def die(self) -> NoReturn:
        """The sockets are gone: the agent has ended, or a task has closed them.

        The blame word still names the task that is to blame, if there is one.
        """
        os._exit(EX_CUT_OFF)

    def close(self) -> None:
        """In a forked child: it shall never speak as this slot."""
        for sock in (self._feed, self._talk):
            try:
                sock.close()
            except OSError:  # a task has closed it before
                pass


def out_of_reach(fd: int) -> int:
    """The same, with a number that careless programs do not meet; closed on exec."""
    for number in (_FIRST_FD, 64):
        try:
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, number)
        except OSError:  # above the limit
            continue
        os.close(fd)
        return high
    os.set_inheritable(fd, False)
    return fd


def memory_of(packet: bytes) -> int:
    """The descriptor of memory that holds a packet."""
    fd = os.memfd_create("treadle-packet", os.MFD_CLOEXEC)
    with open(fd, "wb", buffering=0, closefd=False) as file:
        file.write(packet)
    return fd


def read_memory(fd: int, nbytes: int) -> bytes:
    """The packet that `memory_of` put there."""
    with mmap.mmap(fd, nbytes, mmap.MAP_SHARED, mmap.PROT_READ) as memory:
        return memory[:nbytes]


def _read_big(big: Big, ancillary: list[tuple[int, int, bytes]]) -> ToSlot:
    fds = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
    try:
        packet: ToSlot = decode_for_slot(read_memory(fds[0], big.nbytes))
        return packet
    finally:
        for fd in fds:
            os.close(fd)
