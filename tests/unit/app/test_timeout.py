"""Walltimes of Python functions, and the timer behind them."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from treadle.app import _timer, timeout
from treadle.app.timeout import call_with_walltime
from treadle.errors import AppTimeout


def call(func: Any, limit_s: float) -> Any:
    return call_with_walltime(func, (), {}, limit_s=limit_s, name="body")


def spin() -> None:
    while True:
        pass


def test_a_function_in_time_gives_its_result_or_its_error() -> None:
    assert call(lambda: 5, 60) == 5
    with pytest.raises(ZeroDivisionError):
        call(lambda: 1 / 0, 60)
    with pytest.raises(SystemExit):
        call(lambda: exit_with(3), 60)


def exit_with(code: int) -> None:
    raise SystemExit(code)


def test_a_loop_is_interrupted_and_the_traceback_shows_where() -> None:
    with pytest.raises(AppTimeout, match=r"body ran longer than its walltime of 0\.02 s") as info:
        call(spin, 0.02)
    assert type(info.value) is AppTimeout
    assert "spin" in [entry.name for entry in info.traceback]


def test_a_function_that_ends_late_has_timed_out_all_the_same() -> None:
    def swallow() -> str:
        try:
            spin()
        except Exception:
            return "unimpressed"
        return ""

    with pytest.raises(AppTimeout):
        call(swallow, 0.02)
    # One call into C: it cannot be interrupted, and yet it does not count as in time.
    with pytest.raises(AppTimeout):
        call(lambda: time.sleep(0.1), 0.02)


def test_an_error_raised_late_is_chained() -> None:
    def fail() -> None:
        try:
            spin()
        finally:
            raise KeyError("cleaning up")

    with pytest.raises(AppTimeout) as info:
        call(fail, 0.02)
    assert isinstance(info.value.__cause__, KeyError)


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Let threads take turns so often that any two of their steps may be next to each other."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_switching")
def test_the_exception_never_hits_what_comes_after_the_function(rng: random.Random) -> None:
    """Functions that end about when their deadline comes, many times: the race itself."""

    def body(until: float) -> None:
        while time.monotonic() < until:
            pass

    late = 0
    for turn in range(1500):
        until = time.monotonic() + (60 if turn % 100 == 0 else rng.uniform(0, 0.0006))
        try:
            call(partial(body, until), 0.0003)
        except AppTimeout:
            late += 1
        for _ in range(50):  # where a stray exception would strike
            pass
    assert late >= 15


def test_threads_do_not_disturb_each_other() -> None:
    outcomes: dict[int, Any] = {}

    def work(number: int) -> None:
        limit_s = 0.02 if number % 2 else 60
        try:
            outcomes[number] = call(spin if number % 2 else (lambda: number), limit_s)
        except AppTimeout as error:
            outcomes[number] = type(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {n: AppTimeout if n % 2 else n for n in range(16)}


def test_one_thread_serves_all_deadlines_and_goes_when_there_are_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_timer, "LINGER_S", 0.01)
    timer = _timer.Timer()
    fired: list[str] = []
    done = threading.Event()
    before = threading.active_count()
    timer.call_later(0.03, done.set)
    timer.call_later(0.01, lambda: fired.append("early"))
    timer.call_later(0.02, lambda: fired.append("late"))
    cancelled = timer.call_later(0.005, lambda: fired.append("cancelled"))
    cancelled.cancel()
    cancelled.cancel()
    assert threading.active_count() == before + 1
    assert done.wait(5)
    assert fired == ["early", "late"]
    thread = timer._thread
    if thread is not None:
        thread.join(5)
    assert timer._thread is None
    # And comes back when there is one again.
    again = threading.Event()
    timer.call_later(0, again.set)
    assert again.wait(5)


def test_an_action_that_raises_does_not_end_the_timer() -> None:
    timer = _timer.Timer()
    done = threading.Event()
    timer.call_later(0, lambda: 1 / 0)
    timer.call_later(0.001, done.set)
    assert done.wait(5)


def test_cancelled_deadlines_are_not_kept() -> None:
    timer = _timer.Timer()
    for _ in range(5000):
        timer.call_later(3600, spin).cancel()
    assert len(timer._alarms) < 200


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_a_timer_of_its_own() -> None:
    _timer.call_later(60, spin).cancel()
    before = _timer._timer
    with _timer._timer._lock:  # held while forking: the worst case
        pid = os.fork()
        if pid == 0:
            good = _timer._timer is not before and call(lambda: 7, 60) == 7
            os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_what_was_left_for_a_thread_can_be_taken_back() -> None:
    race = timeout._Race()
    assert race._won_by("deadline")
    # As the timer would do it, but so that the function's end sees it before Python raises it.
    race._told = True
    race.function_ended()
    race.function_ended()
    assert race.is_late


_PROFILED = """
import sys, time
from treadle.app.timeout import call_with_walltime
from treadle.errors import AppTimeout

def swallow():
    try:
        while True:
            pass
    except AppTimeout:
        return 1

def late():
    time.sleep(0.05)

for func in (swallow, late):
    try:
        call_with_walltime(func, (), {}, limit_s=0.01, name="f")
    except AppTimeout:
        pass
calls = 0
def count(*what):
    global calls
    calls += 1
sys.setprofile(count)
(lambda: None)()
sys.setprofile(None)
print("calls", calls > 0)
"""


def test_after_a_walltime_the_interpreter_looks_for_no_exception_any_more():
    # It did while an exception had been taken back: a profiled call then never ended.
    done = subprocess.run(
        [sys.executable, "-c", _PROFILED], capture_output=True, text=True, timeout=15
    )
    assert (done.stdout, done.stderr) == ("calls True\n", "")
