"""The interpreter's own tests of executors, run on an executor of ours in a process of their own.

Some distributions come without them. TREADLE_STANDARD_TESTS then names a folder of another Python's
library that has them, such as /usr/lib/python3.13.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ELSEWHERE = os.environ.get("TREADLE_STANDARD_TESTS", "")


def _are_here() -> bool:
    return importlib.util.find_spec("test") is not None and (
        importlib.util.find_spec("test.test_concurrent_futures") is not None
    )


needs_standard_tests = pytest.mark.skipif(
    not ELSEWHERE and not _are_here(),
    reason="this Python comes without its own tests; TREADLE_STANDARD_TESTS may name another's",
)


def run_standard_tests(program: str, folder: Path, timeout_s: float) -> str:
    """Run a program that makes test cases of the interpreter's; what it has printed."""
    path = folder / "standard.py"
    path.write_text(textwrap.dedent(program))
    if ELSEWHERE:  # the rest of that library stays out of the way
        (folder / "test").symlink_to(Path(ELSEWHERE, "test"))
    done = subprocess.run(
        [sys.executable, path.name], cwd=folder, capture_output=True, text=True, timeout=timeout_s
    )
    assert done.returncode == 0, done.stderr
    return done.stderr
