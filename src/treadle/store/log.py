"""The writer of a checkpoint: keys and payloads in, records on the disk.

What `commit` has returned for survives `kill -9` always, and a power cut when the durability is
'power'. An error of the disk costs the descriptor, never a record: all that is not acknowledged
is written again to a new segment. If that fails too, or the disk is full, the log says so, is
degraded from then on, and the program goes on without checkpoints.
"""

from __future__ import annotations

import errno
import os
import secrets
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from treadle.errors import CheckpointWriteError
from treadle.log import logger
from treadle.store._group import GroupCommit, GroupFailed, Ticket
from treadle.store._layout import CHECKPOINT_NAME, TEMPORARY_SUFFIX
from treadle.store._record import MAX_INLINE_BYTES, Codec, Kind, pack_key
from treadle.store.blob import write_blob
from treadle.store.disk import Disk, RealDisk, close_quietly
from treadle.store.segment import Entry, Segment
from treadle.store.trust import check_trusted, make_directory

if TYPE_CHECKING:
    from types import TracebackType

Durability = Literal["process", "power"]

#: Space kept so that a full disk still takes what is pending and a closing record.
RESERVE_BYTES = 1 << 20
#: A segment that has this many bytes is ended and the next one begun.
SEGMENT_BYTES = 64 << 20
#: One write takes at most about this much, and so does the buffer of what nobody committed.
GROUP_BYTES = 256 << 10

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStatistics:
    """What a log has done so far."""

    #: Records acknowledged.
    records: int
    #: Bytes of these records in segments; blobs are not counted.
    bytes: int
    #: Segments begun.
    segments: int
    #: Errors of the file system, those included that cost nothing.
    errors: int


