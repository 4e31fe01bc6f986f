"""The objects of a worker: in memory that its slots and clients share, and on disk.

The agent's machine decides what is where; this does it. Objects up to 1 MiB share segments,
larger ones have one each, and a few bytes are kept as they are. Two rules. What a reader was told
of is never written again. Memory that none was told of goes back to the slot that wrote it.

All methods are short and may be called on a loop, but `spill` and `restore`, which are for other
threads. One lock guards the books; it is not held while large objects are moved.

The first byte of an object is not zero; it is not in what `pack` makes. A zero tells a reader that
came too late.
"""

from __future__ import annotations

import os
import sys
import threading
from functools import partial
from typing import Final, Literal

from treadle.store import _memory
from treadle.store._closer import Closer, unmap
from treadle.store._memory import PACKED_BYTES, map_memory, raise_descriptor_limit, read_into
from treadle.store._moving import Moving
from treadle.store._recycle import Recycled
from treadle.store._segments import (
    AGENT,
    SEGMENT_BYTES,
    Held,
    Segment,
    new_segment,
    new_shared_segment,
)
from treadle.store._spill import OnDisk, SpillFiles
from treadle.wire import Spot, TaskId

__all__ = ["INLINE_BYTES", "ObjectStore", "raise_descriptor_limit"]

#: An object, by the task and the attempt that made it.
Key = tuple[TaskId, int]

#: Objects up to this size are kept as bytes.
INLINE_BYTES: Final = 4096
#: Objects up to this size share segments when there are many segments already.
_CROWDED_BYTES: Final = 32 << 20
#: Of shared segments, so much is let go of on the spot; more of it by the closer.
_QUICK_BYTES: Final = 128 << 10


