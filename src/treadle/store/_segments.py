"""Pieces of shared memory, and the objects that stand in them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from treadle.store._memory import PAGE_BYTES, create, page_up
from treadle.store._packing import Packing

if TYPE_CHECKING:
    import mmap

#: Memory that small objects share.
SEGMENT_BYTES: Final = 64 << 20
#: What is given back of it at a time.
RANGE_BYTES: Final = 64 << 10
#: The slot of memory that the agent itself writes.
AGENT: Final = -1


class Segment:
    """One memfd. Its `slot` alone writes to it, and only until a reader is told of it."""

    __slots__ = ("adopted", "capacity", "fd", "inode", "map", "packing", "slot", "supplied")

    def __init__(self, fd: int, capacity: int, inode: int, slot: int) -> None:
        self.fd = fd
        self.capacity = capacity
        self.inode = inode
        self.slot = slot
        #: A reader has been told of it: it is never written again.
        self.supplied = False
        #: Another process made it, and it is sealed.
        self.adopted = False
        #: Set if many objects share it.
        self.packing: Packing | None = None
        #: The agent's own map of it, once it has one.
        self.map: mmap.mmap | None = None


def new_segment(nbytes: int, slot: int, directory: str) -> Segment:
    """Fresh memory for one object."""
    capacity = page_up(nbytes)
    fd = create(capacity, directory)
    return Segment(fd, capacity, os.fstat(fd).st_ino, slot)


def new_shared_segment(slot: int, directory: str, nbytes: int = SEGMENT_BYTES) -> Segment:
    """Fresh memory for many objects. None of them stands at its very beginning."""
    segment = new_segment(nbytes, slot, directory)
    segment.packing = Packing(segment.capacity, RANGE_BYTES, PAGE_BYTES)
    return segment


class Held:
    """An object in memory."""

    __slots__ = ("allocated", "mapped", "nbytes", "offset", "segment")

    def __init__(self, segment: Segment, offset: int, nbytes: int) -> None:
        self.segment = segment
        self.offset = offset
        self.nbytes = nbytes
        #: What was asked for; an empty object, too, occupies a byte.
        self.allocated = max(nbytes, 1)
        #: A reader may look at the very bytes, for as long as it likes.
        self.mapped = False
