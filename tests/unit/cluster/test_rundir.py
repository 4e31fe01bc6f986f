"""The private directory of a run: where it is, whose it is, and what becomes of those left behind."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from treadle.cluster._rundir import SOCKET_PATH, RunDirectory
from treadle.errors import ConfigurationError


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "runs")


def test_it_is_open_to_its_owner_alone_whatever_the_umask(root):
    before = os.umask(0)
    try:
        with RunDirectory.create("t", root=root) as directory:
            for path in (root, directory.path):
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
            assert directory.is_there()
            assert directory.socket_path("s").startswith(directory.path)
    finally:
        os.umask(before)
    assert not os.path.exists(directory.path)
    assert not directory.is_there()


def test_it_stands_where_the_session_keeps_such_things(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with RunDirectory.create() as directory:
        assert os.path.dirname(directory.path) == str(tmp_path / "treadle")


@pytest.mark.parametrize("value", ["", "relative", "/nonexistent"])
def test_else_it_stands_with_the_temporary_files_under_the_users_number(value, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", value)
    with RunDirectory.create() as directory:
        assert os.path.dirname(directory.path) == f"/tmp/treadle-{os.getuid()}"


def test_two_of_a_process_are_two_and_stay(root):
    with RunDirectory.create("t", root=root) as one, RunDirectory.create("t", root=root) as other:
        assert one.path != other.path
        assert one.is_there()
        assert other.is_there()
        one.remove()
        one.remove()
        assert other.is_there()


def test_one_that_was_left_behind_is_swept_away_and_one_that_is_held_is_not(root):
    program = (
        "import os, sys; from treadle.cluster._rundir import RunDirectory\n"
        "d = RunDirectory.create('dead', root=sys.argv[1])\n"
        "open(d.socket_path('s'), 'w').close(); print(d.path, flush=True)\n"
        "sys.stdin.read() if len(sys.argv) > 2 else None; os._exit(0)"
    )
    dead = subprocess.run(
        [sys.executable, "-c", program, root], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert os.path.isdir(dead)
    with subprocess.Popen(
        [sys.executable, "-c", program, root, "stay"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as living:
        assert living.stdout is not None
        held = living.stdout.readline().strip()
        with RunDirectory.create("t", root=root):
            assert not os.path.exists(dead)
            assert os.path.isdir(held)
        living.kill()


def test_a_child_does_not_hold_it_by_inheritance(root):
    directory = RunDirectory.create("t", root=root)
    assert directory._held is not None
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:
        os.close(directory._held)  # as if this process had died
        directory._held = None
        with RunDirectory.create("t", root=root):
            assert not os.path.exists(directory.path)
        child.kill()


def test_one_that_is_swept_away_while_it_is_made_is_made_again(root, monkeypatch):
    flock, swept = fcntl.flock, []

    def late(held: int, how: int) -> None:
        if not swept:
            (name,) = os.listdir(root)
            swept.append(name)
            os.rmdir(os.path.join(root, name))
            os.mkdir(os.path.join(root, name))
        flock(held, how)

    monkeypatch.setattr("fcntl.flock", late)
    with RunDirectory.create("t", root=root) as directory:
        monkeypatch.undo()
        assert directory.is_there()
        assert os.path.basename(directory.path) != swept[0]


def test_what_is_no_directory_of_a_run_is_left_alone(root, tmp_path):
    os.mkdir(root, 0o700)
    here = Path(root)
    (here / "note-12345678").write_text("mine")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (here / "link-12345678").symlink_to(elsewhere)
    (here / "another").mkdir()
    with RunDirectory.create("t", root=root):
        assert (here / "note-12345678").read_text() == "mine"
        assert (here / "link-12345678").is_symlink()
        assert elsewhere.exists()
        assert (here / "another").exists()


def test_it_notices_when_it_was_taken_away_and_leaves_alone_what_stands_there_now(root):
    directory = RunDirectory.create("t", root=root)
    shutil.rmtree(directory.path)
    assert not directory.is_there()
    os.mkdir(directory.path)
    assert not directory.is_there()
    directory.remove()
    assert os.path.exists(directory.path)


@pytest.mark.parametrize("mode", [0o770, 0o701, 0o777])
def test_a_place_that_others_may_enter_is_refused(root, mode):
    os.mkdir(root)
    os.chmod(root, mode)
    with pytest.raises(ConfigurationError, match=rf"mode {mode:04o}, 0700 is needed.*remove it"):
        RunDirectory.create(root=root)


def test_a_place_that_is_a_link_or_a_file_is_refused(root, tmp_path):
    (tmp_path / "real").mkdir(mode=0o700)
    os.symlink(tmp_path / "real", root)
    with pytest.raises(ConfigurationError, match="symbolic link"):
        RunDirectory.create(root=root)
    os.unlink(root)
    Path(root).touch()
    with pytest.raises(ConfigurationError, match="no directory"):
        RunDirectory.create(root=root)


def test_a_place_of_another_user_is_refused(root, monkeypatch):
    os.mkdir(root, 0o700)
    monkeypatch.setattr("os.getuid", lambda: 12_345)
    with pytest.raises(
        ConfigurationError, match=r"belongs to user \d+, this process runs as 12345"
    ):
        RunDirectory.create(root=root)


def test_a_place_that_cannot_be_made_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be made"):
        RunDirectory.create(root=str(tmp_path / "none" / "runs"))


def test_a_place_too_deep_for_sockets_is_refused(tmp_path):
    deep = tmp_path / ("x" * SOCKET_PATH)
    with pytest.raises(ConfigurationError, match="too long for sockets"):
        RunDirectory.create(root=str(deep))


def test_a_socket_of_a_short_name_fits(tmp_path):
    fits = str(tmp_path).ljust(SOCKET_PATH - 24 - len("/t-12345678") - 1, "x")
    with RunDirectory.create("t", root=fits) as directory:
        assert len(os.fsencode(directory.socket_path("x" * 23))) == SOCKET_PATH - 1
