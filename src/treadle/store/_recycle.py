"""Memory that nobody has read, kept for the slot that wrote it.

It has its pages already, and the slot still has it mapped: to write it again costs a tenth of what
fresh memory costs. How much is kept is bounded; what has waited longest goes first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.store._segments import Segment

#: A segment serves an object that fills at least four fifths of it.
_SLACK = 4


class Recycled:
    """Segments that wait to be written again, by the slot that has them mapped."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        #: In order of age.
        self._segments: dict[Segment, None] = {}
        self.nbytes = 0

    def give(self, segment: Segment) -> list[Segment]:
        """Keep a segment; what has to go for it (it, too, if it is too large)."""
        self._segments[segment] = None
        self.nbytes += segment.capacity
        gone = []
        while self.nbytes > self._most_bytes:
            gone.append(self._drop(next(iter(self._segments))))
        return gone

    def take(self, slot: int, nbytes: int) -> Segment | None:
        """A segment for an object of this size: the slot's own if it has one, else of any slot."""
        found = None
        for segment in self._segments:
            if nbytes <= segment.capacity <= max(nbytes + nbytes // _SLACK, nbytes + 4096):
                found = segment
                if segment.slot == slot:
                    break
        return None if found is None else self._drop(found)

    def take_all(self, slot: int | None = None) -> list[Segment]:
        """All segments, or all of one slot."""
        mine = [s for s in self._segments if slot is None or s.slot == slot]
        return [self._drop(segment) for segment in mine]

    def _drop(self, segment: Segment) -> Segment:
        del self._segments[segment]
        self.nbytes -= segment.capacity
        return segment
