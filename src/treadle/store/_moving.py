"""An object on its way to disk or back, on another thread, whatever becomes of the store."""

from __future__ import annotations

import os

from treadle.store._memory import read_into, write_pieces
from treadle.store._segments import Held


class Moving:
    """An object's bytes, or its memory: it has a descriptor of its own, until `close`."""

    def __init__(self, found: bytes | bytearray | Held) -> None:
        self._memory = None if isinstance(found, Held) else memoryview(found)
        self._offset = found.offset if isinstance(found, Held) else 0
        self._fd = os.dup(found.segment.fd) if isinstance(found, Held) else -1

    def read(self, piece: memoryview, offset: int) -> None:
        """Fill a piece with what stands at an offset of the object."""
        if self._memory is None:
            read_into(self._fd, piece, self._offset + offset)
        else:
            piece[:] = self._memory[offset : offset + len(piece)]

    def write(self, piece: memoryview, offset: int) -> None:
        """Put a piece at an offset of the object."""
        if self._memory is None:
            write_pieces(self._fd, [piece], self._offset + offset)
        else:
            self._memory[offset : offset + len(piece)] = piece

    def close(self) -> None:
        """Let go of it."""
        if self._fd >= 0:
            os.close(self._fd)
        if self._memory is not None:
            self._memory.release()
