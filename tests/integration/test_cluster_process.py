"""The engine's own processes: how they end, and what stands in their log then."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time

import pytest

HEAD = """
import asyncio, os, signal, sys, time
from treadle.cluster._process import Process, leave
process = Process()

async def start():
    print("started", flush=True)

async def stop(why):
    print("stopped:", why, flush=True)
"""


@pytest.fixture
def program():
    started = []

    def start(body):
        source = HEAD + textwrap.dedent(body) + "\nleave(process.run(start, stop))\n"
        child = subprocess.Popen(
            [sys.executable, "-c", source],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_it_ends_with_the_code_and_tells_the_reason_to_who_stops_it(program):
    child = program("process.loop.call_later(0.01, process.end, 3, 'enough')")
    out, log = child.communicate(timeout=10)
    assert child.returncode == 3
    assert out == "started\nstopped: enough\n"
    assert "ends: enough" in log


def test_the_first_end_counts(program):
    child = program("process.end(3, 'first'); process.end(4, 'second')")
    out, _ = child.communicate(timeout=10)
    assert (child.returncode, out.splitlines()[-1]) == (3, "stopped: first")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_asks_for_the_end(program, number):
    child = program("")
    assert child.stdout.readline() == "started\n"
    child.send_signal(number)
    out, _ = child.communicate(timeout=10)
    assert (child.returncode, out) == (128 + signal.SIGTERM, "stopped: it was told to end\n")


def test_a_fault_that_nobody_caught_ends_it_and_stands_in_the_log(program):
    child = program("process.loop.call_later(0.01, lambda: 1 / 0)")
    out, log = child.communicate(timeout=10)
    assert child.returncode == 70
    assert "stopped: a fault of the engine's own" in out
    assert "ZeroDivisionError" in log
    assert "Traceback" in log


def test_a_fault_in_a_task_of_the_loop_ends_it_too(program):
    child = program(
        """
        async def fail():
            raise KeyError("gone")

        async def begin():
            await start()
            asyncio.get_running_loop().create_task(fail())

        async def start(begin=begin, start=start):
            process.loop.create_task(fail())
            import gc
            process.loop.call_later(0.05, gc.collect)
        """
    )
    _, log = child.communicate(timeout=10)
    assert child.returncode == 70
    assert "KeyError" in log


def test_a_fault_of_the_other_side_ends_nothing(program):
    child = program(
        """
        def reset():
            raise ConnectionResetError("by peer")

        process.loop.call_later(0.01, reset)
        process.loop.call_later(0.05, process.end, 0, "later")
        """
    )
    out, log = child.communicate(timeout=10)
    assert (child.returncode, out.splitlines()[-1]) == (0, "stopped: later")
    assert "by peer" in log


def test_who_cannot_start_says_why(program):
    child = program(
        """
        async def start():
            raise RuntimeError("no room")
        """
    )
    out, log = child.communicate(timeout=10)
    assert child.returncode == 70
    assert out == "stopped: it cannot start: no room\n"
    assert "RuntimeError: no room" in log


@pytest.mark.parametrize("hang", ["await asyncio.sleep(60)", "time.sleep(60)"])
def test_who_cannot_stop_is_ended_and_the_log_says_where_it_was(program, hang):
    child = program(
        f"""
        async def stop(why):
            {hang}

        process.end(0, "enough")
        """
    )
    began = time.monotonic()
    _, log = child.communicate(timeout=15)
    assert child.returncode == 1
    assert time.monotonic() - began < 10
    assert "Timeout" in log


def test_a_signal_shows_where_everybody_is(program):
    child = program("")
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGUSR1)
    assert "most recent call first" in child.stderr.readline()
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=10)
