"""The benchmark of objects in shared memory runs and reports."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

PROGRAM = ROOT / "bench" / "objects.py"


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )


@pytest.mark.timeout(60)
def test_every_row_has_figures(tmp_path):
    few = ("--megabytes", "2", "--objects", "1000", "--small", "10", "--repeat", "1")
    done = run(*few, "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "objects.md").read_text(encoding="utf-8")
    assert page == done.stdout
    rows = ["treadle: fresh", "treadle: recycled", "shared_memory: fresh", "map and unpack"]
    rows += ["to disk", "and back", "| None |", "array of 1,000,000 bytes", "a dict of the same"]
    for row in rows:
        assert row in page
    assert "nan" not in page


def test_numbers_that_cannot_be_are_refused(tmp_path):
    done = run("--repeat", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--repeat" in done.stderr or "at least" in done.stderr
