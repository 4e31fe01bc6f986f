"""Rows of maps that a client has given away as bundles. Pure.

A scheduler tells of a bundle in parts, and cuts them as it likes; told again, after a link or a
result was lost, they may be cut elsewhere. So each row remembers by itself what was told of it.

A kernel lets go of whole parts. A client has a future for each row, and lets go of rows: a part,
which is one object to all others, is wanted for as long as one of its rows is.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator
from typing import Any, Final

#: What came of a task of which an error was told, or a cancellation.
ENDED: Final = object()

#: What is known of a row: it is open; it was told; nobody wants it any longer; it is open and wanted
#: for others, since a future of it was pickled.
OPEN, TOLD, DROPPED, LEFT = 0, 1, 2, 3


class Bundle:
    """One bundle. Row `i` has the identifier `start + i`."""

    __slots__ = (
        "flags", "left", "lingering", "name", "parts", "start", "starts", "unwanted", "wanted",
    )  # fmt: skip

    def __init__(self, start: int, count: int, name: str) -> None:
        self.start = start
        self.name = name
        #: For each row: `OPEN`, `TOLD`, `DROPPED` or `LEFT`.
        self.flags = bytearray(count)
        #: How many are open.
        self.left = count
        #: What came of the parts that were told and not dropped, by their first row; and these
        #: rows, in order.
        self.parts: dict[int, Any] = {}
        self.starts: list[int] = []
        #: How many rows of each part are wanted, and the rows of which a future was pickled.
        self.wanted: dict[int, int] = {}
        self.lingering: set[int] = set()
        #: What is still open is being cancelled.
        self.unwanted = False

    @property
    def end(self) -> int:
        return self.start + len(self.flags)

    def is_open(self, id: int, rows: int) -> bool:
        """Whether some of these rows are waited for."""
        at = id - self.start
        if at < 0 or at + rows > len(self.flags):
            return False
        flags = self.flags[at : at + rows]
        return OPEN in flags or LEFT in flags

    def tell(self, id: int, rows: int, what: Any) -> int:
        """These rows have ended with this; None: and nobody wants it.

        Returns:
            how many of them somebody here wants; if none, there is no such part.
        """
        at = id - self.start
        flags = self.flags[at : at + rows]
        waited = flags.count(OPEN)
        self.left -= waited + flags.count(LEFT)
        wanted = waited + flags.count(TOLD)
        if what is None or not wanted:
            self.flags[at : at + rows] = bytes([DROPPED]) * rows
            return 0
        if wanted == rows:
            self.flags[at : at + rows] = bytes([TOLD]) * rows
        else:
            self.flags[at : at + rows] = bytes([TOLD if f < DROPPED else DROPPED for f in flags])
        if id not in self.parts:
            insort(self.starts, id)
        self.parts[id] = what
        self.wanted[id] = wanted
        return wanted

    def want(self, id: int) -> bool:
        """Somebody here wants this row again; whether the scheduler is to be asked for it."""
        at = id - self.start
        flag = self.flags[at]
        if flag == TOLD:
            part = self.starts[bisect_right(self.starts, id) - 1]
            self.wanted[part] -= 1
        self.flags[at] = OPEN
        over = flag in (TOLD, DROPPED)
        self.left += over
        return over

    def revoke(self, id: int, rows: int) -> bool:
        """What was told of these rows is true no longer. False: nothing was told that is wanted."""
        if self.parts.get(id) is None:
            return False
        self.drop(id, rows)
        return True

    def leave(self, id: int, *, lingers: bool) -> int | None:
        """Nobody here wants this row any longer. Returns the part that nobody wants now, if any."""
        at = id - self.start
        flag = self.flags[at]
        if lingers:
            self.lingering.add(id)
        if flag == OPEN:
            self.flags[at] = LEFT if lingers else DROPPED
            self.left -= not lingers
        elif flag == TOLD:
            self.flags[at] = DROPPED
            part = self.starts[bisect_right(self.starts, id) - 1]
            self.wanted[part] -= 1
            if not self.wanted[part]:
                self.drop(part, 0)
                return part
        return None

    def lingers(self, id: int, rows: int) -> bool:
        """Whether a future of one of these rows was pickled."""
        return bool(self.lingering) and any(id <= row < id + rows for row in self.lingering)

    def reopen(self, id: int, rows: int) -> bool:
        """These rows, if an error was told of them, are tried again. False: none was."""
        part = self.starts[bisect_right(self.starts, id) - 1] if self.starts else None
        if part is None or self.parts[part] is not ENDED or part > id:
            return False
        at = id - self.start
        again = [row for row in range(at, at + rows) if self.flags[row] == TOLD]
        for row in again:
            self.flags[row] = OPEN
        self.left += len(again)
        self.wanted[part] -= len(again)
        if not self.wanted[part]:
            self.drop(part, 0)
        return bool(again)

    def part_with(self, id: int) -> Any:
        """What came of the part that has this row; None if there is none."""
        place = bisect_right(self.starts, id) - 1
        return None if place < 0 else self.parts[self.starts[place]]

    def drop(self, id: int, rows: int) -> None:
        """The part that begins here is wanted no longer."""
        if self.parts.pop(id, None) is not None:
            self.starts.remove(id)
            self.wanted.pop(id, None)
            at = id - self.start
            self.flags[at : at + rows] = bytes([DROPPED]) * rows

    def runs(self) -> Iterator[tuple[int, int]]:
        """Stretches of open rows: the first, and how many."""
        flags = self.flags
        if self.lingering:
            flags = flags.replace(bytes([LEFT]), bytes([OPEN]))
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
