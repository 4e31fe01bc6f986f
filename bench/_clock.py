"""How much time, processor time and memory something took."""

from __future__ import annotations

import gc
import multiprocessing
import os
import resource
import sys
import time
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Stopwatch:
    """Wall time, and the processor time of all threads and of all live child processes."""

    def __init__(self) -> None:
        self._cpu_s = _cpu_s()
        self._wall_s = time.perf_counter()

    def wall_us(self, count: int) -> float:
        """Microseconds so far, of each of so many."""
        return 1e6 * (time.perf_counter() - self._wall_s) / count

    def cpu_us(self, count: int) -> float:
        """The same of processor time."""
        return 1e6 * (_cpu_s() - self._cpu_s) / count


def _cpu_s() -> float:
    children = sum(_cpu_of(child.pid) for child in multiprocessing.active_children() if child.pid)
    return time.process_time() + children


def _cpu_of(pid: int) -> float:
    """Of another process, in nanoseconds where the system tells."""
    total_ns = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total_ns += int((thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError):  # it has just ended, or this is not Linux
        return 0.0
    return total_ns / 1e9


def memory_bytes() -> int:
    """What this process occupies now; its peak where the system tells only that."""
    gc.collect()
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    except OSError:
        return peak_bytes()


def peak_bytes() -> int:
    """The most that this process has occupied."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def percentile(values: list[float], percent: float) -> float:
    """The value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]
