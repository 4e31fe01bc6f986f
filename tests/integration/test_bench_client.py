"""The benchmark of clients runs and reports; what it measures is nobody's business here."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT

PROGRAM = ROOT / "bench" / "client.py"


@pytest.mark.timeout(120)
def test_every_measure_of_clients_gives_figures_and_an_absent_peer_is_named(tmp_path):
    engines = ["treadle"]
    if importlib.util.find_spec("distributed") is None:
        engines.append("dask")
    done = subprocess.run(
        [
            *(sys.executable, str(PROGRAM), "--scale", "0.002", "--repeat", "1", "--out", "out"),
            *("--engines", *engines),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "out" / "client.json").read_text(encoding="utf-8"))
    absent = {(item["measure"], item["why"]) for item in report["absent"]}
    assert {item for item in absent if "installed" not in item[1]} == set()
    assert {"submit", "map", "gather", "scatter", "chain", "tree"} <= set(report["figures"])
    for measure, figures in report["figures"].items():
        for figure, by_engine in figures.items():
            assert len(by_engine["treadle"]) == 1, (measure, figure)
    table = (tmp_path / "out" / "client.md").read_text(encoding="utf-8")
    assert table == done.stdout
    if "dask" in engines:
        assert "Dask, submit: distributed is not installed" in table
