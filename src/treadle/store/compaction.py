"""Compaction: one segment that holds the latest record of each key, in place of all others.

The steps and why a crash after any of them leaves a valid set:

1. write the records to a temporary file and sync it: readers do not see it;
2. rename it over the *newest* segment and sync the directory: it overrides what is older and
   holds all that the replaced one held;
3. unlink the older segments, oldest first: everything in them is overridden already;
4. unlink blobs that no record speaks of any more.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from treadle.errors import BadCheckpoint
from treadle.store._layout import TEMPORARY_SUFFIX, blob_name, is_blob, segments_in_order
from treadle.store._reading import read_record, scan_segment
from treadle.store._record import Codec, Found, Kind
from treadle.store.blob import REFERENCE, remove_quietly
from treadle.store.disk import Disk, RealDisk, lock
from treadle.store.segment import Entry, Segment
from treadle.store.trust import check_trusted, open_trusted

_GROUP_BYTES = 1 << 20


def compact(directory: str | os.PathLike[str], secret: bytes, *, disk: Disk | None = None) -> Path:
    """Replace the segments of a checkpoint by one; the path of it.

    Only for a run that has ended: it must be the directory's only user. Records that are damaged
    already are not carried over.

    Raises:
        BadCheckpoint: there is no segment, something is not ours alone, or a log is open here.
        OSError: the file system refused; the checkpoint is as valid as before.
    """
    where = os.path.abspath(directory)
    check_trusted(where)
    names = os.listdir(where)
    segments = segments_in_order(names)
    if not segments:
        raise BadCheckpoint(f"there is no checkpoint in {where}; nothing to compact")
    locked: list[int] = []
    try:
        for name in segments:
            locked.append(open_trusted(os.path.join(where, name)))
            if not lock(locked[-1]):
                raise BadCheckpoint(
                    f"{os.path.join(where, name)} is being written or compacted; compact a "
                    f"checkpoint when its run has ended"
                )
        return Path(_compact(where, names, segments, locked, Codec(secret), disk or RealDisk()))
    finally:
        for fd in locked:
            os.close(fd)


def _compact(
    where: str, names: list[str], segments: list[str], fds: list[int], codec: Codec, disk: Disk
) -> str:
    latest: dict[tuple[int, bytes], tuple[int, int, int]] = {}
    run_id = ""
    for number, name in enumerate(segments):

        def visit(found: Found, number: int = number) -> None:
            latest[found.flags, found.key] = (number, found.offset, found.length)

        report = scan_segment(os.path.join(where, name), codec, visit)
        run_id = report.run_id or run_id
        if report.foreign:
            raise BadCheckpoint(f"{report.path} was written with another key; nothing compacted")
    temporary = os.path.join(where, f"compact-{secrets.token_hex(8)}{TEMPORARY_SUFFIX}")
    target = os.path.join(where, segments[-1])
    segment = Segment(disk, codec, temporary)
    try:
        blobs = _copy(segment, latest, fds, codec, run_id)
        disk.rename(temporary, target)
    except BaseException:
        segment.abandon()
        remove_quietly(disk, temporary)
        raise
    disk.sync_directory(where)
    for name in segments[:-1]:
        disk.unlink(os.path.join(where, name))
    for name in names:
        unfinished = name.endswith(TEMPORARY_SUFFIX)
        if unfinished or (is_blob(name) and name not in blobs):
            remove_quietly(disk, os.path.join(where, name))
    return target


def _copy(
    segment: Segment,
    latest: dict[tuple[int, bytes], tuple[int, int, int]],
    fds: list[int],
    codec: Codec,
    run_id: str,
) -> set[str]:
    """Write the latest records and the closing one, synced; the names of their blobs."""
    segment.open(run_id)
    blobs: set[str] = set()
    group: list[Entry] = []
    size = 0
    for number, offset, length in latest.values():
        record = read_record(fds[number], offset, length, codec)
        if record is None:  # damaged since it was scanned
            continue
        if record.kind == Kind.PUT_BLOB:
            blobs.add(blob_name(REFERENCE.unpack(record.payload)[0]))
        group.append(Entry(record.kind, record.flags, record.key, record.payload))
        size += length
        if size >= _GROUP_BYTES:
            segment.write(group)
            group, size = [], 0
    segment.write(group)
    segment.finish(sync=True)
    return blobs
