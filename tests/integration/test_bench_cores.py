"""The benchmark of the scheduler's machine runs and reports; its figures are nobody's business."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT


@pytest.mark.timeout(120)
def test_every_graph_gets_through_the_scheduler_and_is_reported(tmp_path):
    arguments = ["--tasks", "200", "--repeat", "1", "--sizes", "100", "--out", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "cores.py"), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "cores.md").read_text(encoding="utf-8")
    assert page == done.stdout
    for graph in ("independent", "chains of 4", "tree, 8 to 1", "fan-in", "fan-out"):
        assert f"| {graph} | treadle | " in page
    assert "bytes a waiting task" in page
