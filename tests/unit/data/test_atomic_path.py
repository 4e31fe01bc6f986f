from __future__ import annotations

import os
from pathlib import Path

import pytest

from treadle.data_provider.atomic import atomic_path


def test_the_file_takes_its_name_at_the_end(tmp_path):
    target = tmp_path / "made" / "out.txt"
    with atomic_path(target) as temporary:
        Path(temporary).write_text("half")
        assert not target.exists()
        assert os.path.dirname(temporary) == str(target.parent)
        Path(temporary).write_text("whole")
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["out.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there_and_nothing_else(tmp_path, error):
    target = tmp_path / "out.txt"
    target.write_text("old")

    def fail():
        with atomic_path(target) as temporary:
            Path(temporary).write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["out.txt"]


def test_a_relative_name_needs_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with atomic_path("x.txt") as temporary:
        Path(temporary).write_text("x")
    assert os.listdir() == ["x.txt"]


def test_a_directory_can_be_made_whole_and_removed_too(tmp_path):
    with atomic_path(tmp_path / "d") as temporary:
        os.mkdir(temporary)
        Path(temporary, "x").write_text("x")
    assert (tmp_path / "d" / "x").exists()

    def fail():
        with atomic_path(tmp_path / "e") as temporary:
            os.mkdir(temporary)
            Path(temporary, "x").write_text("x")
            raise ValueError

    with pytest.raises(ValueError):
        fail()
    assert os.listdir(tmp_path) == ["d"]


def test_a_block_that_wrote_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_path(tmp_path / "x"):
        pass


def test_the_longest_names_fit(tmp_path):
    name = "ä" * 120 + ".txt"
    with atomic_path(tmp_path / name) as temporary:
        Path(temporary).write_text("x")
    assert os.listdir(tmp_path) == [name]
