"""What every test may ask for, and what every test that starts something is asked at its end.

Random tests are deterministic by default: their examples derive from the test alone, and a failure
prints what repeats it. TREADLE_TEST_EXAMPLES sets the number of examples, TREADLE_SOAK the seconds
of a soak; either makes the choice of examples random, and Hypothesis then prints the seed.
"""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

EXAMPLES = os.environ.get("TREADLE_TEST_EXAMPLES")
SOAK = os.environ.get("TREADLE_SOAK")

settings.register_profile(
    "treadle",
    max_examples=int(EXAMPLES or 50),
    stateful_step_count=30,
    deadline=None,
    derandomize=not (EXAMPLES or SOAK),
    database=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("treadle")

#: Tiers whose tests start threads and open files, and so are checked for what they leave.
CHECKED_TIERS = ("integration", "acceptance")
#: How long a test's threads and descriptors may take to go.
GRACE_S = 5.0
#: Threads that outlive a test by design, by the beginning of their names: the one engine thread of
#: the process with its pool, and the loop thread that fsspec keeps for the life of the process.
SHARED_THREADS = ("treadle-engine", "treadle-pool", "fsspecIO")
#: What an event loop holds open as long as it lives.
LOOP_TARGETS = ("anon_inode:", "socket:", "pipe:")


def pytest_report_header() -> str:
    current = settings()
    how = "derived from each test" if current.derandomize else "random, printed on failure"
    return f"treadle: {current.max_examples} examples, seeds {how}, soak {SOAK or 'short'}"


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """Where a kernel of this test writes."""
    return tmp_path / "runinfo"


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A number that is this test's own; TREADLE_TEST_SEED replaces it. Printed, so a failure has it."""
    given = os.environ.get("TREADLE_TEST_SEED")
    number = int(given) if given else zlib.crc32(request.node.nodeid.encode())
    print(f"TREADLE_TEST_SEED={number}")
    return number


@pytest.fixture
def rng(seed: int) -> random.Random:
    """Dice that fall the same way each time."""
    return random.Random(seed)


@pytest.fixture
def soak_s() -> float:
    """How many seconds a soak lasts."""
    return float(SOAK or 1)


@pytest.fixture(autouse=True)
def leak_check(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a thread, a descriptor or a loaded kernel behind."""
    tier = request.path.relative_to(Path(__file__).parent).parts[0]
    if tier not in CHECKED_TIERS or request.node.get_closest_marker("leaky"):
        yield
        return
    threads, descriptors = set(threading.enumerate()), open_descriptors()
    yield
    complaints = loaded_kernel() + left_threads(threads) + left_descriptors(threads, descriptors)
    if complaints:
        pytest.fail("left behind: " + "; ".join(complaints), pytrace=False)


def loaded_kernel() -> list[str]:
    """Tell of a kernel that is still loaded, and unload it so that only one test is blamed."""
    dflow = sys.modules.get("treadle.dataflow.dflow")
    errors = sys.modules.get("treadle.errors")
    if dflow is None or errors is None:
        return []
    loader = dflow.DataFlowKernelLoader
    try:
        kernel = loader.dfk()
    except errors.NoDataFlowKernelError:
        return []
    kernel.cleanup()
    loader.clear()
    return ["a loaded kernel"]


def left_threads(before: set[threading.Thread]) -> list[str]:
    """Names of the threads that this test started and that do not end."""
    deadline = time.monotonic() + GRACE_S
    left = []
    for thread in set(threading.enumerate()) - before:
        if not thread.name.startswith(SHARED_THREADS):
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                left.append(f"thread {thread.name!r}")
    return sorted(left)


def left_descriptors(
    threads: set[threading.Thread], before: dict[int, tuple[str, int]]
) -> list[str]:
    """Descriptors that this test opened and that do not close."""
    # The first test that needs the engine starts it, and it stays with its loop's descriptors.
    shared_started = any(
        thread.name.startswith(SHARED_THREADS) for thread in set(threading.enumerate()) - threads
    )
    deadline = time.monotonic() + GRACE_S
    while True:
        gc.collect()
        left = [
            f"descriptor {number} -> {target}"
            for number, (target, inode) in open_descriptors().items()
            if before.get(number) != (target, inode)
            and not (shared_started and target.startswith(LOOP_TARGETS))
        ]
        if not left or time.monotonic() > deadline:
            return left
        threading.Event().wait(0.02)


def open_descriptors() -> dict[int, tuple[str, int]]:
    """What this process holds open: target and inode by number; nothing where there is no /proc."""
    found = {}
    folder = Path("/proc/self/fd")
    for entry in list(folder.iterdir()) if folder.is_dir() else []:
        try:
            target, inode = str(entry.readlink()), entry.stat().st_ino
        except OSError:  # the descriptor of this very listing
            continue
        found[int(entry.name)] = (target, inode)
    return found
