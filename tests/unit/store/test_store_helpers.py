from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.store.places import checkpoint, written
from treadle.store import CheckpointIndex
from treadle.utils import get_all_checkpoints, get_last_checkpoint


def test_checkpoints_are_listed_from_the_oldest_run_to_the_newest(tmp_path: Path) -> None:
    runs = ["000", "002", "999", "1000"]
    paths = [str(written(tmp_path, {run: b""}, run=run)) for run in reversed(runs)][::-1]
    assert get_all_checkpoints(tmp_path) == get_all_checkpoints(str(tmp_path)) == paths
    assert get_last_checkpoint(tmp_path) == paths[-1:]
    with CheckpointIndex.open(get_all_checkpoints(tmp_path)) as index:
        assert list(index.keys()) == runs


def test_the_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = written(tmp_path / "runinfo", {"a": b"1"})
    monkeypatch.chdir(tmp_path)
    assert get_all_checkpoints() == get_last_checkpoint() == [str(directory)]


def test_a_newest_run_without_a_checkpoint_has_no_last_one(tmp_path: Path) -> None:
    directory = written(tmp_path, {"a": b"1"}, run="000")
    (tmp_path / "001").mkdir()
    checkpoint(tmp_path, "002")  # made, and ended before its first segment
    assert get_all_checkpoints(tmp_path) == [str(directory)]
    assert get_last_checkpoint(tmp_path) == []


def test_no_runs_are_no_checkpoints(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        assert get_all_checkpoints(place) == get_last_checkpoint(place) == []
