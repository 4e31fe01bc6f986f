"""The example does what its page says: it checks itself, remembers, and goes on where it was stopped."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "stdlib_index.py"
FILES = 60
LIMIT_S = 60
CHECKED = "checked: the sum and the index equal collections.Counter over the same files"

pytestmark = pytest.mark.timeout(3 * LIMIT_S)


@contextmanager
def started(output: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """The example as a process, which does not outlive the block."""
    command = [sys.executable, "-W", "error", str(EXAMPLE), "--output", str(output), *options]
    with subprocess.Popen(
        command,
        cwd=output.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def run(output: Path, *options: str) -> str:
    """What the example prints when it is left alone."""
    with started(output, "--limit", str(FILES), *options) as process:
        printed, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, printed
    return printed


def served(printed: str) -> int:
    """How many scans it says the checkpoint has served."""
    line = r"(\d+) of (\d+) scans were served from the checkpoint of an earlier run"
    found = re.search(line, printed)
    assert found, printed
    return int(found[1])


def scans(printed: str) -> int:
    """How many scans the table says were remembered."""
    found = re.search(r"^  scan +\d+ +(\d+)", printed, re.MULTILINE)
    assert found, printed
    return int(found[1])


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for a condition; fail if it does not come."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.005)


def test_it_checks_its_result_and_a_second_run_scans_nothing(tmp_path: Path) -> None:
    output = tmp_path / "output"

    first = run(output)

    assert CHECKED in first
    assert "run it again, and none will run" in first
    counts = (output / "counts.json").read_text(encoding="utf-8")
    assert json.loads(counts)["self"] > 100

    second = run(output)

    assert CHECKED in second
    assert served(second) == scans(second) == FILES
    assert (output / "counts.json").read_text(encoding="utf-8") == counts


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill -9"])
def test_a_run_that_is_stopped_in_the_middle_goes_on(how: signal.Signals, tmp_path: Path) -> None:
    output = tmp_path / "output"
    log = output / "runinfo" / "000" / "checkpoint" / "segment-000000.tlog"

    # All files, so that it is in the middle when the first results are written.
    with started(output) as process:
        wait_until(lambda: log.exists() and log.stat().st_size > 20_000)
        process.send_signal(how)
        printed, _ = process.communicate(timeout=LIMIT_S)

    assert process.returncode in (-how, 128 + how), printed
    assert not (output / "counts.json").exists()

    again = run(output)

    assert CHECKED in again
    assert 0 < served(again) <= FILES
