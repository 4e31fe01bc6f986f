from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.store.places import contents, only_segment, written
from treadle.errors import BadCheckpoint
from treadle.store import (
    CheckpointIndex,
    CheckpointLog,
    check_trusted,
    load_or_create_secret,
    new_checkpoint_directory,
    read_secret,
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "runinfo"


@pytest.fixture
def directory(root: Path) -> Path:
    return written(root, {"a": b"1", "large": bytes(2 << 20)})


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def test_the_secret_is_made_once_and_for_our_eyes_only(root: Path) -> None:
    first = load_or_create_secret(root)
    assert len(first) == 32
    assert load_or_create_secret(root) == read_secret(root) == first
    assert mode(root / ".key") == 0o600
    assert mode(root) == 0o700
    assert [path.name for path in root.iterdir()] == [".key"]


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o277, 0o777])
def test_the_umask_does_not_matter(root: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        directory = written(root, {"a": b"1", "large": bytes(2 << 20)})
    finally:
        os.umask(before)
    assert {mode(path) for path in (root, directory.parent, directory)} == {0o700}
    assert {mode(path) for path in [root / ".key", *directory.iterdir()]} == {0o600}
    assert contents(directory)["a"] == b"1"


def test_a_run_root_may_be_readable_by_others(root: Path, directory: Path) -> None:
    for path in (root, directory):
        path.chmod(0o755)
    only_segment(directory).chmod(0o644)
    assert contents(directory)["a"] == b"1"


@pytest.mark.parametrize("bits", [0o020, 0o002])
@pytest.mark.parametrize(
    "what", [".", ".key", "000/checkpoint", "000/checkpoint/segment-000000.tlog"]
)
def test_what_others_can_write_is_refused_with_the_way_out(
    root: Path, directory: Path, what: str, bits: int
) -> None:
    path = root / what
    path.chmod(mode(path) | bits)
    with pytest.raises(BadCheckpoint, match=r"writable by others.*chmod go-w"):
        CheckpointIndex.open([directory])
    path.chmod(mode(path) & ~bits)
    assert contents(directory)["a"] == b"1"


@pytest.mark.parametrize("bits", [0o040, 0o004])
def test_a_key_that_others_can_read_is_refused(root: Path, directory: Path, bits: int) -> None:
    (root / ".key").chmod(0o600 | bits)
    with pytest.raises(BadCheckpoint, match=r"read by others.*chmod 600"):
        CheckpointIndex.open([directory])
    with pytest.raises(BadCheckpoint, match="read by others"):
        load_or_create_secret(root)


def test_a_blob_that_others_can_write_is_refused_when_it_is_wanted(directory: Path) -> None:
    (blob,) = directory.glob("blob-*")
    blob.chmod(0o606)
    with CheckpointIndex.open([directory]) as index:
        assert index.get("a") == b"1"
        with pytest.raises(BadCheckpoint, match="writable by others"):
            index.get("large")


@needs_root
@pytest.mark.parametrize(
    "what", [".", ".key", "000/checkpoint", "000/checkpoint/segment-000000.tlog"]
)
def test_what_belongs_to_someone_else_is_refused(root: Path, directory: Path, what: str) -> None:
    os.chown(root / what, 65534, 65534)
    with pytest.raises(BadCheckpoint, match="belongs to user 65534"):
        CheckpointIndex.open([directory])


@pytest.mark.parametrize("what", [".key", "000/checkpoint/segment-000000.tlog"])
def test_a_symbolic_link_is_not_followed(root: Path, directory: Path, what: str) -> None:
    path = root / what
    elsewhere = path.rename(root / "elsewhere")
    path.symlink_to(elsewhere)
    with pytest.raises(BadCheckpoint, match="symbolic link"):
        CheckpointIndex.open([directory])


def test_a_dangling_link_in_place_of_the_key_is_not_written_through(root: Path) -> None:
    root.mkdir(mode=0o700)
    (root / ".key").symlink_to(root / "elsewhere")
    with pytest.raises(BadCheckpoint, match="symbolic link"):
        load_or_create_secret(root)
    assert not (root / "elsewhere").exists()


def test_a_pipe_in_place_of_a_segment_is_refused_at_once(directory: Path) -> None:
    segment = only_segment(directory)
    segment.unlink()
    os.mkfifo(segment, 0o600)
    with pytest.raises(BadCheckpoint, match="not a regular file"):
        CheckpointIndex.open([directory])


def test_a_checkpoint_reached_through_a_link_is_judged_where_it_is(
    tmp_path: Path, directory: Path
) -> None:
    (tmp_path / "last").symlink_to(directory)
    assert contents(tmp_path / "last")["a"] == b"1"


def test_a_missing_key_says_where_it_belongs(root: Path, directory: Path) -> None:
    (root / ".key").unlink()
    with pytest.raises(BadCheckpoint, match=r"\.key is missing"):
        CheckpointIndex.open([directory])


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_key_of_the_wrong_size_is_refused(root: Path, directory: Path, size: int) -> None:
    (root / ".key").write_bytes(bytes(size))
    with pytest.raises(BadCheckpoint, match=f"has {size} bytes instead of 32"):
        load_or_create_secret(root)


def test_where_there_are_no_hard_links_the_secret_is_made_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    first = load_or_create_secret(root)
    assert load_or_create_secret(root) == first
    assert [path.name for path in root.iterdir()] == [".key"]


def test_a_log_refuses_a_directory_that_others_can_write(root: Path) -> None:
    secret = load_or_create_secret(root)
    directory = new_checkpoint_directory(root / "000")
    directory.chmod(0o770)
    with pytest.raises(BadCheckpoint, match="writable by others"):
        CheckpointLog(directory, secret, run_id="000")
    with pytest.raises(BadCheckpoint, match="writable by others"):
        new_checkpoint_directory(root / "000")


def test_a_file_in_place_of_a_directory_is_refused(root: Path) -> None:
    root.mkdir()
    (root / "000").write_text("")
    with pytest.raises(BadCheckpoint, match="not a directory"):
        new_checkpoint_directory(root / "000")


def test_what_is_not_there_cannot_be_trusted(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match="No such file"):
        check_trusted(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(BadCheckpoint, match="symbolic link"):
        check_trusted(tmp_path / "link")
