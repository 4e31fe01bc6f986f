"""What a task gets of other tasks' results: loaded when its arguments name them, once each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec

from treadle.errors import InternalError
from treadle.serialize import unpack

if TYPE_CHECKING:
    from treadle.cluster._packets import Supply
    from treadle.wire import Spot, TaskId

#: How many pieces of memory stay mapped for the next task, which often wants the same.
_KEPT: Final = 4

_decode_rows: Final = msgspec.msgpack.Decoder(list[memoryview]).decode


class Maps(Protocol):
    """Memory of others that this process may map; see `treadle.store.mapping`."""

    def open(self, spot: Spot, *, writable: bool = False) -> memoryview:
        """The bytes at a spot; `writable`: as a private copy."""


class Memories:
    """Memory that tasks look at, kept mapped for the next ones."""

    __slots__ = ("_kept", "_maps")

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        #: Last used last. Never for writing: that would be another task's to see.
        self._kept: dict[Spot, memoryview] = {}

    def open(self, spot: Spot, *, writable: bool) -> memoryview:
        """The bytes at a spot; read-only, or a private copy."""
        if writable:
            return self._maps.open(spot, writable=True)
        view = self._kept.pop(spot, None)
        if view is None:
            view = self._maps.open(spot)
            if not view.readonly:  # a copy of its own: nothing is gained by keeping it
                return view
        self._kept[spot] = view
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        return view

    def drop(self) -> None:
        """Keep nothing mapped that nobody looks at."""
        self._kept.clear()

    def __bool__(self) -> bool:
        return bool(self._kept)


class Inputs:
    """The results that one task was supplied with. Call it with a task's identifier."""

    __slots__ = ("_bundles", "_memories", "_supplies", "_values", "_writable")

    def __init__(self, supplies: Sequence[Supply], memories: Memories, *, writable: bool) -> None:
        self._memories = memories
        self._writable = writable
        self._values: dict[TaskId, Any] = {}
        self._supplies: dict[TaskId, Supply] = {}
        self._bundles: dict[TaskId, tuple[Supply, list[memoryview] | None]] = {}
        for supply in supplies:
            if supply.rows == 1:
                self._supplies[supply.id] = supply
            else:
                self._bundles[supply.id] = supply, None

    def __call__(self, id: TaskId) -> Any:
        """The result of this task; loading it runs code of the user's."""
        try:
            return self._values[id]
        except KeyError:
            value = self._values[id] = self._load(id)
            return value

    def _load(self, id: TaskId) -> Any:
        supply = self._supplies.get(id)
        if supply is not None:
            return unpack(self._bytes_of(supply), writable=self._writable)
        for key, (bundle, rows) in self._bundles.items():
            if isinstance(id, int) and isinstance(key, int) and key <= id < key + bundle.rows:
                if rows is None:
                    rows = _decode_rows(self._bytes_of(bundle))
                    self._bundles[key] = bundle, rows
                return unpack(rows[id - key], writable=self._writable)
        raise InternalError(f"no result of the task {id!r} was supplied")

    def _bytes_of(self, supply: Supply) -> bytes | memoryview:
        if isinstance(supply.data, bytes):
            return supply.data
        return self._memories.open(supply.data, writable=self._writable)
