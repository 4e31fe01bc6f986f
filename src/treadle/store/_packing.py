"""Many objects in one piece of memory, or in one file: where they stand, and what is free again.

Objects are put one behind the other and nothing is ever put where another was. Memory is given back
in ranges: when nothing that lives stands in a range, and nothing will any more, it can be punched
out of the piece. An object covers the ranges between its first and its last alone, so that only
these two need to be counted.
"""

from __future__ import annotations

from array import array
from typing import Final

#: What each object starts on a multiple of.
ALIGNMENT: Final = 64

Range = tuple[int, int]


class Packing:
    """Where objects stand in a piece of so many bytes."""

    __slots__ = ("_counts", "_head", "_punchable", "_range_bytes", "capacity", "live")

    def __init__(self, capacity: int, range_bytes: int, start: int = 0) -> None:
        self.capacity = capacity
        self._range_bytes = range_bytes
        #: Objects that begin or end in each range; one more in the range that is being filled.
        self._counts = array("L", bytes(8 * (capacity // range_bytes + 1)))
        self._head = start
        self._counts[start // range_bytes] += 1
        self._punchable: list[Range] = []
        self.live = 0

    def place(self, nbytes: int) -> int | None:
        """Where an object of so many bytes, one at least, goes; None if it does not fit any more."""
        offset = -(-self._head // ALIGNMENT) * ALIGNMENT
        end = offset + nbytes
        if end > self.capacity:
            return None
        size = self._range_bytes
        first, last = offset // size, (end - 1) // size
        counts = self._counts
        counts[first] += 1
        if last != first:
            counts[last] += 1
        old, new = self._head // size, end // size
        self._head = end
        if new != old:
            counts[new] += 1
            self._leave(old)
        self.live += 1
        return offset

    def free(self, offset: int, nbytes: int, *, keep: bool = False) -> None:
        """The object is gone. `keep`: its ranges stay, since somebody may still look at it."""
        self.live -= 1
        if keep:
            return
        size = self._range_bytes
        first, last = offset // size, (offset + nbytes - 1) // size
        if last - first > 1:
            self._punchable.append(((first + 1) * size, (last - first - 1) * size))
        self._leave(first)
        if last != first:
            self._leave(last)

    def _leave(self, index: int) -> None:
        self._counts[index] -= 1
        if not self._counts[index]:
            size = self._range_bytes
            self._punchable.append((index * size, min(size, self.capacity - index * size)))

    def take_punchable(self) -> list[Range]:
        """Ranges (offset, bytes) that nothing stands in and nothing will; each is told once."""
        ranges, self._punchable = self._punchable, []
        if len(ranges) < 2:
            return ranges
        ranges.sort()
        joined = [ranges[0]]
        for offset, nbytes in ranges[1:]:
            start, length = joined[-1]
            if start + length == offset:
                joined[-1] = (start, length + nbytes)
            else:
                joined.append((offset, nbytes))
        return joined
