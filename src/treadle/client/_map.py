"""Maps: many calls of one function as bundles, with a future for each row.

A bundle is one task to the scheduler, and row `i` has the identifier `id + i`. Rows end a few at a
time, and the results of those are one object: a *part*, which is brought here once, and of which
each row's future loads its own piece.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import ref

from treadle.cluster._calls import HOIST_BYTES
from treadle.errors import SerializationError
from treadle.serialize import unpack

if TYPE_CHECKING:
    from treadle.client._futures import ClientFuture
    from treadle.cluster._calls import CallPacker

#: Rows of one bundle, and their bytes: what the scheduler decodes in one go.
MOST_ROWS: Final = 4096
_MOST_BYTES: Final = 4 << 20

#: So many maps are known again.
_MOST_MAPS: Final = 32

Buffer = bytes | bytearray | memoryview


class Rows(Protocol):
    """What stands for the results of several rows."""

    type: str

    @property
    def nbytes(self) -> int: ...
    @property
    def is_here(self) -> bool: ...
    @property
    def is_near(self) -> bool: ...
    def pieces(self, timeout: float | None = None) -> Sequence[Buffer]: ...
    def bring(self, then: Callable[[], None]) -> None: ...


class Part:
    """The results of some rows."""

    __slots__ = ("_lock", "_pieces", "remote", "rows")

    def __init__(self, remote: Rows, rows: int) -> None:
        self.remote = remote
        self.rows = rows
        #: The bytes of each row that has not been loaded, once they are here.
        self._pieces: list[Buffer | None] | None = None
        self._lock = threading.Lock()

    @property
    def is_here(self) -> bool:
        """Whether its bytes are here."""
        return self._pieces is not None or self.remote.is_here

    def load(self, row: int, timeout: float | None) -> Any:
        """The value of a row, once."""
        pieces = self._pieces
        if pieces is None:
            if not self._lock.acquire(timeout=-1.0 if timeout is None else timeout):
                raise TimeoutError
            try:
                pieces = self._pieces
                if pieces is None:
                    pieces = self._pieces = list(self.remote.pieces(timeout))
            finally:
                self._lock.release()
        piece = pieces[row]
        assert piece is not None
        value = unpack(piece, writable=True)
        pieces[row] = None
        return value


class RowValue:
    """The result of a row; see `RemoteValue`. It is loaded once."""

    __slots__ = ("part", "row")

    def __init__(self, part: Part, row: int) -> None:
        self.part = part
        self.row = row

    @property
    def type(self) -> str:
        """The type of the last row that it was told with."""
        return self.part.remote.type

    @property
    def nbytes(self) -> int:
        """About its size."""
        return self.part.remote.nbytes // self.part.rows

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded at once."""
        return self.part.is_here

    @property
    def is_near(self) -> bool:
        """See `RemoteValue`."""
        return self.part.is_here or self.part.remote.is_near

    def load(self, timeout: float | None = None, *, writable: bool = True) -> Any:
        """See `RemoteValue`."""
        return self.part.load(self.row, timeout)

    def bring(self, then: Callable[[], None]) -> None:
        """See `RemoteValue`."""
        self.part.remote.bring(then)


def packed_rows(packer: CallPacker, rows: Sequence[tuple[Any, ...]]) -> list[bytes] | None:
    """The rows as a bundle has them; None: they are tasks of their own.

    They are if there is a future among the arguments, which would have all rows wait for it; if one
    is large, so that it is worth an object of its own; or if one cannot be pickled, which its own
    call tells better.
    """
    if any(isinstance(value, Future) for row in rows for value in row):
        return None
    try:
        packed = packer.pack_rows(rows)
    except SerializationError:
        return None
    return None if max(map(len, packed)) > HOIST_BYTES else packed


def bundles(packed: Sequence[bytes], most: int = MOST_ROWS) -> Iterator[tuple[int, int]]:
    """Where each bundle of these rows begins and ends."""
    start = nbytes = 0
    for row, data in enumerate(packed):
        nbytes += len(data)
        if row > start and (nbytes > _MOST_BYTES or row - start == most):
            yield start, row
            start, nbytes = row, len(data)
    yield start, len(packed)


class Maps:
    """The last pure maps of a client: the same map again is the same futures."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[ref[ClientFuture[Any]]]] = {}

    def find(self, seal: bytes) -> list[ClientFuture[Any]] | None:
        """The futures of this map, if all of them live and none was cancelled."""
        known = self._known.get(seal)
        if known is None:
            return None
        futures = [future for each in known if (future := each()) is not None]
        if len(futures) == len(known) and not any(f._is_stale() for f in futures):
            return futures
        self._known.pop(seal, None)
        return None

    def keep(self, seal: bytes, futures: Sequence[ClientFuture[Any]]) -> None:
        """Know this map for a while, as long as its futures live: they go together, mostly."""

        def gone(first: ref[ClientFuture[Any]]) -> None:
            if (known := self._known.get(seal)) is not None and known[0] is first:
                self._known.pop(seal, None)

        self._known[seal] = [ref(futures[0], gone), *map(ref, futures[1:])]
        if len(self._known) > _MOST_MAPS:
            self._known.pop(next(iter(self._known)), None)
