from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest

from tests.unit.store.places import (
    checkpoint,
    contents,
    key,
    only_segment,
    replace_bytes,
    written,
)
from treadle.errors import BadCheckpoint
from treadle.store import CheckpointIndex, CheckpointLog
from treadle.store import index as index_module

LARGE = bytes(range(256)) * 8192


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runinfo"


def test_a_key_is_found_with_its_payload(root: Path) -> None:
    directory = written(root, {key(1): b"one", "a name": b"two", "large": LARGE, "": b""})
    with CheckpointIndex.open([directory], strict=True) as index:
        assert len(index) == 4
        assert list(index.keys()) == [key(1), "a name", "large", ""]
        assert "a name" in index
        assert "another" not in index
        assert index.get("another") is None
        assert index.get(key(1)) == b"one"
        assert index.get("large") == LARGE
        assert index.get("") == b""
        report = index.report()
        assert (report.segments, report.records, report.damaged, report.read_failures) == (
            1,
            4,
            0,
            0,
        )
        assert report.files[0].run_id == "000"
        assert str(report) == "4 records in 1 segments"


def test_later_entries_override_earlier_ones(root: Path) -> None:
    directory, secret = checkpoint(root, "000")
    with CheckpointLog(directory, secret, run_id="000", segment_bytes=150) as log:
        for n in range(10):
            log.commit(log.append("a", b"%d" % n))
    later = written(root, {"a": b"later", "b": b"b"}, run="001")
    assert contents(directory) == {"a": b"9"}
    assert contents(directory, later) == {"a": b"later", "b": b"b"}
    assert contents(later, directory) == {"a": b"9", "b": b"b"}


def test_segments_are_read_in_the_order_of_their_numbers(root: Path) -> None:
    directory = written(root, {"a": b"old"})
    only_segment(directory).rename(directory / "segment-999999.tlog")
    written(root, {"a": b"new"})
    assert sorted(path.name for path in directory.iterdir())[0] == "segment-1000000.tlog"
    assert contents(directory) == {"a": b"new"}


def test_checkpoints_of_several_stores_each_bring_their_key(tmp_path: Path) -> None:
    first = written(tmp_path / "one", {"a": b"1"})
    second = written(tmp_path / "two", {"b": b"2"})
    assert contents(first, second) == {"a": b"1", "b": b"2"}


def test_a_checkpoint_directory_moves_with_its_run_root(root: Path, tmp_path: Path) -> None:
    written(root, {"a": b"1", "large": LARGE})
    moved = root.rename(tmp_path / "elsewhere")
    assert contents(moved / "000" / "checkpoint") == {"a": b"1", "large": LARGE}


def test_the_same_directory_twice_is_read_once(root: Path) -> None:
    directory = written(root, {"a": b"1"})
    with CheckpointIndex.open([directory, str(directory)]) as index:
        assert index.report().segments == 1


def test_no_directory_makes_an_empty_index() -> None:
    with CheckpointIndex.open([]) as index:
        assert len(index) == 0


def test_a_missing_directory_is_refused(root: Path) -> None:
    with pytest.raises(BadCheckpoint, match="cannot be read: No such file"):
        CheckpointIndex.open([root / "000" / "checkpoint"])


def test_a_directory_without_a_checkpoint_is_refused(root: Path) -> None:
    directory, _ = checkpoint(root)
    with pytest.raises(BadCheckpoint, match=r"no checkpoint in .*segment-<n>\.tlog"):
        CheckpointIndex.open([directory])
    (directory / "tasks.pkl").write_bytes(b"")
    with pytest.raises(BadCheckpoint, match=r"tasks\.pkl of Parsl is not loaded"):
        CheckpointIndex.open([directory])