class ObjectStore:
    """See the module.

    Args:
        spill_dir: where objects go that have to leave memory; empty: nowhere.
        recycle_bytes: most memory that waits to be written again.
        directory: for files in place of memfds, where there are none.
    """

    def __init__(
        self, spill_dir: str = "", *, recycle_bytes: int = 1 << 30, directory: str = ""
    ) -> None:
        self._pid = os.getpid()
        self._directory = directory
        self._lock = threading.Lock()
        self._objects: dict[Key, bytes | Held | OnDisk] = {}
        #: What slots write just now, by descriptor and offset.
        self._granted: dict[tuple[int, int], Held] = {}
        #: What comes in from elsewhere.
        self._incoming: dict[Key, bytearray | Held] = {}
        #: By slot: the segment that its small objects are put into.
        self._open: dict[int, Segment] = {}
        self._segments: set[Segment] = set()
        self._recycled = Recycled(recycle_bytes)
        self._files = SpillFiles(spill_dir)
        self._closer = Closer()
        self._closed = False
        #: Of objects in memory, and on disk.
        self.nbytes = 0
        self.spilled_bytes = 0
        self._roomy = os.sysconf("SC_OPEN_MAX") // 2

    def __contains__(self, key: Key) -> bool:
        """Whether the object is here, in memory or on disk; what still comes in is not."""
        return key in self._objects

    @property
    def segments(self) -> int:
        """Pieces of memory, each with a descriptor."""
        return len(self._segments)

    @property
    def recycled_bytes(self) -> int:
        """Memory that holds no object, and waits to be written again."""
        return self._recycled.nbytes

    # --- what a slot writes ------------------------------------------------------------------

    def allocate(self, nbytes: int, slot: int) -> Spot:
        """Room for an object that a slot is going to write: `commit` or `abandon` follows.

        Raises:
            OSError: the system has no memory, or no descriptor, left.
        """
        with self._lock:
            held = self._room(nbytes, slot)
            self._granted[held.segment.fd, held.offset] = held
            return self._spot(held)

    def commit(self, key: Key, spot: Spot, nbytes: int) -> None:
        """The slot has written the object, so many bytes of it. Of an object that is here already
        the old one stays."""
        with self._lock:
            held = self._granted.pop((spot.fd, spot.offset), None)
            if held is None:
                raise ValueError(f"nothing was allocated at {spot}; its slot may have ended")
            if nbytes > held.nbytes or key in self._objects:
                self._release(held)
                if nbytes <= held.nbytes:
                    return
                raise ValueError(f"{nbytes} bytes were written where {held.nbytes} were allocated")
            held.nbytes = nbytes
            self._put(key, held)

    def abandon(self, spot: Spot) -> None:
        """The slot will not write the object after all."""
        with self._lock:
            held = self._granted.pop((spot.fd, spot.offset), None)
            if held is not None:
                self._release(held)

    def slot_gone(self, slot: int) -> None:
        """The slot's process has ended: it writes nothing any more."""
        with self._lock:
            for at, held in list(self._granted.items()):
                if held.segment.slot == slot:
                    del self._granted[at]
                    self._release(held)
            for segment in self._recycled.take_all(slot):
                self._drop(segment)
            self._retire(slot)

    # --- what comes from elsewhere -----------------------------------------------------------

    def keep(self, key: Key, data: bytes) -> None:
        """An object of a few bytes."""
        with self._lock:
            if key not in self._objects:
                self._objects[key] = data
                self.nbytes += len(data)

    def receive(self, key: Key, nbytes: int) -> memoryview:
        """Where an object is to be written that comes in; `commit_received` or `discard` follows.

        Raises:
            OSError: the system has no memory, or no descriptor, left.
        """
        with self._lock:
            self._forget_incoming(key)
            if nbytes <= PACKED_BYTES:
                data = self._incoming[key] = bytearray(nbytes)
                return memoryview(data)
            held = self._room(nbytes, AGENT)
            self._incoming[key] = held
            return self._map(held)

    def commit_received(self, key: Key) -> None:
        """All of the object is there. Of an object that is here already the old one stays."""
        with self._lock:
            held = self._incoming.pop(key)
            if isinstance(held, bytearray):
                if key not in self._objects:
                    self._put(key, self._stored(held))
                return
            if key in self._objects:
                self._release(held)
            else:
                self._put(key, held)

    def adopt(self, key: Key, spot: Spot) -> None:
        """Take over memory that another process of this user made; it must not change any more.

        Raises:
            OSError: it is not there, is smaller than it should be, or cannot be sealed.
        """
        fd, found = _memory.take_over(spot, self._directory)
        try:
            if spot.nbytes <= PACKED_BYTES:
                data = bytearray(spot.nbytes)
                read_into(fd, data, spot.offset)
                with self._lock:
                    if key not in self._objects:
                        self._put(key, self._stored(data))
                return
            segment = Segment(fd, found.st_size, found.st_ino, AGENT)
            segment.supplied = segment.adopted = True
            with self._lock:
                if key not in self._objects:
                    self._segments.add(segment)
                    self._put(key, Held(segment, spot.offset, spot.nbytes))
                    fd = -1
        finally:
            if fd >= 0:
                _memory.close(fd, self._directory)

    # --- who reads ---------------------------------------------------------------------------

    def supply(self, key: Key) -> bytes | Spot:
        """The object for a reader on this machine: its bytes, or where they stand.

        Raises:
            KeyError: it is not in memory.
        """
        with self._lock:
            found = self._objects[key]
            if isinstance(found, bytes):
                return found
            if isinstance(found, OnDisk):
                raise KeyError(key)
            found.segment.supplied = found.mapped = True
            return self._spot(found)

    def view(self, key: Key) -> memoryview:
        """The bytes of the object, to be sent. They stay as long as somebody looks at them.

        Raises:
            KeyError: it is not in memory.
        """
        with self._lock:
            found = self._objects[key]
            if isinstance(found, bytes):
                return memoryview(found)
            if isinstance(found, OnDisk):
                raise KeyError(key)
            if found.nbytes <= PACKED_BYTES:
                data = bytearray(found.nbytes)
                read_into(found.segment.fd, data, found.offset)
                return memoryview(data).toreadonly()
            found.mapped = True
            return self._map(found).toreadonly()

    # --- disk: on other threads --------------------------------------------------------------

    def spill(self, key: Key) -> None:
        """Move an object to disk.

        Raises:
            OSError: the disk is full, or gone; the object is in memory still.
        """
        with self._lock:
            found = self._objects.get(key)
            if found is None or isinstance(found, OnDisk):
                return
            source = Moving(found)
        try:
            place = self._files.write(_size(found), source.read)
        finally:
            source.close()
        with self._lock:
            if self._objects.get(key) is not found:  # it was discarded meanwhile
                self._files.free(place)
                return
            self._take(key)
            self._objects[key] = place
            self.spilled_bytes += place.nbytes

    def restore(self, key: Key) -> None:
        """Bring an object back from disk.

        Raises:
            OSError: the disk is gone, or there is no memory left.
            StoreDamaged: it is not what was written.
        """
        with self._lock:
            place = self._objects.get(key)
            if not isinstance(place, OnDisk):
                return
            fresh: bytearray | Held
            if place.nbytes <= INLINE_BYTES:
                fresh = bytearray(place.nbytes)
            else:
                fresh = self._room(place.nbytes, AGENT)
            target = Moving(fresh)
        try:
            self._files.read(place, target.write)
        except BaseException:
            with self._lock:
                if isinstance(fresh, Held):
                    self._release(fresh)
            raise
        finally:
            target.close()
        with self._lock:
            if self._objects.get(key) is not place:
                if isinstance(fresh, Held):
                    self._release(fresh)
                return
            self._take(key)
            self._put(key, bytes(fresh) if isinstance(fresh, bytearray) else fresh)

    # --- the end -----------------------------------------------------------------------------

    def discard(self, key: Key) -> None:
        """Forget an object, wherever it is, and one that comes in."""
        with self._lock:
            if self._incoming:
                self._forget_incoming(key)
            found = self._objects.get(key)
            if type(found) is bytes:  # small: nearly all there are
                del self._objects[key]
                self.nbytes -= len(found)
            elif found is not None:
                self._take(key)

    def close(self) -> None:
        """Forget everything. What readers have mapped stays until they let go of it."""
        with self._lock:
            self._closed = True
            self._objects.clear()
            self._granted.clear()
            self._incoming.clear()
            self._open.clear()
            self._recycled.take_all()
            for segment in list(self._segments):
                self._drop(segment)
            self.nbytes = self.spilled_bytes = 0
            self._files.close()
        self._closer.close()

    # --- books, under the lock ---------------------------------------------------------------

    def _spot(self, held: Held) -> Spot:
        segment = held.segment
        return Spot(self._pid, segment.fd, held.offset, held.nbytes, segment.inode)

    def _put(self, key: Key, found: bytes | Held) -> None:
        self._objects[key] = found
        self.nbytes += _size(found)

    def _take(self, key: Key) -> None:
        """The object is not where it was."""
        found = self._objects.pop(key)
        if isinstance(found, OnDisk):
            self.spilled_bytes -= found.nbytes
            self._files.free(found)
            return
        self.nbytes -= _size(found)
        if isinstance(found, Held):
            self._release(found)

    def _forget_incoming(self, key: Key) -> None:
        held = self._incoming.pop(key, None)
        if isinstance(held, Held):
            self._release(held)

    def _room(self, nbytes: int, slot: int) -> Held:
        """Memory for an object that a slot writes."""
        if self._closed:
            raise OSError("the store is closed")
        if nbytes > PACKED_BYTES and not (
            nbytes <= _CROWDED_BYTES and len(self._segments) > self._roomy
        ):
            segment = self._recycled.take(slot, nbytes)
            if segment is None:
                segment = new_segment(nbytes, slot, self._directory)
                self._segments.add(segment)
            segment.slot = slot
            return Held(segment, 0, nbytes)
        segment = self._open.get(slot)
        offset = _place(segment, nbytes)
        if segment is None or offset is None:
            self._retire(slot)
            size = SEGMENT_BYTES if nbytes <= PACKED_BYTES else 8 * _CROWDED_BYTES
            segment = new_shared_segment(slot, self._directory, size)
            self._segments.add(segment)
            self._open[slot] = segment
            offset = _place(segment, nbytes)
            assert offset is not None
        self._punch(segment)
        return Held(segment, offset, nbytes)

    def _stored(self, data: bytearray) -> bytes | Held:
        """What came in, where it stays."""
        if len(data) <= INLINE_BYTES:
            return bytes(data)
        held = self._room(len(data), AGENT)
        _memory.write_pieces(held.segment.fd, [data], held.offset)
        return held

    def _release(self, held: Held) -> None:
        """Nothing stands there any more."""
        segment = held.segment
        if segment not in self._segments:  # the store was closed meanwhile
            return
        packing = segment.packing
        if packing is None:
            if segment.supplied or _is_looked_at(segment):
                self._drop(segment)
            else:
                for gone in self._recycled.give(segment):
                    self._drop(gone)
            return
        if held.mapped and held.nbytes <= PACKED_BYTES:
            # Whoever copies it just now shall see that it was too slow.
            os.pwrite(segment.fd, b"\0", held.offset)
        packing.free(held.offset, held.allocated, keep=held.mapped and held.nbytes > PACKED_BYTES)
        if not packing.live and self._open.get(segment.slot) is not segment:
            self._drop(segment)
        else:
            self._punch(segment)

    def _punch(self, segment: Segment) -> None:
        assert segment.packing is not None
        ranges = segment.packing.take_punchable()
        if sum(nbytes for _, nbytes in ranges) > _QUICK_BYTES:
            self._closer.do(partial(_memory.punch, segment.fd, ranges))
        elif ranges:
            _memory.punch(segment.fd, ranges)

    def _retire(self, slot: int) -> None:
        """Nothing more is put into the slot's open segment."""
        segment = self._open.pop(slot, None)
        if segment is not None and segment.packing is not None and not segment.packing.live:
            self._drop(segment)

    def _map(self, held: Held) -> memoryview:
        """Where the object stands in this process."""
        segment = held.segment
        if segment.map is None:
            access: Literal["read", "write"] = "read" if segment.adopted else "write"
            segment.map = map_memory(segment.fd, segment.capacity, access=access)
        return memoryview(segment.map)[held.offset : held.offset + held.nbytes]

    def _drop(self, segment: Segment) -> None:
        self._segments.discard(segment)
        fd, memory, directory = segment.fd, segment.map, self._directory
        segment.map = None

        def chore() -> None:
            if memory is not None:
                unmap(memory)
            _memory.close(fd, directory)

        self._closer.do(chore)


def _size(found: bytes | Held | OnDisk) -> int:
    return len(found) if isinstance(found, bytes) else found.nbytes


def _place(segment: Segment | None, nbytes: int) -> int | None:
    # An empty object has a place that is no other's, too.
    packing = None if segment is None else segment.packing
    return None if packing is None else packing.place(max(nbytes, 1))


class _Alone:
    """How often an object is referred to that only one attribute refers to."""

    def __init__(self) -> None:
        self.map = object()
        self.count = sys.getrefcount(self.map)


_ALONE = _Alone().count


def _is_looked_at(segment: Segment) -> bool:
    """Whether there are views of our map: all that come from one refer to it."""
    return segment.map is not None and sys.getrefcount(segment.map) > _ALONE
