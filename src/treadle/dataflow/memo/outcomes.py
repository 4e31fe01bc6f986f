"""Outcomes by key: in memory within a budget, in the checkpoint of this run, in those of others.

What never changes is kept as it is, everything else as its pickle: each who asks gets a copy of
his own. User code (pickling, unpickling) runs in the thread of the one who asks or stores, never
under a lock.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

from treadle.dataflow.futures import LazyFuture
from treadle.dataflow.memo._reach import is_frozen
from treadle.dataflow.memo.payload import load, pack
from treadle.dataflow.memo.table import Entry, ResultTable, entry_size
from treadle.errors import DeserializationError, SerializationError
from treadle.log import logger
from treadle.serialize import dumps_result

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.dataflow.memo._checkpoints import Earlier, Index, Record, Writer
    from treadle.dataflow.memo.key import MemoKey

#: Outcomes that wait for their checkpoint are written early beyond this: writing is never wrong.
_PENDING_BYTES = 64 << 20

_log = logger("memoization")


class Outcomes:
    """Finds and keeps the outcomes of calls. Thread-safe.

    Args:
        table: those in memory.
        earlier: those of earlier runs.
        writer: the checkpoint of this run.
        open_index: opens it for reading.
        write: 'at once', 'later' (by `write_pending`) or 'never' (but by `write_table`).
        failures: failures are given again, too.
    """

    def __init__(
        self,
        *,
        table: ResultTable,
        earlier: Earlier,
        writer: Writer,
        open_index: Callable[[list[str]], Index],
        write: str,
        failures: bool,
    ) -> None:
        self.table = table
        self.earlier = earlier
        self.writer = writer
        self._open_index = open_index
        self._own: Index | None = None
        self._write = write
        self._failures = failures
        self._pending: dict[str, Record] = {}
        self._pending_bytes = 0
        self._lock = Lock()
        #: Results that cannot be pickled; records that could not be loaded.
        self.unpicklable = 0
        self.load_errors = 0

    # --- finding ---------------------------------------------------------------------------------

    def find(self, digest: str) -> Future[Any] | None:
        """A done future with the outcome of a key; None if it is not known."""
        entry = self.table.get(digest)
        if entry is not None:
            if entry.failed and not self._failures:
                return None
            if entry.payload is None:
                return done(entry.value, failed=entry.failed)
            found = self._load(digest, entry.payload)
            if found is not None:
                return found
            self.table.drop(digest)
        payload = self._own_payload(digest) or self.earlier.get(digest)
        if payload is None:
            return None
        found = self._load(digest, payload)
        if found is not None:
            self._remember(digest, payload)
        return found

    def load_or_fail(self, payload: bytes) -> Future[Any]:
        """A done future of a record; it fails with what kept the record from being loaded."""
        try:
            failed, value = load(payload)
        except DeserializationError as error:
            return done(error, failed=True)
        return done(value, failed=failed)

    def _load(self, digest: str, payload: bytes) -> Future[Any] | None:
        try:
            failed, value = load(payload)
        except DeserializationError as error:
            with self._lock:
                self.load_errors += 1
                first = self.load_errors == 1
            if first:
                _log.warning("a kept result cannot be loaded, so its call runs again: %s", error)
            return None
        if failed and not self._failures:
            return None
        return done(value, failed=failed)

    def _remember(self, digest: str, payload: bytes) -> None:
        size = entry_size(payload, None)
        if size <= self.table.budget:
            self.table.put(digest, Entry(payload, None, failed=False, logged=True, size=size))

    def _own_payload(self, digest: str) -> bytes | None:
        """From the log of this run, whose index is made when memory had to let go of a result."""
        if not self.table.is_elsewhere(digest):
            return None
        index = self._own
        if index is None or digest not in index:
            index = self._open_index([self.writer.directory])
            old, self._own = self._own, index
            if old is not None:
                old.close()
        return index.get(digest)

    # --- keeping ---------------------------------------------------------------------------------

    def keep(self, digest: str, key: MemoKey | None, value: Any, *, failed: bool) -> bool:
        """Keep an outcome; whether it is in the checkpoint now."""
        frozen = not failed and is_frozen(value)
        payload = None
        if self._write != "never" or not frozen:
            payload = self._pack(key, value, failed=failed)
        logged = False
        if payload is not None and self._write == "at once":
            logged = self.writer.write([(digest, payload, key)])
        kept = None if frozen else payload
        size = entry_size(kept, value)
        if size <= self.table.budget:
            held = value if kept is None else None
            self.table.put(digest, Entry(kept, held, failed=failed, logged=logged, size=size))
        if payload is not None and self._write == "later":
            self._wait(digest, payload, key)
        return logged

    def _pack(self, key: MemoKey | None, value: Any, *, failed: bool) -> bytes | None:
        try:
            return pack(key, dumps_result(value), failed=failed)
        except SerializationError as error:
            with self._lock:
                self.unpicklable += 1
                first = self.unpicklable == 1
            if first:
                name = key.app if key else "an app"
                _log.warning(
                    "a result of %s is kept in this run only, and not in a checkpoint: %s",
                    name,
                    error,
                )
            return None

    def _wait(self, digest: str, payload: bytes, key: MemoKey | None) -> None:
        with self._lock:
            self._pending[digest] = (digest, payload, key)
            self._pending_bytes += len(payload)
            full = self._pending_bytes > _PENDING_BYTES
        if full:
            self.write_pending(None)

    def write_pending(self, wanted: set[str | None] | None) -> None:
        """Write what waits for a checkpoint, or only some of it."""
        with self._lock:
            taken = {
                digest: record
                for digest, record in self._pending.items()
                if wanted is None or digest in wanted
            }
            for digest, record in taken.items():
                del self._pending[digest]
                self._pending_bytes -= len(record[1])
        if taken and self.writer.write(taken.values()):
            for digest in taken:
                self.table.note_logged(digest)

    def write_table(self, wanted: set[str | None] | None) -> None:
        """Write what is in memory and in no checkpoint of this run."""
        records = []
        for digest, entry in self.table.items():
            if entry.logged or (wanted is not None and digest not in wanted):
                continue
            payload = entry.payload or self._pack(None, entry.value, failed=entry.failed)
            if payload is not None:
                records.append((digest, payload, None))
        if records and self.writer.write(records):
            for digest, _, _ in records:
                self.table.note_logged(digest)

    def close(self) -> None:
        """Let go of what is open for reading and writing."""
        self.writer.close()
        self.earlier.close()
        if self._own is not None:
            self._own.close()


def done(value: Any, *, failed: bool) -> Future[Any]:
    """A future that is done."""
    future: Future[Any] = LazyFuture()
    if failed:
        future.set_exception(value)
    else:
        future.set_result(value)
    return future
