"""The interpreter's own tests of executors, run on an executor of ours in a process of their own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

needs_standard_tests = pytest.mark.skipif(
    importlib.util.find_spec("test") is None
    or importlib.util.find_spec("test.test_concurrent_futures") is None,
    reason="this distribution of Python comes without its own tests",
)


def run_standard_tests(program: str, folder: Path, timeout_s: float) -> str:
    """Run a program that makes test cases of the interpreter's; what it has printed."""
    path = folder / "standard.py"
    path.write_text(textwrap.dedent(program))
    done = subprocess.run(
        [sys.executable, path.name], cwd=folder, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
