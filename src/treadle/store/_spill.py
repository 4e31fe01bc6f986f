"""Objects on disk: in files that have no name, with a checksum each.

Objects share files as they share memory, and what is freed is punched out of them. Nothing is
synced: an object on disk is as mortal as one in memory. All calls may be made from any thread.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Callable
from typing import Final
from zlib import crc32

from treadle.errors import StoreDamaged
from treadle.store._memory import punch, read_into, write_pieces
from treadle.store._packing import Packing

#: A file that objects share; it occupies what is in use of it.
FILE_BYTES: Final = 1 << 30
#: Larger objects have files of their own.
SHARED_BYTES: Final = 256 << 20
_RANGE_BYTES: Final = 1 << 20
#: What is read or written at a time.
PIECE_BYTES: Final = 1 << 20

#: Gives, or takes, so many bytes of an object from an offset on.
Read = Callable[[memoryview, int], None]
Write = Callable[[memoryview, int], None]


class _File:
    __slots__ = ("fd", "packing")

    def __init__(self, fd: int, capacity: int) -> None:
        self.fd = fd
        self.packing = Packing(capacity, _RANGE_BYTES)


class OnDisk:
    """An object that is in a file."""

    __slots__ = ("checksum", "file", "nbytes", "offset")

    def __init__(self, file: _File, offset: int, nbytes: int) -> None:
        self.file = file
        self.offset = offset
        self.nbytes = nbytes
        self.checksum = 0


class SpillFiles:
    """The files in one directory, which is made when the first is."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._made = False
        self._lock = threading.Lock()
        self._files: set[_File] = set()
        #: Where objects are put now.
        self._open: _File | None = None

    def write(self, nbytes: int, read: Read) -> OnDisk:
        """Put an object on disk, piece by piece as `read` gives it.

        Raises:
            OSError: the file system refused; nothing is left behind.
        """
        place = self._place(nbytes)
        buffer = bytearray(min(nbytes, PIECE_BYTES))
        fd = -1
        try:
            fd = self._descriptor(place.file)
            checksum = 0
            for offset in range(0, nbytes, PIECE_BYTES):
                with memoryview(buffer)[: min(PIECE_BYTES, nbytes - offset)] as piece:
                    read(piece, offset)
                    checksum = crc32(piece, checksum)
                    write_pieces(fd, [piece], place.offset + offset)
            if hasattr(os, "posix_fadvise"):
                # It is in the system's cache now: that it leaves memory is what it is written for.
                os.posix_fadvise(fd, place.offset, nbytes, os.POSIX_FADV_DONTNEED)
        except BaseException:
            self.free(place)
            raise
        finally:
            if fd >= 0:
                os.close(fd)
        place.checksum = checksum
        return place

    def read(self, place: OnDisk, write: Write) -> None:
        """Bring an object back, piece by piece to where `write` puts it.

        Raises:
            OSError: the file system refused.
            StoreDamaged: it is not what was written.
        """
        nbytes = place.nbytes
        fd = self._descriptor(place.file)
        buffer = bytearray(min(nbytes, PIECE_BYTES))
        checksum = 0
        try:
            for offset in range(0, nbytes, PIECE_BYTES):
                with memoryview(buffer)[: min(PIECE_BYTES, nbytes - offset)] as piece:
                    read_into(fd, piece, place.offset + offset)
                    checksum = crc32(piece, checksum)
                    write(piece, offset)
        finally:
            os.close(fd)
        if checksum != place.checksum:
            raise StoreDamaged(
                f"an object of {nbytes} bytes came back from the disk changed (checksum "
                f"{checksum:08x}, written {place.checksum:08x}; directory {self._directory})"
            )

    def free(self, place: OnDisk) -> None:
        """The object is not needed any more."""
        file = place.file
        with self._lock:
            if file not in self._files:
                return
            file.packing.free(place.offset, max(place.nbytes, 1))
            if not file.packing.live and file is not self._open:
                self._files.remove(file)
                os.close(file.fd)
                return
            punch(file.fd, file.packing.take_punchable())

    def close(self) -> None:
        """Let go of everything."""
        with self._lock:
            for file in self._files:
                os.close(file.fd)
            self._files.clear()
            self._open = None
            if self._made:
                with contextlib.suppress(OSError):
                    os.rmdir(self._directory)

    def _descriptor(self, file: _File) -> int:
        """One of the caller's own: the files may be closed meanwhile."""
        with self._lock:
            if file not in self._files:
                raise OSError(errno.EBADF, "the files of spilled objects are closed")
            return os.dup(file.fd)

    def _place(self, nbytes: int) -> OnDisk:
        nbytes, real = max(nbytes, 1), nbytes
        with self._lock:
            file, offset = self._open, None
            if nbytes > SHARED_BYTES:
                file = self._new_file(nbytes)
                offset = file.packing.place(nbytes)
            elif file is not None:
                offset = file.packing.place(nbytes)
            if offset is None:
                fresh = self._new_file(FILE_BYTES)
                if file is not None and not file.packing.live:
                    self._files.remove(file)
                    os.close(file.fd)
                self._open = file = fresh
                offset = fresh.packing.place(nbytes)
            assert file is not None
            assert offset is not None
            return OnDisk(file, offset, real)

    def _new_file(self, capacity: int) -> _File:
        if not self._directory:
            raise OSError(errno.ENOSPC, "this worker has no directory to spill to")
        if not os.path.isdir(self._directory):
            os.makedirs(self._directory, 0o700, exist_ok=True)
            self._made = True
        file = _File(open_unlinked(self._directory), capacity)
        self._files.add(file)
        return file


def open_unlinked(directory: str) -> int:
    """A file that has no name, or none for long.

    Raises:
        OSError: there can be none.
    """
    flag = getattr(os, "O_TMPFILE", 0)
    if flag:
        try:
            return os.open(directory, flag | os.O_RDWR | os.O_CLOEXEC, 0o600)
        except OSError as error:
            # What file systems and kernels say that do not know it.
            if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL):
                raise
    import tempfile  # noqa: PLC0415 - hardly ever

    fd, path = tempfile.mkstemp(prefix="treadle-spill-", dir=directory)
    os.unlink(path)
    return fd
