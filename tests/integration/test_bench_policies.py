"""The benchmark of policies runs and reports; what it measures is nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT
from tests.simulation.graphs import WORKLOADS

PROGRAM = ROOT / "bench" / "policies.py"
FIGURES = {"makespan_s", "peak_bytes", "moved_bytes", "cpu_us", "bound_s", "input_bytes"}


def run(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
    )


@pytest.mark.timeout(120)
def test_every_workload_is_run_with_every_policy(tmp_path):
    done = run("--quick", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out" / "policies.md").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "out" / "policies.json").read_text(encoding="utf-8"))
    assert done.stdout == table
    assert len(report["rows"]) == 4 * len(WORKLOADS)
    assert table.count("| locality, held back |") == len(WORKLOADS)
    for row in report["rows"]:
        assert row.keys() >= FIGURES
        assert row["makespan_s"] >= row["bound_s"], row
        assert row["peak_bytes"] >= row["least_memory_bytes"], row


def test_a_size_that_cannot_be_is_refused(tmp_path):
    done = run("--workers", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "must be at least 1" in done.stderr
