"""Where the bytes of a parcel are kept, and whether others are the same.

What is large stands in memory that a worker on this machine maps. That takes a descriptor, of which
a program has few: what is small, and what comes when many are taken, is kept as plain bytes and
sent.
"""

from __future__ import annotations

import os
import resource
import threading
from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from treadle.store.mapping import Shared

if TYPE_CHECKING:
    from treadle.serialize import Packed

#: Up to so many bytes are sent rather than mapped.
PLAIN_BYTES: Final = 64 << 10
#: The share of a program's descriptors that may be taken.
_SHARE: Final = 4
_LEAST: Final = 16
#: How data is looked at to find what it may be equal to: so many pieces of so many bytes.
_SAMPLES: Final = 16
_SAMPLE_BYTES: Final = 256
#: Data is compared in blocks of this size.
_BLOCK: Final = 1 << 20


class Plain:
    """Bytes in memory of this process alone."""

    __slots__ = ("data",)
    #: There is no place where another process would find them.
    spot = None

    def __init__(self, packed: Packed) -> None:
        self.data = packed.to_bytes()

    def close(self) -> None:
        """Let go of it."""
        self.data = b""


class Keeper:
    """Keeps bytes, within the number of descriptors that may be taken."""

    def __init__(self) -> None:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        few = soft // _SHARE if soft != resource.RLIM_INFINITY else 1 << 16
        self._free = max(_LEAST, few)
        self._lock = threading.Lock()

    def __call__(self, packed: Packed) -> Shared | Plain:
        """Keep this.

        Raises:
            OSError: there is no memory for it.
        """
        if packed.nbytes <= PLAIN_BYTES or not self._take():
            return Plain(packed)
        try:
            return _Counted(packed, self)
        except BaseException:
            self.give_back()
            raise

    def _take(self) -> bool:
        with self._lock:
            if not self._free:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """A descriptor is free again."""
        with self._lock:
            self._free += 1


class _Counted(Shared):
    """Memory whose descriptor is one of a keeper's."""

    def __init__(self, packed: Packed, keeper: Keeper) -> None:
        self._keeper: Keeper | None = None
        super().__init__(packed)
        self._keeper = keeper

    def close(self) -> None:
        """Let go of it; whoever has taken it over keeps it."""
        super().close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            keeper.give_back()


def mark_of(packed: Packed, type: str) -> bytes:
    """What is the same of equal data, and seldom of other data; made of samples."""
    digest = blake2b(f"{type} {packed.nbytes}".encode(), digest_size=16)
    pieces = packed.pieces
    for piece in pieces[: _SAMPLES // 2]:
        view = memoryview(piece)
        step = max(_SAMPLE_BYTES, len(view) // _SAMPLES)
        for start in range(0, len(view), step):
            digest.update(view[start : start + _SAMPLE_BYTES])
        digest.update(view[-_SAMPLE_BYTES:])
    return digest.digest()


def is_equal(kept: Shared | Plain, packed: Packed) -> bool:
    """Whether these are the very bytes that are kept.

    Raises:
        OSError: they are kept no longer.
    """
    if isinstance(kept, Plain):
        return len(kept.data) == packed.nbytes and kept.data == packed.to_bytes()
    spot = kept.spot
    if spot.nbytes != packed.nbytes:
        return False
    # Nobody may close it, and its number become another's, in the middle.
    fd = os.dup(spot.fd)
    try:
        if os.fstat(fd).st_ino != spot.inode:
            return False
        return all(_same(fd, offset, memoryview(piece)) for offset, piece in _placed(packed))
    finally:
        os.close(fd)


def _placed(packed: Packed) -> list[tuple[int, bytes | bytearray | memoryview]]:
    """Each piece, and where it begins."""
    placed = []
    offset = 0
    for piece in packed.pieces:
        placed.append((offset, piece))
        offset += len(piece)
    return placed


def _same(fd: int, offset: int, piece: memoryview) -> bool:
    # Of all that can be compared with a view, a bytearray alone does not look at each byte.
    block = bytearray(min(_BLOCK, len(piece)))
    for start in range(0, len(piece), _BLOCK):
        part = piece[start : start + _BLOCK]
        if len(part) < len(block):
            block = bytearray(len(part))
        if os.preadv(fd, [block], offset + start) != len(part) or block != part:
            return False
    return True
