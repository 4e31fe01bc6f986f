"""Scripts are one verb each, stop at the first error, and can be started from anywhere."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.architecture.house import ROOT

VERBS = sorted(p for p in (ROOT / "scripts").iterdir() if p.is_file() and not p.suffix)
SCRIPTS = [*VERBS, ROOT / ".ci" / "run"]


def test_the_verbs_are_these():
    names = [path.name for path in VERBS]
    assert names == ["bench", "bootstrap", "demo", "docs", "lint", "simulate", "test"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_careful(path):
    text = path.read_text(encoding="utf-8")
    assert os.access(path, os.X_OK)
    assert text.startswith("#!/usr/bin/env bash\n# ")
    assert "\nset -euo pipefail\n" in text
    assert 'cd "$(dirname "${BASH_SOURCE[0]}")/.."' in text
    subprocess.run(["bash", "-n", path], check=True)


def test_bootstrap_says_what_is_wrong_with_an_old_interpreter(tmp_path):
    old = tmp_path / "python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    done = subprocess.run(
        [ROOT / "scripts" / "bootstrap"],
        env={**os.environ, "PYTHON": str(old), "TREADLE_VENV": str(tmp_path / "venv")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "not a Python of version 3.11 or later" in done.stderr
