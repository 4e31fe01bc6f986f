"""The benchmark of processes runs and reports; what it measures is nobody's business here."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

PROGRAM = ROOT / "bench" / "cluster.py"


@pytest.mark.timeout(120)
def test_measures_of_processes_give_figures_and_absent_peers_are_named(tmp_path):
    only = ("submit", "map", "round-trip", "chain", "tree", "fan-in", "broadcast", "start")
    done = subprocess.run(
        [
            *(sys.executable, str(PROGRAM), "--scale", "0.002", "--repeat", "1", "--out", "out"),
            *("--engines", "treadle", "processes", "frisky", "--only", *only),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "cluster.json").read_text(encoding="utf-8"))
    assert set(report["figures"]) == set(only), report["absent"]
    for measure, figures in report["figures"].items():
        for figure, by_engine in figures.items():
            assert len(by_engine["treadle"]) == 1, (measure, figure)
    assert (tmp_path / "out" / "cluster.md").read_text(encoding="utf-8") == done.stdout
