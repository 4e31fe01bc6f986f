"""Data that a client has, on its way to workers.

A parcel is an object in memory of this process that no one changes any more: made in the caller's
thread at once, so what becomes of the value after that changes nothing. A worker on this machine
maps the very same memory, one elsewhere is sent it. Parcels are kept for as long as a task that
names them is wanted, and the last ones a while longer: the next call may name them again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.cluster._ledger import DATA
from treadle.cluster._upload_memory import Plain, is_equal

if TYPE_CHECKING:
    from treadle.serialize import Packed
    from treadle.store.mapping import Shared
    from treadle.wire import TaskId

#: Parcels that nobody uses are kept up to so many, and so many bytes.
_SPARE: Final = 64
_SPARE_BYTES: Final = 256 << 20
#: So many that look alike are compared with new data.
_MOST_COMPARED: Final = 8


class Parcel:
    """One object of this client's."""

    __slots__ = (
        "constant",
        "digest",
        "id",
        "mark",
        "name",
        "nbytes",
        "pins",
        "sent",
        "shared",
        "type",
    )

    def __init__(self, id: int, shared: Shared | Plain, nbytes: int, name: str, type: str) -> None:
        self.id = id
        self.shared = shared
        self.nbytes = nbytes
        self.name = name
        self.type = type
        #: What it is recognised by; None: by its digest, or not at all.
        self.constant: object | None = None
        self.digest: bytes | None = None
        #: What may be equal to it has the same; empty: nothing is compared with it.
        self.mark = b""
        #: Calls that name it and that the books do not know yet, and others who keep it.
        self.pins = 0
        #: The scheduler has been told of it.
        self.sent = False