def test_a_torn_tail_is_reported_and_costs_nothing_before_it(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = written(root, {"a": b"1", "b": b"2" * 100})
    segment = only_segment(directory)
    segment.write_bytes(segment.read_bytes()[:-90])
    before = segment.read_bytes()
    with caplog.at_level(logging.WARNING, "treadle.store"):
        assert contents(directory) == {"a": b"1"}
    assert "1 cut off at the end" in caplog.text
    assert segment.read_bytes() == before
    with CheckpointIndex.open([directory]) as index:
        assert index.report().torn_tails == 1
        assert index.report().files[0].torn
        assert not index.report().files[0].closed


def test_strict_refuses_damage(root: Path) -> None:
    directory = written(root, {"a": b"1" * 50, "b": b"2" * 50})
    segment = only_segment(directory)
    replace_bytes(segment, segment.read_bytes().index(b"1" * 50), b"?")
    assert contents(directory) == {"b": b"2" * 50}
    with pytest.raises(BadCheckpoint, match=r"1 damaged.*strict refuses"):
        CheckpointIndex.open([directory], strict=True)


def test_damage_that_comes_after_the_scan_is_never_returned(root: Path) -> None:
    directory = written(root, {"a": b"1" * 50, "b": b"2" * 50, "large": LARGE})
    segment = only_segment(directory)
    (blob,) = directory.glob("blob-*")
    with CheckpointIndex.open([directory]) as index:
        replace_bytes(segment, segment.read_bytes().index(b"1" * 50), b"?")
        replace_bytes(blob, 1000, b"?????")
        assert index.get("a") is None
        assert index.get("large") is None
        assert index.get("b") == b"2" * 50
        assert index.report().read_failures == 2


@pytest.mark.parametrize("change", ["unlinked", "cut"])
def test_a_blob_that_is_gone_is_a_miss(root: Path, change: str) -> None:
    directory = written(root, {"large": LARGE})
    (blob,) = directory.glob("blob-*")
    if change == "unlinked":
        blob.unlink()
    else:
        blob.write_bytes(LARGE[:-1])
    with CheckpointIndex.open([directory]) as index:
        assert index.get("large") is None
        assert index.report().read_failures == 1


def test_a_segment_that_is_gone_is_a_miss(root: Path) -> None:
    directory = written(root, {"a": b"1"})
    with CheckpointIndex.open([directory]) as index:
        only_segment(directory).unlink()
        assert index.get("a") is None


def test_another_record_in_the_place_of_the_one_sought_is_a_miss(root: Path) -> None:
    directory = written(root, {"a": b"1"})
    other = written(root, {"b": b"2"}, run="001")
    with CheckpointIndex.open([directory]) as index:
        only_segment(directory).write_bytes(only_segment(other).read_bytes())
        assert index.get("a") is None
        assert index.report().read_failures == 1


def test_records_written_with_another_key_are_ignored_and_said_so(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = written(root, {"a": b"1", "b": b"2"})
    (root / ".key").write_bytes(bytes(32))
    with caplog.at_level(logging.WARNING, "treadle.store"):
        assert contents(directory) == {}
    assert "another key" in caplog.text
    with CheckpointIndex.open([directory]) as index:
        assert index.report().files[0].foreign


def test_more_segments_than_descriptors_can_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index_module, "MAX_OPEN_FILES", 2)
    directories = [written(root, {key(n): b"%d" % n}, run=f"{n:03}") for n in range(6)]
    with CheckpointIndex.open(directories) as index:
        for _ in range(2):
            for n in range(6):
                assert index.get(key(n)) == b"%d" % n
        assert len(index._open_files) == 2


def test_a_closed_index_finds_nothing(root: Path) -> None:
    index = CheckpointIndex.open([written(root, {"a": b"1"})])
    index.get("a")
    index.close()
    index.close()
    assert index.get("a") is None


def test_a_page_that_cannot_be_read_costs_the_records_on_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = {key(n): b"%04d" % n * 64 for n in range(100)}
    directory = written(root, items)
    real = os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset < 10_000 < offset + size:
            raise OSError(5, "Input/output error")
        return real(fd, size, offset)

    with monkeypatch.context() as patch:
        patch.setattr("os.pread", pread)
        index = CheckpointIndex.open([directory])
    with index:
        assert 80 <= len(index) < 100
        assert index.report().damaged == 100 - len(index)
        assert all(index.get(name) == items[name] for name in index.keys())  # noqa: SIM118


def test_the_index_keeps_no_payload_in_memory(root: Path) -> None:
    directory = written(root, {key(n): bytes(1000) for n in range(1000)})
    with CheckpointIndex.open([directory]) as index:
        places = index._places
        size = sys.getsizeof(places) + sum(
            sys.getsizeof(name) + sys.getsizeof(place) for name, place in places.items()
        )
        assert size / 1000 < 200
