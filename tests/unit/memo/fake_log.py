"""A checkpoint in memory: what `CheckpointLog` and `CheckpointIndex` promise, and faults on order."""

from __future__ import annotations

from collections.abc import Iterator

from treadle.errors import BadCheckpoint, CheckpointWriteError


class FakeLog:
    """A log whose records are in a dict; only what was committed counts."""

    def __init__(self, disk: FakeDisk, directory: str) -> None:
        self._disk = disk
        self._directory = directory
        self._taken: list[tuple[str, bytes]] = []
        self.degraded: BaseException | None = None
        self.closed = False

    def append(self, key: str, payload: bytes) -> int:
        assert type(key) is str
        assert type(payload) is bytes
        self._check()
        self._taken.append((key, payload))
        return len(self._taken)

    def commit(self, ticket: object = None) -> None:
        self._check()
        if self._disk.full:
            self.degraded = OSError("no space left")
            self._check()
        self._disk.records.setdefault(self._directory, {}).update(self._taken)
        self._taken.clear()
        self._disk.commits += 1

    def close(self) -> None:
        if self.degraded is None and not self.closed:
            self.commit()
        self.closed = True

    def _check(self) -> None:
        if self.degraded is not None or self.closed:
            raise CheckpointWriteError(self._directory, str(self.degraded or "the log is closed"))


class FakeIndex:
    """What was committed when it was opened."""

    def __init__(self, records: dict[str, bytes]) -> None:
        self._records = records

    def get(self, key: str) -> bytes | None:
        return self._records.get(key)

    def __contains__(self, key: str) -> bool:
        return key in self._records

    def keys(self) -> Iterator[str]:
        return iter(self._records)

    def close(self) -> None:
        self._records = {}


class FakeDisk:
    """All directories."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, bytes]] = {}
        self.full = False
        self.commits = 0
        self.opened = 0

    def open_log(self, directory: str) -> FakeLog:
        self.opened += 1
        return FakeLog(self, directory)

    def open_index(self, directories: list[str]) -> FakeIndex:
        records: dict[str, bytes] = {}
        for directory in directories:
            if directory not in self.records:
                raise BadCheckpoint(f"{directory} is missing")
            records.update(self.records[directory])
        return FakeIndex(records)

    def results(self, directory: str) -> list[str]:
        """The keys of results there."""
        return [key for key in self.records.get(directory, {}) if not key.startswith("parts ")]
