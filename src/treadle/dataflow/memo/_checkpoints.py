"""The memo table's side of the log: writing results, finding those of earlier runs.

What goes wrong with the log costs repeated work later, never a task now: it is counted, said
once in the log of the program, and the run goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol

from treadle.dataflow.memo.key import MemoKey
from treadle.dataflow.memo.payload import is_result_key, pack_parts, parts_key
from treadle.errors import BadCheckpoint, CheckpointWriteError
from treadle.log import logger

if TYPE_CHECKING:
    from concurrent.futures import Future

#: Where in a run's directory its checkpoint is.
CHECKPOINT_NAME = "checkpoint"

_log = logger("memoization")


class Log(Protocol):
    """What a log must do; `CheckpointLog` is the one on disk."""

    def append(self, key: str, payload: bytes) -> Any:
        """Take a record; a ticket for it."""

    def commit(self, ticket: Any = None) -> None:
        """Return once it is durable."""

    def close(self) -> None:
        """Write what is pending and let go."""


class Index(Protocol):
    """What earlier runs wrote; `CheckpointIndex` is the one on disk."""

    def get(self, key: str) -> bytes | None:
        """The payload of a key."""

    def __contains__(self, key: str) -> bool: ...

    def keys(self) -> Iterator[str]:
        """All keys, oldest first."""

    def close(self) -> None:
        """Let go."""


#: A record to be written: its key, its payload, and the key with its parts where it is known.
Record = tuple[str, bytes, MemoKey | None]


class Writer:
    """Writes results to a log that is opened with the first of them. Thread-safe.

    Args:
        open_log: opens it.
        directory: where it is.
    """

    def __init__(self, open_log: Callable[[], Log], directory: str) -> None:
        self._open_log = open_log
        self._directory = directory
        self._log: Log | None = None
        self._lost: BaseException | None = None
        self._parts_written: set[str] = set()
        self._lock = Lock()
        self.written = 0
        self.failed = 0

    @property
    def directory(self) -> str:
        """Where the checkpoint is; empty while nothing was written."""
        return self._directory if self.written else ""

    @property
    def degraded(self) -> BaseException | None:
        """Why nothing is written any more."""
        return self._lost or getattr(self._log, "degraded", None)

    def write(self, records: Iterable[Record]) -> bool:
        """Write records; whether all of them are durable when it returns."""
        records = list(records)
        if not records:
            return True
        try:
            log = self._opened()
            for name, payload, key in records:
                if key is not None:
                    self._write_parts(log, key)
                ticket = log.append(name, payload)
            log.commit(ticket)
        except (CheckpointWriteError, BadCheckpoint, OSError) as error:
            with self._lock:
                self.failed += len(records)
            self._say(error)
            return False
        with self._lock:
            self.written += len(records)
        return True

    def close(self) -> None:
        """Close the log, if there is one."""
        if self._log is None:
            return
        try:
            self._log.close()
        except (CheckpointWriteError, OSError) as error:
            self._say(error)

    def _opened(self) -> Log:
        with self._lock:
            if self._log is None:
                if self._lost is not None:
                    raise CheckpointWriteError(self._directory, str(self._lost))
                try:
                    self._log = self._open_log()
                except (CheckpointWriteError, BadCheckpoint, OSError) as error:
                    self._lost = error
                    raise
            return self._log

    def _write_parts(self, log: Log, key: MemoKey) -> None:
        if key.fixed_id and key.fixed_id not in self._parts_written:
            log.append(parts_key(key.fixed_id), pack_parts(key))
            self._parts_written.add(key.fixed_id)

    def _say(self, error: BaseException) -> None:
        if self.failed <= 1 or self.degraded is None:
            _log.warning("results are not in the checkpoint and would run again: %s", error)


class Earlier:
    """The results of earlier runs, looked up in the newest checkpoint first. Thread-safe.

    Args:
        open_index: opens checkpoint directories; `CheckpointIndex.open`.
    """

    def __init__(self, open_index: Callable[[list[str]], Index]) -> None:
        self._open_index = open_index
        self._indexes: list[Index] = []

    def load(self, directories: list[str]) -> Index | None:
        """Add checkpoints.

        Raises:
            BadCheckpoint: one of them cannot be trusted.
        """
        if not directories:
            return None
        index = self._open_index(directories)
        self._indexes = [*self._indexes, index]
        return index

    def load_what_can_be(self, directories: list[str]) -> None:
        """Add checkpoints that were found, leaving out with a warning what cannot be trusted."""
        try:
            self.load(directories)
        except BadCheckpoint:
            for directory in directories:
                try:
                    self.load([directory])
                except BadCheckpoint as error:
                    _log.warning("a checkpoint is not used: %s", error)

    def get(self, key: str) -> bytes | None:
        """The newest payload of a key that can be read."""
        for index in reversed(self._indexes):
            payload = index.get(key)
            if payload is not None:
                return payload
        return None

    def newest_keys(self, limit: int) -> list[str]:
        """The keys of results written last, oldest first."""
        keys: list[str] = []
        for index in reversed(self._indexes):
            found = [key for key in index.keys() if is_result_key(key)]  # noqa: SIM118 - no dict
            keys = found[-(limit - len(keys)) :] + keys
            if len(keys) >= limit:
                break
        return keys

    def close(self) -> None:
        """Close all of them."""
        for index in self._indexes:
            index.close()


class LoadedResults(Mapping[str, "Future[Any]"]):
    """Results by key; each is loaded when it is asked for.

    Args:
        index: where they are; None for none.
        load: makes a done future of a payload.
    """

    def __init__(self, index: Index | None, load: Callable[[bytes], Future[Any]]) -> None:
        self._index = index
        self._load = load

    def __getitem__(self, key: str) -> Future[Any]:
        payload = self._index.get(key) if self._index is not None and is_result_key(key) else None
        if payload is None:
            raise KeyError(key)
        return self._load(payload)

    def __contains__(self, key: object) -> bool:
        return (
            isinstance(key, str)
            and is_result_key(key)
            and self._index is not None
            and key in self._index
        )

    def __iter__(self) -> Iterator[str]:
        keys = () if self._index is None else self._index.keys()
        return (key for key in keys if is_result_key(key))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def checkpoint_directory(path: str | os.PathLike[str]) -> str:
    """The checkpoint directory, given itself or the directory of its run."""
    text = os.fspath(path)
    inner = os.path.join(text, CHECKPOINT_NAME)
    return inner if os.path.isdir(inner) else text
