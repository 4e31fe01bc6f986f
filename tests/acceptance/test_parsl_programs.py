"""Programs written for Parsl, from its documented interface, run untouched on Treadle.

Each program checks its own results and prints OK. With TREADLE_REAL_PARSL_PYTHON naming a Python
that has Parsl itself, each is also run there: that they are Parsl programs is proved, not claimed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = sorted((Path(__file__).parent / "parsl_programs").glob("*.py"))
REAL = os.environ.get("TREADLE_REAL_PARSL_PYTHON")


def run(command: list[str], program: Path, folder: Path) -> None:
    # Parsl's executors find their programs by PATH.
    path = os.pathsep.join((os.path.dirname(command[0]), os.environ.get("PATH", "")))
    done = subprocess.run(
        [*command, str(program)],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1:] == ["OK"], done.stdout + done.stderr


def test_there_are_enough_of_them() -> None:
    assert len(PROGRAMS) >= 12


@pytest.mark.timeout(60)
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_a_parsl_program_runs_untouched(program: Path, tmp_path: Path) -> None:
    run([sys.executable, "-W", "error", "-m", "treadle.compat.parsl"], program, tmp_path)


@pytest.mark.timeout(60)
@pytest.mark.skipif(REAL is None, reason="TREADLE_REAL_PARSL_PYTHON names no Python with Parsl")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.stem)
def test_it_is_a_parsl_program(program: Path, tmp_path: Path) -> None:
    assert REAL is not None
    run([REAL], program, tmp_path)
