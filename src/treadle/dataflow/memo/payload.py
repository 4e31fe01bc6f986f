"""What a record of the log holds: a header that is only data, and a pickle.

The header says what the call was made of. It is read without unpickling anything, so that a miss
can be explained from a log whose results nobody loads.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import msgspec

from treadle.errors import DeserializationError
from treadle.serialize import loads

if TYPE_CHECKING:
    from treadle.dataflow.memo.key import MemoKey

_MAGIC = b"TM1\n"
_LENGTH = struct.Struct("<I")


class Header(msgspec.Struct, array_like=True, frozen=True):
    """The call behind a result."""

    #: Name of the app; empty for a record of fixed parts.
    app: str
    #: The parts of this call alone, eight bytes each.
    own: dict[str, bytes]
    #: The record that has the parts shared with other calls.
    fixed_id: str
    #: The pickle is of an exception.
    failed: bool = False


_encode = msgspec.msgpack.Encoder().encode
_decode_header = msgspec.msgpack.Decoder(Header).decode
_decode_parts = msgspec.msgpack.Decoder(dict[str, bytes]).decode


def pack(key: MemoKey | None, pickled: bytes, *, failed: bool = False) -> bytes:
    """A record's payload."""
    header = _encode(
        Header(key.app, key.own, key.fixed_id, failed) if key else Header("", {}, "", failed)
    )
    return b"".join((_MAGIC, _LENGTH.pack(len(header)), header, pickled))


def read_header(payload: bytes) -> Header | None:
    """The header of a result's record; None if it is something else."""
    if not payload.startswith(_MAGIC):
        return None
    start = len(_MAGIC) + _LENGTH.size
    try:
        size = _LENGTH.unpack_from(payload, len(_MAGIC))[0]
        return _decode_header(payload[start : start + size])
    except (struct.error, msgspec.MsgspecError):
        return None


def load(payload: bytes) -> tuple[bool, Any]:
    """Whether the call failed, and its result or exception.

    Raises:
        DeserializationError: it cannot be loaded here.
    """
    header = read_header(payload)
    if header is None:
        raise DeserializationError("this is not the record of a result")
    size = _LENGTH.unpack_from(payload, len(_MAGIC))[0]
    return header.failed, loads(payload[len(_MAGIC) + _LENGTH.size + size :])


def parts_key(fixed_id: str) -> str:
    """The key of the record that has the fixed parts of an app; no result has such a key."""
    return f"parts {fixed_id[:32]}"


def is_result_key(key: str) -> bool:
    """Whether a record of this key is a result."""
    return not key.startswith("parts ")


def pack_parts(key: MemoKey) -> bytes:
    """The payload of that record."""
    return _encode(dict(key.fixed))


def read_parts(payload: bytes | None) -> dict[str, bytes]:
    """The parts in such a payload; empty if it is none."""
    if payload is None or payload.startswith(_MAGIC):
        return {}
    try:
        return _decode_parts(payload)
    except msgspec.MsgspecError:
        return {}
