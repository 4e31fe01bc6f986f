"""Faults of processes: rows 1 to 16 of the catalogue, on live processes of one machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.cluster_cases import (
    announce,
    cluster,
    gone,
    my_pid,
    once_killed,
    twice,
    until,
)
from treadle.errors import SchedulerLost, TaskDied

pytestmark = pytest.mark.timeout(60)


def test_fault_01_an_idle_slot_that_is_killed_is_replaced_within_two_seconds(run_dir):
    with cluster(run_dir) as c:
        c.innocents(4)
        until(lambda: len(c.slots()) == 2)
        before = {p.pid for p in c.slots()}
        victim = c.slots()[0]
        victim.kill()
        until(lambda: gone(victim))
        until(lambda: len({p.pid for p in c.slots() if not gone(p)}) == 2, timeout_s=2)
        assert {p.pid for p in c.slots()} != before
        future = c.call(twice, 4)
        assert future.result(timeout=10) == 8
        assert future.task_record.fail_count == 0
        c.innocents()


def test_fault_02_a_task_whose_slot_is_killed_runs_again_elsewhere(run_dir, tmp_path):
    with cluster(run_dir) as c:
        future = c.call(once_killed, str(tmp_path / "once"))
        assert future.result(timeout=10) == "again"
        assert future.task_record.fail_cost == 0, "a death spends no retry"


def test_fault_02_a_death_is_known_within_a_second(run_dir, tmp_path):
    with cluster(run_dir, deaths=1) as c:
        path = tmp_path / "pid"
        future = c.call(announce, str(path), 60)
        until(path.exists)
        until(lambda: path.read_text() != "")
        began = time.monotonic()
        os.kill(int(path.read_text()), signal.SIGKILL)
        error = future.exception(timeout=10)
        assert isinstance(error, TaskDied)
        assert time.monotonic() - began < 1
        assert error.exit_code == -signal.SIGKILL


def test_fault_03_a_result_that_died_with_its_slot_is_computed_once_more(run_dir, tmp_path):
    # Just before its report leaves, the slot dies: the first time only.
    def die_at_the_end(path: str) -> int:
        import atexit  # noqa: F401 - what a task may have loaded
        import threading

        if not os.path.exists(path):
            open(path, "w").close()
            threading.Thread(target=lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
        return 7

    with cluster(run_dir) as c:
        futures = [c.call(die_at_the_end, str(tmp_path / str(n))) for n in range(4)]
        assert [f.result(timeout=15) for f in futures] == [7] * 4


def test_fault_04_with_its_agent_all_slots_die(run_dir):
    with cluster(run_dir) as c:
        c.innocents(4)
        processes = [c.node, c.zygote, *c.slots()]
        c.node.kill()
        until(lambda: all(map(gone, processes)), timeout_s=2)


def test_fault_05_whoever_waits_hears_within_five_seconds_that_the_scheduler_is_lost(
    run_dir, tmp_path
):
    with cluster(run_dir) as c:
        waiting = c.call(announce, str(tmp_path / "pid"), 60)
        behind = c.call(twice, waiting)
        until((tmp_path / "pid").exists)
        began = time.monotonic()
        c.node.kill()
        error = waiting.exception(timeout=5)
        assert isinstance(error, SchedulerLost)
        assert error.exit_code == -signal.SIGKILL
        assert behind.exception(timeout=5) is not None
        assert time.monotonic() - began < 5
        c.innocents()


@contextmanager
def program(run_dir: Path, task: str, then: str) -> Iterator[tuple[Any, list[psutil.Process]]]:
    """A program in a process of its own that runs this many tasks; it, and all that it started."""
    text = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from tests.integration.cluster_cases import cluster, my_pid\n"
        "with cluster(Path(sys.argv[1])) as c:\n"
        f"    futures = [c.call(my_pid, {task}]\n"
        "    until = time.monotonic() + 15\n"
        "    while len(c.children()) < 4 and time.monotonic() < until: time.sleep(0.01)\n"
        "    print(*[p.pid for p in c.children()], flush=True)\n"
        f"    {then}\n"
    )
    user = subprocess.Popen(
        [sys.executable, "-c", text, str(run_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert user.stdout is not None
        pids = [int(pid) for pid in user.stdout.readline().split()]
        assert len(pids) >= 4
        yield user, [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    finally:
        user.kill()
        user.wait()
        if user.stdout is not None:
            user.stdout.close()


def test_fault_07_with_the_users_process_everything_ends(run_dir):
    with program(run_dir, "60) for _ in range(2)", "time.sleep(60)") as (user, processes):
        user.kill()
        user.wait()
        until(lambda: all(map(gone, processes)), timeout_s=10)


@pytest.mark.parametrize("interrupts", [1, 2])
def test_fault_08_ctrl_c_ends_the_program_and_leaves_nothing(run_dir, interrupts):
    then = "[f.result() for f in futures]; time.sleep(30)"
    with program(run_dir, "0.01) for _ in range(500)", then) as (user, processes):
        for _ in range(interrupts):
            user.send_signal(signal.SIGINT)
            time.sleep(0.02)
        assert user.wait(20) != 0
        until(lambda: all(map(gone, processes)), timeout_s=10)


def test_fault_09_a_slot_that_is_asked_to_end_is_replaced_and_its_task_runs_again(
    run_dir, tmp_path
):
    with cluster(run_dir) as c:
        future = c.call(once_killed, str(tmp_path / "once"), signal.SIGTERM)
        assert future.result(timeout=10) == "again"
        c.innocents()


def test_fault_09_a_node_that_is_asked_to_end_ends_well(run_dir):
    with cluster(run_dir) as c:
        c.innocents(4)
        node, processes = c.node, c.children()
        node.terminate()
        until(lambda: all(map(gone, processes)), timeout_s=10)
        c.innocents()


def test_fault_10_a_worker_that_is_stopped_for_a_while_loses_and_doubles_nothing(run_dir, tmp_path):
    def count(path: str, value: int) -> int:
        with open(path, "a") as file:
            file.write(f"{value}\n")
        time.sleep(0.002)
        return value

    with cluster(run_dir) as c:
        c.innocents(4)
        futures = [c.call(count, str(tmp_path / "runs"), n) for n in range(300)]
        futures[20].result(timeout=10)
        stopped = [c.node, *c.slots()]
        for process in stopped:
            process.suspend()
        time.sleep(1.5)
        for process in stopped:
            process.resume()
        assert [f.result(timeout=20) for f in futures] == list(range(300))
        runs = sorted(int(line) for line in (tmp_path / "runs").read_text().split())
        assert runs == list(range(300)), "each ran once"


def test_fault_12_a_scheduler_that_slept_longer_than_any_lease_gives_nobody_up(run_dir):
    with cluster(run_dir, lease=1.0, heartbeat_period=0.2) as c:
        futures = [c.call(my_pid, 0.01) for _ in range(100)]
        futures[0].result(timeout=10)
        c.node.suspend()
        time.sleep(2.5)
        c.node.resume()
        slots = {f.result(timeout=15) for f in futures}
        assert len(slots) <= 2, "no slot was replaced"
        assert all(f.task_record.fail_count == 0 for f in futures)


def test_fault_14_tasks_finish_while_slots_die_again_and_again(run_dir, soak_s):
    with cluster(run_dir, deaths=100) as c:
        until_s = time.monotonic() + max(3.0, soak_s)
        done = 0
        while time.monotonic() < until_s:
            futures = [c.call(my_pid, 0.01) for _ in range(20)]
            victims = [p for p in c.slots() if not gone(p)]
            if victims:
                victims[done % len(victims)].kill()
            for future in futures:
                assert future.result(timeout=15) > 0
                done += 1
        assert done >= 40
