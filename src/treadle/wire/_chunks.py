"""The bytes of objects, between two processes that share no memory: data frames.

An object follows its `Data` or `Give` in chunks, each a frame of its own, in order; so other
messages of the link pass between them. Each says which request and which object of it is meant,
and where in the object it belongs, and has a checksum: what a network or a bad card changed is
found before anybody reads it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final
from zlib import crc32

from msgspec import Struct

from treadle.errors import WireError
from treadle.wire._frames import HEADER, Kind

#: Most bytes of an object in one chunk.
CHUNK_BYTES: Final = 1024 * 1024

_HEAD = struct.Struct(">QIQI")


class Chunk(Struct, frozen=True):
    """A piece of an object. `index`: which object of the request `ask`. `offset`: where the piece
    belongs. `payload`: lives no longer than the frame it came in."""

    ask: int
    index: int
    offset: int
    payload: memoryview


def chunks(
    ask: int, index: int, data: memoryview, *, size: int = CHUNK_BYTES
) -> Iterator[tuple[bytes, memoryview]]:
    """The frames that carry an object: for each its head, and the piece behind it, not copied."""
    for offset in range(0, len(data), size):
        piece = data[offset : offset + size]
        head = _HEAD.pack(ask, index, offset, crc32(piece))
        yield HEADER.pack(len(head) + len(piece), Kind.data) + head, piece


def read_chunk(payload: memoryview) -> Chunk:
    """The chunk in a data frame.

    Raises:
        WireError: it is none, or its bytes are not those that were sent.
    """
    if len(payload) < _HEAD.size:
        raise WireError(f"a data frame of {len(payload)} bytes is too short")
    ask, index, offset, checksum = _HEAD.unpack_from(payload)
    piece = payload[_HEAD.size :]
    if crc32(piece) != checksum:
        raise WireError(f"the checksum of {len(piece)} bytes of object {index} is wrong")
    return Chunk(ask, index, offset, piece)
