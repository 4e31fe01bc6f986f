"""Objects of a worker's store, in a process that reads or writes them: a slot, or the user's.

What is small is copied: then it is the reader's own, and the store may give its memory back. What
is large is mapped, and stays as it is for as long as anything looks at it, whatever becomes of the
store and of the process that it is in.
"""

from __future__ import annotations

import errno
import mmap
import os
import threading
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from treadle.store import _memory
from treadle.store._memory import PACKED_BYTES, PAGE_BYTES, find, map_memory, read_into
from treadle.wire import Spot

if TYPE_CHECKING:
    from treadle.serialize import Packed

#: Most memory that stays mapped to be written again.
WRITTEN_BYTES: Final = 256 << 20
#: How many pieces of memory are remembered as written here.
_REMEMBERED: Final = 64

#: How many descriptors are kept of memory that small objects share.
_DESCRIPTORS: Final = 8

#: Which memory: process, descriptor, inode.
_Which = tuple[int, int, int]


def warm_up() -> None:
    """Load what the first map needs, for processes that are forked from this one."""
    _memory.warm_up()


class Mapper:
    """The maps of a process. Any thread may open, one may write.

    Args:
        directory: for files in place of memfds, where there are none.
    """

    def __init__(self, directory: str = "", *, written_bytes: int = WRITTEN_BYTES) -> None:
        self._directory = directory
        self._most_written = written_bytes
        #: Maps that somebody looks at.
        self._read: WeakValueDictionary[_Which, mmap.mmap] = WeakValueDictionary()
        #: Maps of memory that this process may be told to write again; least recently used first.
        self._written: dict[_Which, mmap.mmap] = {}
        #: Memory that this process has written.
        self._known: dict[_Which, None] = {}
        #: Of memory that small objects share, with the flags that it was opened with.
        self._descriptors: dict[tuple[int, int, int, int], int] = {}
        self._lock = threading.Lock()

    # --- reading -----------------------------------------------------------------------------

    def open(self, spot: Spot, *, writable: bool = False) -> memoryview:
        """The bytes at a spot. `writable`: as a copy-on-write map of the reader's own.

        A small object is copied, and may be written to in any case.

        Raises:
            OSError: it is there no longer.
        """
        if spot.nbytes <= PACKED_BYTES:
            return memoryview(self._copy(spot))
        which = (spot.pid, spot.fd, spot.inode)
        start = spot.offset % PAGE_BYTES
        whole = None if writable or spot.offset else self._mapped(which)
        if whole is None or len(whole) < spot.nbytes:
            fd, _found = find(spot, os.O_RDONLY, self._directory)
            try:
                whole = map_memory(
                    fd,
                    start + spot.nbytes,
                    offset=spot.offset - start,
                    access="private" if writable else "read",
                )
            finally:
                os.close(fd)
            if not writable and not spot.offset and spot.inode:
                self._read[which] = whole
        view = memoryview(whole)[start : start + spot.nbytes]
        return view if writable else view.toreadonly()

    def _mapped(self, which: _Which) -> mmap.mmap | None:
        found = self._read.get(which)
        if found is None:
            # It has been written here, and somebody reads it: it is not written again.
            found = self._written.pop(which, None)
            if found is not None:
                _memory.forbid_writing(found)
                self._read[which] = found
        return found

    def _copy(self, spot: Spot) -> bytearray:
        data = bytearray(spot.nbytes)
        with self._lock:
            fd = self._descriptor(spot, os.O_RDONLY)
            read_into(fd, data, spot.offset)
            # What is given back is zero at its beginning before it is anything else.
            if spot.nbytes and os.pread(fd, 1, spot.offset) == b"\0":
                raise OSError(errno.ESTALE, f"the object is there no longer: {spot}")
        return data

    def _descriptor(self, spot: Spot, flags: int) -> int:
        """A descriptor of the memory that small objects share; the last few are kept."""
        key = (spot.pid, spot.fd, spot.inode, flags)
        fd = self._descriptors.pop(key, None)
        if fd is None:
            fd, _ = find(spot, flags, self._directory)
            if len(self._descriptors) >= _DESCRIPTORS:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
        self._descriptors[key] = fd
        return fd

    # --- writing -----------------------------------------------------------------------------

    def write(self, spot: Spot, packed: Packed) -> None:
        """Write an object where room was granted for it.

        Fresh memory is written by the system, which costs half of touching it; memory that was
        written here before is mapped, and stays so for the next time.

        Raises:
            OSError: the memory is there no longer.
        """
        which = (spot.pid, spot.fd, spot.inode)
        if packed.nbytes > spot.nbytes:
            raise ValueError(f"{packed.nbytes} bytes do not go where {spot.nbytes} were granted")
        if spot.nbytes <= PACKED_BYTES:
            with self._lock:
                fd = self._descriptor(spot, os.O_RDWR)
                _memory.write_pieces(fd, packed.pieces, spot.offset)
            return
        memory = self._written.pop(which, None)
        if memory is None or len(memory) < packed.nbytes:
            fd, found = find(spot, os.O_RDWR, self._directory)
            try:
                again = which in self._known and found.st_size <= self._most_written
                if spot.offset or not again:
                    _memory.write_pieces(fd, packed.pieces, spot.offset)
                    self._remember(which)
                    return
                memory = map_memory(fd, found.st_size, access="write", populate=True)
                if hasattr(mmap, "MADV_DONTFORK"):
                    memory.madvise(mmap.MADV_DONTFORK)
            finally:
                os.close(fd)
        with memoryview(memory) as view:
            packed.write_into(view)
        self._written[which] = memory
        self._make_room()

    def trim(self) -> None:
        """Let go of maps of memory that the store has let go of. For when there is time."""
        for which in list(self._written):
            pid, fd, inode = which
            try:
                found = os.stat(_memory.path_of(pid, fd, self._directory))
                stale = found.st_ino != inode
            except OSError:
                stale = True
            if stale:
                del self._written[which]

    def close(self) -> None:
        """Let go of all maps that nobody looks at."""
        self._written.clear()
        self._known.clear()
        for fd in self._descriptors.values():
            os.close(fd)
        self._descriptors.clear()

    def _remember(self, which: _Which) -> None:
        self._known.pop(which, None)
        self._known[which] = None
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def _make_room(self) -> None:
        self.trim()
        kept = sum(map(len, self._written.values()))
        while kept > self._most_written:
            kept -= len(self._written.pop(next(iter(self._written))))


class Shared:
    """A value in memory of this process's own, for a worker on this machine to take over."""

    def __init__(self, packed: Packed, directory: str = "") -> None:
        self._directory = directory
        self._fd = _memory.create(packed.nbytes, directory)
        try:
            _memory.write_pieces(self._fd, packed.pieces, 0)
            if not directory:
                _memory.seal(self._fd)
            inode = os.fstat(self._fd).st_ino
        except BaseException:
            self.close()
            raise
        #: Where it stands, until `close`.
        self.spot = Spot(os.getpid(), self._fd, 0, packed.nbytes, inode)

    def close(self) -> None:
        """Let go of it; whoever has taken it over keeps it."""
        if self._fd >= 0:
            _memory.close(self._fd, self._directory)
            self._fd = -1
