"""The benchmark of the kernel runs and reports; what it measures is nobody's business here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

PROGRAM = ROOT / "bench" / "kernel.py"


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
def test_every_measure_of_the_kernel_gives_figures_and_absent_peers_are_named(tmp_path):
    arguments = ("--scale", "0.001", "--repeat", "1", "--million", "--out", "out")
    done = run(*arguments, "--engines", "treadle", "threads", "parsl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out" / "kernel.md").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "out" / "kernel.json").read_text(encoding="utf-8"))
    assert done.stdout == table
    assert {"processor", "cores", "memory", "python", "versions", "commit", "command"} <= set(
        report["machine"]
    )
    for measure, figures in report["figures"].items():
        for figure, by_engine in figures.items():
            assert len(by_engine["treadle"]) == 1, (measure, figure)
    measured = set(report["figures"])
    assert {"submit", "map", "round-trip", "chain", "memory", "cached", "start"} <= measured
    if importlib.util.find_spec("parsl") is None:
        assert {"measure": "submit", "engine": "parsl", "why": "parsl is not installed"} in report[
            "absent"
        ]
        assert "Parsl, submit: parsl is not installed" in table


def test_a_repetition_that_cannot_be_is_refused(tmp_path):
    done = run("--repeat", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert "--repeat must be at least 1" in done.stderr
