"""One segment being written: a file that one writer made and only appends to.

After any error its descriptor is dead: a failed `fsync` may have dropped the very pages that the
next one would report as written.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from struct import Struct
from typing import NamedTuple

from treadle.store._layout import segment_name, segment_number
from treadle.store._record import FILE_MAGIC, Codec, Kind, Record
from treadle.store.disk import Disk, close_quietly, write_all

#: Payload of a segment's first record: version of the format, id of the store.
OPENED = Struct("<H16s")
#: Payload of its last record: how many records came before.
CLOSED = Struct("<Q")
FORMAT_VERSION = 1


class Entry(NamedTuple):
    """What a record says; the segment adds where it stands."""

    kind: int
    flags: int
    key: bytes
    payload: bytes

    @property
    def size(self) -> int:
        """Bytes of the key and the payload."""
        return len(self.key) + len(self.payload)


class Segment:
    """A segment that this process writes.

    Attributes:
        path: its file.
        size: bytes written so far.
    """

    def __init__(self, disk: Disk, codec: Codec, path: str) -> None:
        self._disk = disk
        self._codec = codec
        self.path = path
        self._id = int.from_bytes(secrets.token_bytes(8), "little")
        self._sequence = 0
        self.size = 0
        self._fd = disk.create(path)

    @classmethod
    def create(cls, disk: Disk, codec: Codec, directory: str, run_id: str) -> Segment:
        """A new segment after all that are there, on the disk together with its name.

        Raises:
            OSError: the file system refused.
        """
        numbers = [n for name in disk.names(directory) if (n := segment_number(name)) is not None]
        number = max(numbers, default=-1) + 1
        while True:
            try:
                segment = cls(disk, codec, os.path.join(directory, segment_name(number)))
                break
            except FileExistsError:  # another writer in this directory was faster
                number += 1
        try:
            segment.open(run_id)
            disk.sync_directory(directory)
        except BaseException:
            segment.abandon()
            raise
        return segment

    def open(self, run_id: str) -> None:
        """Write and sync the magic and the first record."""
        opened = Entry(
            Kind.OPENED,
            0,
            run_id.encode("utf-8", "surrogatepass")[:0xFFFF],
            OPENED.pack(FORMAT_VERSION, self._codec.store_id),
        )
        self._append(FILE_MAGIC + self._encode([opened]))
        self.sync()

    def write(self, entries: Sequence[Entry]) -> int:
        """Append records with one write; the bytes it took."""
        data = self._encode(entries)
        self._append(data)
        return len(data)

    def sync(self) -> None:
        """Return once all records are on the disk."""
        self._disk.sync(self._fd)

    def finish(self, *, sync: bool) -> None:
        """Write the closing record and give the descriptor back; abandoned if that fails."""
        try:
            self.write([Entry(Kind.CLOSED, 0, b"", CLOSED.pack(self._sequence))])
            if sync:
                self.sync()
        except BaseException:
            self.abandon()
            raise
        fd, self._fd = self._fd, -1
        self._disk.close(fd)

    def abandon(self) -> None:
        """Give the descriptor back without another word."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            close_quietly(self._disk, fd)

    def _append(self, data: bytes) -> None:
        write_all(self._disk, self._fd, data)
        self.size += len(data)

    def _encode(self, entries: Sequence[Entry]) -> bytes:
        encode = self._codec.encode
        first = self._sequence
        self._sequence += len(entries)
        return b"".join(
            [
                encode(Record(*entry, self._id, sequence))
                for sequence, entry in enumerate(entries, first)
            ]
        )
