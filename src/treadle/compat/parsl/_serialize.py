"""Parsl's four functions of serialization, by its argument names."""

from __future__ import annotations

from typing import Any

from treadle.serialize import dumps, dumps_call, loads


def serialize(obj: Any, buffer_threshold: int = 1_000_000) -> bytes:
    """Pickle an object for any process; the threshold only ever led to a warning."""
    return dumps(obj)


def deserialize(payload: bytes) -> Any:
    """Load what `serialize` made."""
    return loads(payload)


def pack_apply_message(
    func: Any, args: Any, kwargs: Any, buffer_threshold: int = 128_000_000
) -> bytes:
    """Pickle a call; the threshold only ever led to a warning."""
    return dumps_call(func, args, kwargs)


def unpack_apply_message(packed_buffer: bytes) -> list[Any]:
    """The function, the arguments and the keyword arguments of a packed call."""
    return list(loads(packed_buffer))
