"""What a process and its children take, and what a worker may."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from treadle.cluster import _agent_budget
from treadle.cluster._agent_budget import most_beside, store_budget, usable_memory
from treadle.cluster._agent_memory import private_bytes

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


@needs_proc
def test_private_memory_counts_children_and_not_what_is_shared():
    before = private_bytes(os.getpid())
    assert before > 1 << 20
    program = "x = bytearray(64 << 20); print(flush=True); input()"
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        child.stdout.readline()
        assert private_bytes(os.getpid()) > before + (60 << 20)
        assert private_bytes(child.pid) > 60 << 20
    finally:
        child.communicate(b"\n")
    assert private_bytes(child.pid) == 0


def test_a_budget_is_a_part_of_what_may_be_used():
    assert 0 < store_budget() < usable_memory()


def test_processes_beside_the_slots_are_as_many_as_memory_and_descriptors_allow():
    assert most_beside(1 << 40, 1 << 20) == 1000
    assert most_beside(3200 << 20, 1 << 20) == 100
    assert most_beside(1 << 40, 1024) == 102
    assert most_beside(0, 0) == 4


def test_the_least_of_all_limits_counts(monkeypatch):
    files = {
        "/proc/meminfo": "MemTotal: 1000 kB\nMemFree: 1 kB\n",
        "/proc/self/cgroup": "0::/a/b\n4:memory,cpu:/old\n",
        "/sys/fs/cgroup/a/b/memory.max": "max\n",
        "/sys/fs/cgroup/a/memory.max": "500000\n",
        "/sys/fs/cgroup/memory/old/memory.limit_in_bytes": "9223372036854771712\n",
    }
    monkeypatch.setattr(_agent_budget, "_read", lambda path: files.get(path, ""))
    assert usable_memory() == 500_000


def test_where_nothing_is_known_something_is_assumed(monkeypatch):
    monkeypatch.setattr(_agent_budget, "_read", lambda path: "")
    assert usable_memory() > 1 << 30
