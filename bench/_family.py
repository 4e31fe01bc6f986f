"""All processes of a measure: their processor time and their memory.

Engines start daemons that are nobody's children. All inherit an environment variable that the
measure's own process was started with, and are found by it.
"""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

#: Set by who starts a measure, to something nobody else has.
MARK = "TREADLE_BENCH_FAMILY"


def pids(mark: str | None = None) -> list[int]:
    """The processes of a measure, by default of the one that this process is of."""
    wanted = f"{MARK}={mark or os.environ.get(MARK, 'none')}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if wanted in (entry / "environ").read_bytes():
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def end_family(mark: str) -> None:
    """End what a measure has left behind."""
    for pid in pids(mark):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


class CpuClock:
    """Processor time of all of them. What one that has ended spent since the start is not known."""

    def __init__(self) -> None:
        self._before = {pid: _cpu_s(pid) for pid in pids()}

    def spent_s(self) -> float:
        """Since it was made, in seconds."""
        now = {pid: _cpu_s(pid) for pid in pids()}
        return sum(spent - self._before.get(pid, 0.0) for pid, spent in now.items())


def _cpu_s(pid: int) -> float:
    """Of a live process: its threads to the nanosecond."""
    total = 0
    try:
        for thread in Path(f"/proc/{pid}/task").iterdir():
            total += int((thread / "schedstat").read_text().split()[0])
    except (OSError, IndexError):
        return 0.0
    return total / 1e9


def memory_bytes() -> int:
    """What all of them occupy, shared pages counted once."""
    total = 0
    for pid in pids():
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


class PeakMemory:
    """The most that all of them occupied while it was open, looked at often."""

    def __init__(self, every_s: float = 0.05) -> None:
        self.bytes = 0
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.bytes = max(self.bytes, memory_bytes())
            if self._over.wait(self._every_s):
                return
