"""Connection files: for their owner's eyes alone, and whole or not there."""

from __future__ import annotations

import os
import stat
import threading

import pytest

from treadle.cluster._connection import (
    Connection,
    read_connection,
    read_private,
    write_connection,
    write_private,
)
from treadle.errors import ConfigurationError

HERE = Connection(
    run="r", addresses=("unix:/x/s", "tls://h:1"), pid=-1, host="h", version="1", credential="/x/c"
)


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "connection.json")


def test_what_was_written_is_read(path):
    write_connection(path, HERE)
    assert read_connection(path) == HERE
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_nobody_may_read_it_whatever_the_umask(path):
    before = os.umask(0)
    try:
        write_connection(path, HERE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_a_reader_sees_the_old_one_or_the_new_one(path):
    write_connection(path, HERE)
    ended = threading.Event()
    seen = []

    def read() -> None:
        while not ended.is_set():
            seen.append(read_connection(path).pid)

    reader = threading.Thread(target=read)
    reader.start()
    for pid in range(100):
        write_connection(
            path, Connection(run="r", addresses=("x" * 999,) * pid, pid=pid, host="", version="")
        )
    ended.set()
    reader.join()
    fresh = seen[next((n for n, pid in enumerate(seen) if pid != HERE.pid), len(seen)) :]
    assert fresh == sorted(fresh)
    assert os.listdir(os.path.dirname(path)) == ["connection.json"]


def test_fields_of_a_newer_treadle_are_skipped(path):
    write_private(
        path,
        b'{"run":"r","addresses":[],"pid":1,"host":"h","version":"9","new":{"x":1}}',
    )
    assert read_connection(path).version == "9"


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b"\xff", b'{"run": 1}'])
def test_what_is_none_is_a_clear_error(path, data):
    write_private(path, data)
    with pytest.raises(ConfigurationError, match="no connection file"):
        read_connection(path)


def test_none_at_all_asks_whether_the_scheduler_runs(path):
    with pytest.raises(ConfigurationError, match="is the scheduler running"):
        read_connection(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620])
def test_one_that_others_may_use_is_not_trusted(path, mode):
    write_connection(path, HERE)
    os.chmod(path, mode)
    with pytest.raises(ConfigurationError, match=rf"mode {mode:04o}.*chmod 600"):
        read_connection(path)


def test_one_of_another_user_is_not_trusted(path, monkeypatch):
    write_connection(path, HERE)
    monkeypatch.setattr("os.getuid", lambda: 12_345)
    with pytest.raises(ConfigurationError, match="runs as 12345"):
        read_connection(path)


def test_a_pipe_is_no_file_and_is_not_waited_for(path):
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigurationError, match="is no file"):
        read_private(path, what="credential")


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_private(str(tmp_path / "none" / "f"), b"x")
    (tmp_path / "taken").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_private(str(tmp_path / "taken"), b"x")
    assert os.listdir(tmp_path) == ["taken"]