class Parcels:
    """All objects of one session.

    Args:
        share: keeps these bytes, in memory that others can map if they are many.
        base: gives the identifier of task 0.
    """

    def __init__(self, share: Callable[[Packed], Shared | Plain], base: Callable[[], int]) -> None:
        self.by_id: dict[int, Parcel] = {}
        self._share = share
        self._base = base
        self._numbers = count(DATA)
        self._lock = threading.Lock()
        self._constants: dict[int, Parcel] = {}
        self._digests: dict[bytes, Parcel] = {}
        self._marks: dict[bytes, dict[int, Parcel]] = {}
        #: Those with neither pin nor user, in the order in which they came to that.
        self._spare: dict[int, Parcel] = {}
        #: Pins that calls have left when they were dropped; maybe by the garbage collector.
        self._unpinned: deque[tuple[int, ...]] = deque()

    # --- from any thread ---------------------------------------------------------------------

    def keep(self, packed: Packed, *, constant: object | None, type: str = "") -> Parcel:
        """The parcel with these bytes, pinned; a new one if there is none."""
        known = self._known(constant, None)
        if known is not None:
            return known
        digest = None if constant is not None else _digest(packed)
        known = self._known(None, digest)
        if known is not None:
            return known
        # Outside the lock: it may be much.
        parcel = self.new(packed, "data", type)
        with self._lock:
            if constant is not None:
                parcel.constant = constant
                self._constants[id(constant)] = parcel
            elif digest is not None:
                parcel.digest = digest
                self._digests[digest] = parcel
        return parcel

    def find(self, constant: object) -> Parcel | None:
        """The parcel of something that never changes, pinned."""
        return self._known(constant, None)

    def new(self, packed: Packed, name: str, type: str = "", *, mark: bytes = b"") -> Parcel:
        """A parcel of its own, pinned. `mark`: by which `equal_to` finds it."""
        shared = self._share(packed)
        parcel = Parcel(self._base() + next(self._numbers), shared, packed.nbytes, name, type)
        parcel.pins = 1
        parcel.mark = mark
        with self._lock:
            self.by_id[parcel.id] = parcel
            if mark:
                self._marks.setdefault(mark, {})[parcel.id] = parcel
        return parcel

    def has_mark(self, mark: bytes) -> bool:
        """Whether some parcel may be equal to what has this mark; see `mark_of`."""
        return mark in self._marks

    def equal_to(self, packed: Packed, mark: bytes) -> Iterator[Parcel]:
        """The parcels with this mark that have these very bytes, newest first."""
        with self._lock:
            found = list(self._marks.get(mark, {}).values())
        for parcel in reversed(found[-_MOST_COMPARED:]):
            try:
                if is_equal(parcel.shared, packed):
                    yield parcel
            except OSError:  # it was let go of meanwhile
                continue

    def unpin_later(self, ids: tuple[int, ...]) -> None:
        """A call that named these is gone. Takes no lock: a garbage collector may say it."""
        self._unpinned.append(ids)

    def _known(self, constant: object | None, digest: bytes | None) -> Parcel | None:
        with self._lock:
            parcel = None
            if constant is not None:
                parcel = self._constants.get(id(constant))
            elif digest is not None:
                parcel = self._digests.get(digest)
            if parcel is not None:
                parcel.pins += 1
                self._spare.pop(parcel.id, None)
            return parcel

    # --- on the engine thread ----------------------------------------------------------------

    @property
    def has_unpinned(self) -> bool:
        """Whether there is something to settle."""
        return bool(self._unpinned)

    def settle(self, unused: Iterable[Any], is_used: Callable[[int], bool]) -> list[int]:
        """Take note of what is used no longer; returns those that are to be released."""
        candidates = list(unused)
        with self._lock:
            while self._unpinned:
                for id in self._unpinned.popleft():
                    parcel = self.by_id.get(id)
                    if parcel is not None:
                        parcel.pins -= 1
                        candidates.append(id)
            for id in candidates:
                parcel = self.by_id.get(id)
                if parcel is not None and not parcel.pins and not is_used(id):
                    self._spare[id] = parcel
            return self._drop_oldest()

    def found(
        self, items: Iterable[tuple[TaskId, int, Sequence[str]]]
    ) -> list[tuple[Parcel, int, Sequence[str]]]:
        """What is to be given, as far as it is (still) here."""
        by_id: dict[Any, Parcel] = self.by_id
        return [
            (parcel, attempt, workers)
            for id, attempt, workers in items
            if (parcel := by_id.get(id)) is not None
        ]

    def unmark(self, parcel: Parcel) -> None:
        """Nothing is found to be equal to it any more."""
        with self._lock:
            self._unmark(parcel)

    def drop(self, parcel: Parcel) -> None:
        """Nobody needs it any longer."""
        with self._lock:
            self._forget(parcel)

    def _drop_oldest(self) -> list[int]:
        nbytes = sum(parcel.nbytes for parcel in self._spare.values())
        dropped = []
        while self._spare and (
            len(self._spare) > _SPARE or nbytes > _SPARE_BYTES or not _is_known(self._spare)
        ):
            parcel = next(iter(self._spare.values()))
            nbytes -= parcel.nbytes
            self._forget(parcel)
            dropped.append(parcel.id)
        return dropped

    def _forget(self, parcel: Parcel) -> None:
        self.by_id.pop(parcel.id, None)
        self._spare.pop(parcel.id, None)
        if parcel.constant is not None:
            self._constants.pop(id(parcel.constant), None)
        if parcel.digest is not None:
            self._digests.pop(parcel.digest, None)
        self._unmark(parcel)
        parcel.shared.close()

    def _unmark(self, parcel: Parcel) -> None:
        alike = self._marks.get(parcel.mark)
        if alike is not None:
            alike.pop(parcel.id, None)
            if not alike:
                del self._marks[parcel.mark]

    def close(self) -> None:
        """Let go of all."""
        with self._lock:
            for parcel in list(self.by_id.values()):
                self._forget(parcel)


def _is_known(spare: dict[int, Parcel]) -> bool:
    """Whether the oldest can be recognised: else there is no use in keeping it."""
    parcel = next(iter(spare.values()))
    return parcel.constant is not None or parcel.digest is not None


def _digest(packed: Packed) -> bytes:
    """What the same bytes are recognised by. Two values with one digest would be one value."""
    digest = blake2b(digest_size=20)
    for piece in packed.pieces:
        digest.update(piece)
    return digest.digest()


def spec_of(parcel: Parcel) -> wire.DataSpec:
    """What the scheduler is told of it."""
    return wire.DataSpec(parcel.id, parcel.name[:512], parcel.nbytes, parcel.type[:512])
