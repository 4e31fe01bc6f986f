"""Cancelling a bash app ends its command and all that the command started."""

from __future__ import annotations

import concurrent.futures
import os
import random
import time
from pathlib import Path

import pytest

import treadle
from treadle import Config, bash_app, python_app

pytestmark = pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")


@pytest.fixture
def kernel(run_dir):
    kernel = treadle.load(Config(run_dir=run_dir, initialize_logging=False))
    yield kernel
    kernel.cleanup()


@pytest.fixture
def token():
    return f"treadle-nap-{os.getpid()}-{random.randrange(10**9)}"


@bash_app
def nap(token):
    return f"(exec -a {token} sleep 60) & exec -a {token} sleep 60"


@python_app
def same(x, *others):
    return x


def _running(token):
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_text().split("\0") if entry.name.isdigit() else [""]
        except OSError:
            continue
        count += words[0] == token
    return count


def _wait_for(token, count):
    deadline = time.monotonic() + 10
    while _running(token) != count:
        assert time.monotonic() < deadline, f"{_running(token)} processes, not {count}"
        time.sleep(0.01)


def test_a_running_command_is_ended_with_its_children(kernel, token):
    future = nap(token)
    after = same(1, future)
    _wait_for(token, 2)
    assert future.cancel()
    assert future.cancelled()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    assert future.task_status() == "failed"
    assert after.exception() is not None
    _wait_for(token, 0)
    assert same(1).result() == 1


def test_cancelling_one_command_leaves_the_other_alone(kernel, token):
    one, two = nap(token), nap(token + "-other")
    _wait_for(token, 2)
    _wait_for(token + "-other", 2)
    assert one.cancel()
    _wait_for(token, 0)
    assert _running(token + "-other") == 2
    assert not two.done()
    assert two.cancel()
    _wait_for(token + "-other", 0)


def test_a_command_that_queues_never_starts(kernel, token):
    running = [nap(token) for _ in range(2)]
    queued = nap(token + "-queued")
    _wait_for(token, 4)
    assert queued.cancel()
    assert [f.cancel() for f in running] == [True, True]
    _wait_for(token, 0)
    assert _running(token + "-queued") == 0
