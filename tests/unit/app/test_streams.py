"""Files for the streams of a command."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from treadle.app._streams import Target, echo, opened, read_target, tail
from treadle.data_provider.files import File
from treadle.errors import BadStdStreamFile


def test_each_form_has_its_mode() -> None:
    assert read_target("stdout", None) is None
    assert read_target("stdout", "a/b") == Target("a/b", "a+")
    assert read_target("stdout", Path("a/b")) == Target("a/b", "a+")
    assert read_target("stdout", File("a/b")) == Target("a/b", "w")
    assert read_target("stdout", ("a", "wt")) == Target("a", "wt")
    assert read_target("stdout", (Path("a"), "x")) == Target("a", "x")


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (5, r"stderr=5: expected a path, a \(path, mode\) tuple"),
        (-1, "AUTO_LOGNAME"),
        (("a",), "a tuple must be a path and a mode"),
        (("a", "r"), "the mode must be one that writes.*not 'r'"),
        (("a", 5), "not 5"),
        ((None, "w"), "expected a path"),
        (File("https://host/x"), "has no path on this machine"),
    ],
)
def test_what_is_no_file_is_refused(spec: Any, text: str) -> None:
    with pytest.raises(BadStdStreamFile, match=text):
        read_target("stderr", spec)


def test_folders_are_made_and_modes_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "out.txt"
    for mode, text in [("a", b"1"), ("a+", b"2"), ("w", b"3"), ("wb", b"4")]:
        with opened((path, mode), None) as (out, err):
            assert out is not None
            assert err is None
            out.write(text)
        assert path.read_bytes() == {"a": b"1", "a+": b"12", "w": b"3", "wb": b"4"}[mode]


def test_one_file_for_both_streams_is_opened_once(tmp_path: Path) -> None:
    path = tmp_path / "both"
    with opened((path, "w"), str(path)) as (out, err):
        assert out is err


def test_a_file_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(BadStdStreamFile, match=r"stdout cannot be written to '.*/file/x'.*exists"),
        opened(tmp_path / "file" / "x", None),
    ):
        pass
    with (
        pytest.raises(BadStdStreamFile, match=r"stderr cannot be written.*mode 'x'.*exists"),
        opened(None, (tmp_path / "file", "x")),
    ):
        pass
    with (
        pytest.raises(BadStdStreamFile, match="mode 'wq'"),
        opened(None, (tmp_path / "file", "wq")),
    ):
        pass


def test_files_are_closed_when_the_second_cannot_be_opened(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    with pytest.raises(BadStdStreamFile), opened(tmp_path / "a", tmp_path):
        pass
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert before == after


def test_the_command_is_echoed_between_markers(tmp_path: Path) -> None:
    with opened(None, tmp_path / "err") as (_, err):
        echo(err, "echo \udcff")
    echo(None, "nothing to write to")
    assert (tmp_path / "err").read_bytes() == (
        b"--> executable follows <--\necho \xff\n--> end executable <--\n"
    )


def test_the_tail_of_a_file_is_short_and_never_fails(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("".join(f"line {i}\n" for i in range(1000)))
    assert tail(str(path), lines=2) == "line 998\nline 999"
    assert tail(str(tmp_path / "none")) == ""