class CheckpointLog:
    """Appends records to segments of its own in one checkpoint directory. Thread-safe.

    Args:
        directory: made if missing; must be ours alone.
        secret: of the store, from `load_or_create_secret`.
        run_id: noted in each segment, for people.
        durability: what an acknowledged record survives: 'process' the death of the process,
            'power' that of the machine.

    Raises:
        BadCheckpoint: the directory cannot be trusted.
        CheckpointWriteError: its file system takes no file.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        secret: bytes,
        *,
        run_id: str,
        durability: Durability = "process",
        segment_bytes: int = SEGMENT_BYTES,
        disk: Disk | None = None,
    ) -> None:
        if durability not in ("process", "power"):
            raise ValueError(f"durability is 'process' or 'power', not {durability!r}")
        self.directory = Path(os.path.abspath(directory))
        self._where = str(self.directory)
        self._run_id = run_id
        self._power = durability == "power"
        self._segment_bytes = segment_bytes
        self._disk = disk or RealDisk()
        self._codec = Codec(secret)
        self._pid = os.getpid()
        self._records = self._bytes = self._segments = self._errors = 0
        self._degraded: BaseException | None = None
        self._reserve_fd = -1
        self._closed = False
        self._closing = threading.Lock()
        self._group = GroupCommit[Entry](
            self._write_group, size_of=lambda entry: entry.size, group_bytes=GROUP_BYTES
        )
        if disk is None:
            make_directory(self.directory)
            check_trusted(self.directory)
        try:
            self._segment = self._new_segment()
        except OSError as error:
            raise CheckpointWriteError(self._where, str(error)) from error
        self._reserve()

    def __enter__(self) -> CheckpointLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def degraded(self) -> BaseException | None:
        """Why nothing is written any more; None while all is well."""
        return self._degraded

    def append(self, key: str, payload: bytes) -> Ticket:
        """Take a record; it is durable once `commit` has returned for its ticket.

        A later record of a key overrides an earlier one. A payload of more than 1 MiB is
        written to a file of its own at once.

        Raises:
            CheckpointWriteError: the log is degraded or closed, or a large payload's file
                could not be written (the log goes on).
        """
        return self._add([self._entry(key, payload)])

    def append_many(self, items: Iterable[tuple[str, bytes]]) -> Ticket:
        """Take several records; the ticket stands for all of them.

        Raises:
            CheckpointWriteError: as for `append`; then none of them is taken.
        """
        return self._add([self._entry(key, payload) for key, payload in items])

    def commit(self, ticket: Ticket | None = None) -> None:
        """Return once the ticket's records are written, or all that were taken until now.

        Raises:
            CheckpointWriteError: they are lost; the log is degraded.
        """
        self._check_process()
        try:
            self._group.wait(ticket)
        except GroupFailed as failure:
            raise self._lost() from failure.__cause__

    def flush(self) -> None:
        """The same as `commit()`."""
        self.commit()

    def statistics(self) -> LogStatistics:
        """What the log has done so far."""
        return LogStatistics(
            records=self._records, bytes=self._bytes, segments=self._segments, errors=self._errors
        )

    def close(self) -> None:
        """Write what is pending and the closing record, sync, and let go.

        A second call does nothing, nor does one in a forked child.

        Raises:
            CheckpointWriteError: records were lost, or may be in a power cut.
        """
        with self._closing:
            if self._closed or os.getpid() != self._pid:
                return
            self._closed = True
            try:
                if self._degraded is None:
                    self.commit()
            finally:
                # Whoever was about to append is refused now, and whoever writes ends first.
                self._group.fail(ValueError("the log is closed"))
                self._group.wait_idle()
                try:
                    self._finish()
                finally:
                    self._segment.abandon()
                    self._release()

    def _finish(self) -> None:
        if self._degraded is not None:
            return
        self._release()
        try:
            self._segment.finish(sync=True)
        except OSError as error:
            self._errors += 1
            self._degrade(error)
            raise self._lost() from error

    def _entry(self, key: str, payload: bytes) -> Entry:
        self._check_process()
        if self._degraded is not None or self._closed:
            raise self._lost()
        flags, raw = pack_key(key)
        if len(payload) <= MAX_INLINE_BYTES:
            return Entry(Kind.PUT, flags, raw, payload)
        try:
            reference = write_blob(
                self._disk, self._codec, self._where, payload, durable=self._power
            )
        except OSError as error:
            # The small records may still fit, so the log goes on.
            self._errors += 1
            raise CheckpointWriteError(
                self._where, f"a payload of {len(payload)} bytes: {error}"
            ) from error
        return Entry(Kind.PUT_BLOB, flags, raw, reference)

    def _add(self, entries: Sequence[Entry]) -> Ticket:
        try:
            ticket = self._group.add(entries)
            if self._group.pending_bytes >= GROUP_BYTES:
                self._group.wait(ticket)
        except GroupFailed as failure:
            raise self._lost() from failure.__cause__
        return ticket

    # --- in the leader's thread, one at a time ---------------------------------------------------

    def _write_group(self, entries: Sequence[Entry]) -> None:
        try:
            self._write(entries)
        except OSError as error:
            self._errors += 1
            self._write_again(entries, error)
        except BaseException:  # an interrupt, anywhere: what the file got is not known
            self._segment.abandon()
            raise

    def _write(self, entries: Sequence[Entry]) -> None:
        if self._segment.size >= self._segment_bytes:
            self._segment.finish(sync=self._power)
            self._segment = self._new_segment()
        size = self._segment.write(entries)
        if self._power:
            self._segment.sync()
        self._bytes += size
        self._records += len(entries)

    def _write_again(self, entries: Sequence[Entry], error: OSError) -> None:
        """Write a group to a new segment, after an error; GroupFailed if that fails too."""
        self._segment.abandon()
        full = error.errno in _FULL
        if full:
            self._release()
        try:
            self._segment = self._new_segment()
            self._write(entries)
        except OSError as second:
            self._errors += 1
            self._segment.abandon()
            self._degrade(second)
            raise GroupFailed from second
        if full and not self._reserve():
            self._end_on_full_disk(error)

    def _end_on_full_disk(self, error: OSError) -> None:
        """The reserve took what was pending; close in order while there is room for that."""
        try:
            self._segment.finish(sync=True)
        except OSError:
            self._errors += 1
        self._degrade(error)

    def _new_segment(self) -> Segment:
        segment = Segment.create(self._disk, self._codec, self._where, self._run_id)
        self._segments += 1
        return segment

    def _reserve(self) -> bool:
        name = f"reserve-{secrets.token_hex(4)}{TEMPORARY_SUFFIX}"
        try:
            self._reserve_fd = self._disk.reserve(os.path.join(self._where, name), RESERVE_BYTES)
        except OSError:
            return False
        return True

    def _release(self) -> None:
        if self._reserve_fd >= 0:
            fd, self._reserve_fd = self._reserve_fd, -1
            close_quietly(self._disk, fd)

    def _degrade(self, cause: BaseException) -> None:
        self._degraded = cause
        self._group.fail(cause)
        self._release()
        logger("store").warning(
            "checkpoint %s is not written any more: %s; the run goes on without it",
            self._where,
            cause,
        )

    # --- words -----------------------------------------------------------------------------------

    def _lost(self) -> CheckpointWriteError:
        if self._degraded is not None:
            return CheckpointWriteError(self._where, str(self._degraded))
        return CheckpointWriteError(self._where, "the log is closed")

    def _check_process(self) -> None:
        if os.getpid() != self._pid:
            raise CheckpointWriteError(
                self._where, f"only process {self._pid}, which opened the log, may write to it"
            )


def new_checkpoint_directory(run_dir: str | os.PathLike[str]) -> Path:
    """The checkpoint directory of a run, made for us alone; its path is absolute.

    Raises:
        BadCheckpoint: one is there that is not ours alone.
    """
    directory = make_directory(Path(os.path.abspath(run_dir)) / CHECKPOINT_NAME)
    check_trusted(directory)
    return directory
