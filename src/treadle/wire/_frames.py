"""Frames: how bytes on a link are cut into payloads. No input or output.

A frame is a header of five bytes, then the payload:

    size of the payload     4 bytes, unsigned, big-endian
    kind                    1 byte: 1 handshake, 2 messages, 3 data
    payload                 as many bytes as `size` says

A size over the limit and a kind that is not known are refused when the header is there, before
anything is kept for the payload. Until the handshake has ended, the limit is `HANDSHAKE_BYTES`
and a reader cuts off one frame alone; what stands behind it waits until it is known whether, and
under which limit, it may be read.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import Final, NamedTuple, NoReturn

from treadle.errors import WireError

#: Most that a peer may send before its handshake has ended.
HANDSHAKE_BYTES = 16 * 1024
#: Largest payload of any frame.
MAX_FRAME = 64 * 1024 * 1024

HEADER: Final = Struct(">IB")


class Kind(IntEnum):
    """What a payload is."""

    #: One message of the handshake.
    handshake = 1
    #: A list of messages.
    messages = 2
    #: Bytes of objects, as announced by the message before; not ours to look into.
    data = 3


_KINDS: dict[int, Kind] = {int(kind): kind for kind in Kind}
_HEADER_SIZE: Final = HEADER.size
_head_of: Final = HEADER.unpack_from


class Frame(NamedTuple):
    """A payload and what it is."""

    kind: Kind
    #: Read-only, and good for as long as it is held.
    payload: memoryview


#: Without the Python function that a named tuple's class calls.
_new: Final = tuple.__new__


def frame(payload: bytes | bytearray | memoryview, kind: Kind = Kind.messages) -> bytes:
    """The bytes that carry this payload.

    Raises:
        WireError: it is over `MAX_FRAME`.
    """
    return header(len(payload), kind) + payload


def header(size: int, kind: Kind) -> bytes:
    """The bytes that go before a payload of `size` bytes, for who sends both without joining them.

    Raises:
        WireError: it is over `MAX_FRAME`.
    """
    if size > MAX_FRAME:
        raise WireError(f"a frame of {size:,} bytes is over the limit of {MAX_FRAME:,}")
    return HEADER.pack(size, kind)


class FrameReader:
    """Cuts what arrives into frames, however it was chopped on its way.

    Each byte is copied once at most, but for frames of many pieces, whose buffer grows by a factor.

    Args:
        limit: largest payload; None for a link whose handshake has not ended, see `raise_limit`.
    """

    __slots__ = ("_fault", "_greeting", "_limit", "_partial", "_waiting")

    def __init__(self, limit: int | None = None) -> None:
        self._limit = HANDSHAKE_BYTES if limit is None else limit
        #: The handshake has not ended: one frame is cut off, the rest waits.
        self._greeting = limit is None
        #: Header and payload, as far as they are here, of a frame that is not complete.
        self._partial = bytearray()
        #: What stands behind the first frame of a handshake; None until it was cut off.
        self._waiting: bytes | None = None
        #: Why nothing more is read from this link.
        self._fault: str | None = None

    @property
    def within_a_frame(self) -> bool:
        """The link must not end here: part of a frame has arrived."""
        return bool(self._partial)

    def feed(self, data: bytes | bytearray | memoryview) -> list[Frame]:
        """Take what has arrived; return the frames that are complete, in order.

        Frames out of `bytes` are views of it; other buffers may be used again after the call.

        Raises:
            WireError: a frame is over the limit or of no kind. The frames before it in the same
                call are lost with the link, and every later call says the same.
        """
        if self._fault is not None:
            raise WireError(self._fault)
        whole = data if type(data) is bytes else bytes(data)
        if self._waiting is None:
            return self._cut(whole)
        if len(self._waiting) + len(whole) > self._limit:
            self._fail("the peer goes on before the handshake has ended")
        self._waiting += whole
        return []

    def raise_limit(self, limit: int = MAX_FRAME) -> list[Frame]:
        """The handshake has ended: from now on frames may be this large.

        Returns the frames that had arrived behind it.

        Raises:
            WireError: as `feed` does.
        """
        self._limit = limit
        self._greeting = False
        waiting, self._waiting = self._waiting, None
        return self.feed(waiting or b"")

    # --- details -----------------------------------------------------------------------------

    def _cut(self, data: bytes) -> list[Frame]:
        frames: list[Frame] = []
        view = memoryview(data)
        at, end = 0, len(data)
        if self._partial:
            at = self._complete(view, frames)
        while at < end and not (frames and self._greeting):
            begin = at + _HEADER_SIZE
            if begin > end:
                self._partial += view[at:]
                return frames
            size, number = _head_of(data, at)
            kind = _KINDS.get(number)
            if kind is None or size > self._limit:
                self._refuse(size, number)
            stop = begin + size
            if stop > end:
                self._partial += view[at:]
                return frames
            frames.append(_new(Frame, (kind, view[begin:stop])))
            at = stop
        if frames and self._greeting:
            self._waiting = data[at:]
        return frames

    def _complete(self, view: memoryview, frames: list[Frame]) -> int:
        """Give the partial frame what it lacks; return how much of `view` that was."""
        partial = self._partial
        at = max(0, HEADER.size - len(partial))
        partial += view[:at]
        if len(partial) < HEADER.size:
            return len(view)
        size, number = _head_of(partial)
        size = int(size)
        kind = _KINDS.get(number)
        if kind is None or size > self._limit:
            self._refuse(size, number)
        lacking = HEADER.size + size - len(partial)
        stop = at + lacking
        partial += view[at:stop]
        if stop > len(view):
            return len(view)
        frames.append(Frame(kind, memoryview(partial).toreadonly()[HEADER.size :]))
        self._partial = bytearray()
        return stop

    def _refuse(self, size: int, number: int) -> NoReturn:
        if number not in _KINDS:
            self._fail(f"a frame of the unknown kind {number}: this is no peer of ours")
        self._fail(f"a frame of {size:,} bytes is over the limit of {self._limit:,}")

    def _fail(self, fault: str) -> NoReturn:
        self._fault = fault
        self._partial = bytearray()
        self._waiting = None
        raise WireError(fault)
