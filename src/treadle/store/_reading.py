"""Reading one segment: scanned once from end to end, then record by record.

By `pread` and never by `mmap`: on a network file system a mapped page whose file went away is a
signal that ends the process, and a read is an error that costs one record.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator

from treadle.store._record import FILE_MAGIC, Codec, Found, Kind, Record, Scanner, unpack_key
from treadle.store.report import FileReport
from treadle.store.trust import open_trusted

CHUNK_BYTES = 4 << 20
_PAGE = 4096


def scan_segment(path: str, codec: Codec, visit: Callable[[Found], None]) -> FileReport:
    """Verify every record of a segment, and show each put to `visit`, in order.

    Raises:
        BadCheckpoint: the file cannot be trusted.
        FileNotFoundError: it is gone.
    """
    scanner = Scanner(codec)
    run_id: str | None = None
    puts = 0
    head = b""

    def take(found: list[Found]) -> int:
        nonlocal run_id
        count = 0
        for record in found:
            if record.kind in (Kind.PUT, Kind.PUT_BLOB):
                visit(record)
                count += 1
            elif record.kind == Kind.OPENED:
                run_id = unpack_key(record.flags, record.key)
        return count

    fd = open_trusted(path)
    try:
        for chunk in _chunks(fd):
            head = head or chunk[: len(FILE_MAGIC)]
            puts += take(scanner.feed(chunk))
        puts += take(scanner.finish())
    finally:
        os.close(fd)
    return FileReport(
        path=path,
        run_id=run_id,
        records=puts,
        damaged=scanner.damaged,
        bytes_skipped=scanner.bytes_skipped,
        torn=scanner.torn,
        closed=scanner.closed,
        foreign=not scanner.records and scanner.unverified > 0,
    )


def read_record(fd: int, offset: int, length: int, codec: Codec) -> Record | None:
    """The record at this place, verified again; None if it is not there any more."""
    try:
        return codec.decode(os.pread(fd, length, offset))
    except OSError:
        return None


def _chunks(fd: int) -> Iterator[bytes]:
    """The file's bytes in large pieces, as long as it was at first; unreadable pages as zeros."""
    size = os.fstat(fd).st_size
    at = 0
    while at < size:
        want = min(CHUNK_BYTES, size - at)
        try:
            chunk = os.pread(fd, want, at)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            chunk = b"".join(_page(fd, at + i, min(_PAGE, want - i)) for i in range(0, want, _PAGE))
        if not chunk:
            return
        yield chunk
        at += len(chunk)


def _page(fd: int, offset: int, size: int) -> bytes:
    try:
        return os.pread(fd, size, offset).ljust(size, b"\0")
    except OSError:
        return bytes(size)
