"""What every test may ask for, and what every test that starts something is asked at its end.

Random tests are deterministic by default: their examples derive from the test alone, and a failure
prints what repeats it. TREADLE_TEST_EXAMPLES sets the number of examples, TREADLE_SOAK the seconds
of a soak; either makes the choice of examples random, and Hypothesis then prints the seed.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.leaks import left_descriptors, left_threads, loaded_kernel, open_descriptors

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

# A shell starts what runs in its background with Ctrl-C ignored, and all it starts inherits that;
# the programs that tests interrupt must not.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

#: Tiers whose tests start threads and open files, and so are checked for what they leave.
CHECKED_TIERS = ("integration", "acceptance")


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


@pytest.fixture(autouse=True, scope="session")
def loop_pipe() -> None:
    """Make and close an event loop: libuv keeps one pipe per process from the first one on."""
    from treadle.runtime.engine import _new_loop

    _new_loop().close()


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
