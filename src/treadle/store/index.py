"""The reader of checkpoints: keys in memory, payloads on the disk until they are wanted.

Every record is verified when it is indexed and again when it is read, and the key stored in it
is compared with the key sought. Nothing is unpickled here, and no file is ever changed.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from treadle.errors import BadCheckpoint
from treadle.log import logger
from treadle.store._layout import segments_in_order
from treadle.store._reading import read_record, scan_segment
from treadle.store._record import Codec, Found, Kind, pack_key
from treadle.store.blob import read_blob
from treadle.store.report import FileReport, ScanReport, summarize
from treadle.store.secret import read_secret
from treadle.store.trust import check_trusted, open_trusted

if TYPE_CHECKING:
    from types import TracebackType

#: Descriptors kept open; runs may leave any number of segments.
MAX_OPEN_FILES = 32

# A place is one small int: segment, offset, length. A tuple of three would take four times as much.
_LENGTH_BITS = 24
_OFFSET_BITS = 40


class CheckpointIndex:
    """Finds payloads by key in the checkpoints it was opened with. Thread-safe."""

    def __init__(self) -> None:
        # Keys stored as raw digests are bytes here, others str: neither equals the other.
        self._places: dict[bytes | str, int] = {}
        self._segments: list[tuple[str, Codec]] = []
        self._files: list[FileReport] = []
        self._read_failures = 0
        self._open_files: OrderedDict[int, int] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls, directories: Iterable[str | os.PathLike[str]], *, strict: bool = False
    ) -> CheckpointIndex:
        """Index checkpoint directories; later ones override earlier ones.

        Damage is reported and costs the damaged records only.

        Args:
            strict: refuse checkpoints with any damage or torn tail.

        Raises:
            BadCheckpoint: a directory is missing, has no checkpoint in it, has no key in its run
                root, or something there is not ours alone; or, if strict, is damaged.
        """
        index = cls()
        for directory in dict.fromkeys(Path(d).resolve() for d in directories):
            index._add_directory(directory)
        report = index.report()
        foreign = [file.path for file in report.files if file.foreign]
        if foreign:
            logger("store").warning(
                "%s was written with another key than the one in its run root; ignored", foreign
            )
        if not report.is_clean:
            if strict:
                raise BadCheckpoint(f"{_worst(report)} is damaged ({report}); strict refuses it")
            logger("store").warning("damaged checkpoint: %s; worst is %s", report, _worst(report))
        return index

    def __enter__(self) -> CheckpointIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: str) -> bool:
        return _index_key(*pack_key(key)) in self._places

    def keys(self) -> Iterator[str]:
        """The keys, in the order in which they were first written."""
        for key in self._places:
            yield key.hex() if isinstance(key, bytes) else key

    def get(self, key: str) -> bytes | None:
        """The latest payload of a key; None if there is none, or it is damaged by now (counted).

        Raises:
            BadCheckpoint: the file that has it is not ours alone any more.
        """
        flags, raw = pack_key(key)
        place = self._places.get(_index_key(flags, raw))
        if place is None or self._closed:
            return None
        number, offset, length = unpack_place(place)
        path, codec = self._segments[number]
        payload: bytes | None = None
        with self._lock:
            # Under the lock, since another thread may close the descriptor to make room.
            fd = self._descriptor(number)
            record = None if fd is None else read_record(fd, offset, length, codec)
        if record is not None and (record.flags, record.key) == (flags, raw):
            payload = record.payload
            if record.kind == Kind.PUT_BLOB:
                payload = read_blob(codec, os.path.dirname(path), payload)
        if payload is None:
            with self._lock:
                self._read_failures += 1
        return payload

    def report(self) -> ScanReport:
        """What was found so far."""
        return summarize(self._files, read_failures=self._read_failures)

    def close(self) -> None:
        """Give the descriptors back; every `get` is None from now on."""
        with self._lock:
            self._closed = True
            while self._open_files:
                os.close(self._open_files.popitem()[1])

    def _add_directory(self, directory: Path) -> None:
        try:
            names = os.listdir(directory)
        except OSError as error:
            raise BadCheckpoint(
                f"checkpoint {directory} cannot be read: {error.strerror}"
            ) from error
        segments = segments_in_order(names)
        if not segments:
            hint = " (a tasks.pkl of Parsl is not loaded: that could run code)"
            raise BadCheckpoint(
                f"there is no checkpoint in {directory}{hint if 'tasks.pkl' in names else ''}; "
                f"it must have files segment-<n>.tlog, as <run root>/NNN/checkpoint has"
            )
        check_trusted(directory)
        codec = Codec(read_secret(directory.parents[min(1, len(directory.parents) - 1)]))
        for name in segments:
            self._add_segment(os.path.join(directory, name), codec)

    def _add_segment(self, path: str, codec: Codec) -> None:
        number = len(self._segments)
        places = self._places
        base = number << (_OFFSET_BITS + _LENGTH_BITS)

        def visit(found: Found) -> None:
            key = _index_key(found.flags, found.key)
            places[key] = base | found.offset << _LENGTH_BITS | found.length

        self._segments.append((path, codec))
        try:
            self._files.append(scan_segment(path, codec, visit))
        except OSError as error:
            raise BadCheckpoint(f"{path} cannot be read: {error.strerror}") from error

    def _descriptor(self, number: int) -> int | None:
        fd = self._open_files.pop(number, None)
        if fd is None:
            if self._closed:
                return None
            try:
                fd = open_trusted(self._segments[number][0])
            except FileNotFoundError:
                return None
        self._open_files[number] = fd
        if len(self._open_files) > MAX_OPEN_FILES:
            os.close(self._open_files.popitem(last=False)[1])
        return fd


def unpack_place(place: int) -> tuple[int, int, int]:
    """Number of the segment, offset and length."""
    return (
        place >> (_OFFSET_BITS + _LENGTH_BITS),
        (place >> _LENGTH_BITS) & ((1 << _OFFSET_BITS) - 1),
        place & ((1 << _LENGTH_BITS) - 1),
    )


def _index_key(flags: int, raw: bytes) -> bytes | str:
    return raw if flags else raw.decode("utf-8", "surrogatepass")


def _worst(report: ScanReport) -> str:
    return max(report.files, key=lambda file: (file.damaged, file.bytes_skipped)).path
