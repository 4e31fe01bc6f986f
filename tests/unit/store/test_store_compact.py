from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from tests.unit.store.disks import FaultDisk, Plan, PowerDisk
from tests.unit.store.places import checkpoint, contents, key, replace_bytes, written
from treadle.errors import BadCheckpoint
from treadle.store import CheckpointIndex, CheckpointLog, compact, load_or_create_secret

LARGE, OLD = b"large" * 300_000, b"older" * 300_000


def many(root: Path) -> tuple[Path, bytes, dict[str, bytes]]:
    """Several segments with overridden records and blobs, and what they say in the end."""
    directory, secret = checkpoint(root)
    expected: dict[str, bytes] = {}
    with CheckpointLog(directory, secret, run_id="000", segment_bytes=400) as log:
        for n in range(30):
            name = key(n % 12)
            expected[name] = b"%d" % n
            log.commit(log.append(name, expected[name]))
        for payload in (OLD, LARGE):
            log.commit(log.append("large", payload))
    expected["large"] = LARGE
    return directory, secret, expected


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_one_segment_with_the_latest_records_remains(tmp_path: Path) -> None:
    directory, secret, expected = many(tmp_path)
    newest = max(name for name in names(directory) if name.startswith("segment"))
    (directory / "blob-left.tmp").write_bytes(b"unfinished")
    assert compact(directory, secret) == directory / newest
    assert contents(directory) == expected
    assert [name[:5] for name in names(directory)] == ["blob-", "segme"]
    with CheckpointIndex.open([directory], strict=True) as index:
        report = index.report()
        assert report.records == len(expected)
        assert report.files[0].closed
        assert report.files[0].run_id == "000"


def test_what_is_written_after_a_compaction_overrides_it(tmp_path: Path) -> None:
    directory, secret, expected = many(tmp_path)
    compact(directory, secret)
    with CheckpointLog(directory, secret, run_id="000") as log:
        log.append(key(0), b"new")
    assert contents(directory) == expected | {key(0): b"new"}
    compact(directory, secret)
    assert contents(directory) == expected | {key(0): b"new"}


def test_a_failure_of_any_step_leaves_a_valid_set(tmp_path: Path) -> None:
    step = 0
    while True:
        directory, secret, expected = many(tmp_path / str(step))
        disk = FaultDisk(broken_from(step))
        try:
            compact(directory, secret, disk=disk)
        except OSError:
            failed = True
        else:
            failed = False
        assert contents(directory) == expected, disk.calls
        compact(directory, secret)
        assert contents(directory) == expected, disk.calls
        assert len(names(directory)) == 2
        if not failed:
            break
        step += 1
    assert step > 10


def broken_from(step: int) -> Plan:
    return lambda name, number: errno.EIO if number >= step else None


class Cut(BaseException):
    """The power is gone."""


def test_a_power_cut_at_any_step_leaves_a_valid_set(tmp_path: Path, rng: random.Random) -> None:
    for step in range(40):
        directory, secret, expected = many(tmp_path / str(step))
        disk = CutDisk(step)
        disk.adopt(directory)
        try:
            compact(directory, secret, disk=disk)
        except Cut:
            pass
        for again in range(3):
            root = tmp_path / f"{step}-{again}"
            load_or_create_secret(root)
            (root / ".key").write_bytes(secret)
            disk.power_cut(root / "000" / "checkpoint", rng)
            (root / "000").chmod(0o700)
            assert contents(root / "000" / "checkpoint") == expected


class CutDisk(PowerDisk):
    def __init__(self, step: int) -> None:
        super().__init__()
        self.left = step

    def _count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Cut

    def create(self, path: str) -> int:
        self._count()
        return super().create(path)

    def write(self, fd: int, data: bytes) -> int:
        self._count()
        return super().write(fd, data)

    def sync(self, fd: int) -> None:
        self._count()
        super().sync(fd)

    def rename(self, source: str, target: str) -> None:
        self._count()
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._count()
        super().unlink(path)

    def sync_directory(self, directory: str) -> None:
        self._count()
        super().sync_directory(directory)


def test_a_log_that_is_being_written_is_not_compacted(tmp_path: Path) -> None:
    directory, secret = checkpoint(tmp_path)
    with CheckpointLog(directory, secret, run_id="000") as log:
        log.commit(log.append("a", b"1"))
        with pytest.raises(BadCheckpoint, match="is being written"):
            compact(directory, secret)
        log.commit(log.append("b", b"2"))
    compact(directory, secret)
    assert contents(directory) == {"a": b"1", "b": b"2"}


def test_an_index_that_is_open_finds_what_it_had_read_or_nothing(tmp_path: Path) -> None:
    directory, secret, expected = many(tmp_path)
    with CheckpointIndex.open([directory]) as index:
        index.get(key(0))
        compact(directory, secret)
        for name, payload in expected.items():
            assert index.get(name) in (payload, None)


def test_damaged_records_are_not_carried_over(tmp_path: Path) -> None:
    directory = written(tmp_path, {"a": b"1" * 50, "b": b"2" * 50})
    (segment,) = directory.iterdir()
    replace_bytes(segment, segment.read_bytes().index(b"1" * 50), b"?")
    compact(directory, load_or_create_secret(tmp_path))
    with CheckpointIndex.open([directory], strict=True) as index:
        assert list(index.keys()) == ["b"]


def test_what_cannot_be_compacted_is_left_alone(tmp_path: Path) -> None:
    directory = written(tmp_path, {"a": b"1"})
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with pytest.raises(BadCheckpoint, match="another key"):
        compact(directory, bytes(32))
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    with pytest.raises(BadCheckpoint, match="nothing to compact"):
        compact(tmp_path, bytes(32))
