"""Inputs and results as values: what stands in a store, or came as bytes, loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from treadle.serialize import unpack
from treadle.wire import Spot

if TYPE_CHECKING:
    from treadle.store.mapping import Mapper


def load(
    mapper: Mapper,
    data: bytes | bytearray | Spot,
    *,
    writable: bool = False,
    persistent_load: Callable[[Any], Any] | None = None,
) -> Any:
    """The value in these bytes, or at that spot.

    The arrays of a large value look at the store's memory: they are read-only, or (`writable`)
    copied where they are written to. Those of a small one are the caller's own.

    Raises:
        OSError: it is there no longer.
        DeserializationError: it cannot be loaded.
    """
    if isinstance(data, Spot):
        view = mapper.open(data, writable=writable)
        return unpack(view, writable=not view.readonly, persistent_load=persistent_load)
    return unpack(data, writable=True, persistent_load=persistent_load)
