"""Objects on their way here: their bytes come in chunks, in order, and count when all are there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from treadle.errors import WireError

if TYPE_CHECKING:
    from treadle.wire import Chunk, Held, TaskId

    Key = tuple[TaskId, int]


class Shelf(Protocol):
    """Where they go."""

    def __contains__(self, key: Key) -> bool: ...

    def receive(self, key: Key, nbytes: int) -> memoryview:
        """Memory for an object that comes in."""

    def commit_received(self, key: Key) -> None:
        """All of it has come; one that is here already stays."""

    def discard(self, key: Key) -> None:
        """It will not come, or is not wanted."""


class Arrivals:
    """All that comes in just now. An object that comes twice at once is taken from who began last."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.by_key: dict[Key, Arrival] = {}

    def forget(self, key: Key) -> None:
        """What comes in will not come whole."""
        self.by_key.pop(key, None)
        if key in self.shelf:  # it was made here meanwhile: that stays
            self.shelf.commit_received(key)
        else:
            self.shelf.discard(key)


class Arrival:
    """The objects of one request."""

    __slots__ = ("_arrivals", "_got", "_left", "_views", "objects")

    def __init__(self, arrivals: Arrivals, objects: Sequence[Held]) -> None:
        """Raises OSError or MemoryError if there is no room; then nothing comes in."""
        self._arrivals = arrivals
        self.objects = objects
        #: Bytes that have come of each, and in all how many are still to come.
        self._got = [0] * len(objects)
        self._left = sum(held.nbytes for held in objects)
        #: Where each goes; None: nowhere, it is here already or comes from elsewhere.
        self._views: list[memoryview | None] = []
        try:
            for index, held in enumerate(objects):
                self._views.append(self._room(index, held))
        except BaseException:
            self.drop()
            raise

    @property
    def complete(self) -> bool:
        """All bytes are here."""
        return not self._left

    def take(self, chunk: Chunk) -> None:
        """A piece has come.

        Raises:
            WireError: it is not what comes next.
        """
        index, payload = chunk.index, chunk.payload
        if index >= len(self.objects) or chunk.offset != self._got[index]:
            raise WireError(f"a chunk of object {index} that does not come next")
        end = chunk.offset + len(payload)
        if end > self.objects[index].nbytes:
            raise WireError(f"object {index} has more than {self.objects[index].nbytes} bytes")
        view = self._views[index]
        if view is not None:
            view[chunk.offset : end] = payload
        self._got[index] = end
        self._left -= len(payload)
        if end == self.objects[index].nbytes:
            self._finish(index)

    def drop(self) -> None:
        """No more will come: what has not come whole is forgotten."""
        for index, view in enumerate(self._views):
            if view is not None:
                self._views[index] = None
                view.release()
                self._arrivals.forget(_key(self.objects[index]))

    def _room(self, index: int, held: Held) -> memoryview | None:
        key = _key(held)
        arrivals = self._arrivals
        if key in arrivals.shelf:
            return None
        other = arrivals.by_key.get(key)
        if other is not None:
            other._lose(key)
        view = arrivals.shelf.receive(key, held.nbytes)
        arrivals.by_key[key] = self
        if not held.nbytes:
            self._views.append(view)
            self._finish(index)
            self._views.pop()
            return None
        return view

    def _lose(self, key: Key) -> None:
        """Somebody else brings it."""
        for index, view in enumerate(self._views):
            if view is not None and _key(self.objects[index]) == key:
                self._views[index] = None
                view.release()
                self._arrivals.forget(key)

    def _finish(self, index: int) -> None:
        view = self._views[index]
        if view is None:
            return
        self._views[index] = None
        view.release()
        key = _key(self.objects[index])
        del self._arrivals.by_key[key]
        self._arrivals.shelf.commit_received(key)


def _key(held: Held) -> Key:
    return held.id, held.attempt
