"""The middle of a file goes back to the disk."""

from __future__ import annotations

import pytest

from treadle.cluster import _agent_cut
from treadle.cluster._agent_cut import cut_middle

KIB = 1024


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"before" + b"h" * 100 * KIB + b"m" * 400 * KIB + b"t" * 100 * KIB)
    return path


def size(path):
    return path.stat().st_size


def test_the_beginning_and_the_end_stay(file):
    end = size(file)
    cut = cut_middle(str(file), 6, end, 200 * KIB)
    data = file.read_bytes()
    assert len(data) == end
    assert data.startswith(b"before" + b"h" * 100 * KIB)
    assert data.endswith(b"t" * 100 * KIB)
    hole = data[6 + cut.head : 6 + cut.head + cut.hole]
    assert hole == bytes(len(hole))
    assert cut.dropped == cut.hole > 390 * KIB
    assert not cut.shortened


def test_what_is_short_enough_stays(file):
    assert cut_middle(str(file), 6, 6 + 100, 200) is None
    assert cut_middle(str(file), 6, size(file), 1 << 30) is None


def test_the_hole_grows_with_the_file(file):
    path = str(file)
    first = cut_middle(path, 6, size(file), 200 * KIB, growing=True)
    with file.open("ab") as out:
        out.write(b"n" * 500 * KIB)
    second = cut_middle(path, 6, size(file), 200 * KIB, first, growing=True)
    assert second.head == first.head
    assert second.dropped > first.dropped + 490 * KIB
    assert file.stat().st_blocks * 512 < 300 * KIB
    assert file.read_bytes().endswith(b"n" * 100 * KIB)


def test_where_no_holes_can_be_made_the_end_is_cut_off_while_it_grows(file, monkeypatch):
    monkeypatch.setattr(_agent_cut, "punch", lambda fd, ranges: None)
    end = size(file)
    cut = cut_middle(str(file), 6, end, 200 * KIB, growing=True)
    assert cut.shortened
    assert size(file) == 6 + 100 * KIB
    assert cut.dropped == end - size(file)
    with file.open("ab") as out:
        out.write(b"n" * 300 * KIB)
    again = cut_middle(str(file), 6, size(file), 200 * KIB, cut, growing=True)
    assert again.dropped == cut.dropped + 300 * KIB
    with file.open("ab") as out:
        out.write(b"the end")
    assert cut_middle(str(file), 6, size(file), 200 * KIB, again) == again
