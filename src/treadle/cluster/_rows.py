"""Rows of maps that a client has given away as bundles. Pure.

A scheduler tells of a bundle in parts, and cuts them as it likes; told again, after a link or a
result was lost, they may be cut elsewhere. So each row remembers by itself what was told of it.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Any, Final

#: What came of a task of which an error was told, or a cancellation.
ENDED: Final = object()

#: What is known of a row.
OPEN, TOLD, DROPPED = 0, 1, 2


class Bundle:
    """One bundle. Row `i` has the identifier `start + i`."""

    __slots__ = ("flags", "left", "name", "parts", "start", "starts", "unwanted")

    def __init__(self, start: int, count: int, name: str) -> None:
        self.start = start
        self.name = name
        #: For each row: `OPEN`, `TOLD` or `DROPPED`.
        self.flags = bytearray(count)
        #: How many are open.
        self.left = count
        #: What came of the parts that were told and not dropped, by their first row; and these
        #: rows, in order.
        self.parts: dict[int, Any] = {}
        self.starts: list[int] = []
        #: What is still open is being cancelled.
        self.unwanted = False

    @property
    def end(self) -> int:
        return self.start + len(self.flags)

    def is_open(self, id: int, rows: int) -> bool:
        """Whether nothing was told of any of these rows."""
        at = id - self.start
        return at >= 0 and at + rows <= len(self.flags) and not any(self.flags[at : at + rows])

    def tell(self, id: int, rows: int, what: Any) -> None:
        """These rows, which were open, have ended with this; None: and nobody wants it."""
        at = id - self.start
        self.flags[at : at + rows] = bytes([DROPPED if what is None else TOLD]) * rows
        self.left -= rows
        if what is not None:
            self.parts[id] = what
            insort(self.starts, id)

    def part_with(self, id: int) -> Any:
        """What came of the part that has this row; None if there is none."""
        place = bisect_right(self.starts, id) - 1
        return None if place < 0 else self.parts[self.starts[place]]

    def drop(self, id: int, rows: int) -> None:
        """The part that begins here is wanted no longer."""
        if self.parts.pop(id, None) is not None:
            self.starts.remove(id)
            at = id - self.start
            self.flags[at : at + rows] = bytes([DROPPED]) * rows

    def runs(self) -> Iterator[tuple[int, int]]:
        """Stretches of open rows: the first, and how many."""
        flags = self.flags
        at = flags.find(OPEN)
        while at >= 0:
            stop = at
            while stop < len(flags) and flags[stop] == OPEN:
                stop += 1
            yield self.start + at, stop - at
            at = flags.find(OPEN, stop)


class Bundles:
    """All bundles that are open, or of which results are wanted."""

    def __init__(self) -> None:
        self._by_start: dict[int, Bundle] = {}
        self._starts: list[int] = []

    def __iter__(self) -> Iterator[Bundle]:
        return iter(list(self._by_start.values()))

    def __len__(self) -> int:
        return len(self._by_start)

    def add(self, start: int, count: int, name: str) -> None:
        """A bundle is given away."""
        self._by_start[start] = Bundle(start, count, name)
        insort(self._starts, start)

    def find(self, id: object) -> Bundle | None:
        """The bundle with this row."""
        if not self._starts or type(id) is not int:
            return None
        place = bisect_right(self._starts, id) - 1
        if place < 0:
            return None
        bundle = self._by_start[self._starts[place]]
        return bundle if id < bundle.end else None

    def tidy(self, bundle: Bundle) -> None:
        """Forget the bundle if nothing of it is open or wanted."""
        if not bundle.left and not bundle.parts and bundle.start in self._by_start:
            del self._by_start[bundle.start]
            self._starts.remove(bundle.start)

    def clear(self) -> None:
        """Forget all."""
        self._by_start.clear()
        self._starts.clear()
