"""The processes of one program and all that it started, found by a variable they inherit."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

MARK = "TREADLE_TEST_FAMILY"


class Family:
    """All processes whose environment has the mark. A slot's task may change its own, not what
    the system shows of its start."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def pids(self) -> list[int]:
        """Those that live; a zombie does not."""
        wanted = f"{MARK}={self.mark}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def roles(self) -> dict[str, list[int]]:
        """Process numbers by what they are: node, scheduler, worker, zygote, slot, other."""
        pids = self.pids()
        roles: dict[str, list[int]] = {}
        zygotes = {pid for pid in pids if verb_of(pid) == "zygote" and parent_of(pid) not in pids}
        zygotes |= {pid for pid in pids if verb_of(pid) == "zygote"}
        for pid in pids:
            verb = verb_of(pid)
            if verb == "zygote" and parent_of(pid) in zygotes:
                verb = "slot"
            roles.setdefault(verb, []).append(pid)
        return roles

    def wait_until_gone(self, timeout_s: float) -> list[int]:
        """Those that live still when the time is over; none if all have ended."""
        deadline = time.monotonic() + timeout_s
        while (left := self.pids()) and time.monotonic() < deadline:
            time.sleep(0.02)
        return left

    def end(self) -> None:
        """Kill what is left."""
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def verb_of(pid: int) -> str:
    """The word behind `-m treadle` on its command line; 'other' if there is none."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return "other"
    for at, word in enumerate(words[:-2]):
        if word == "-m" and words[at + 1] == "treadle":
            return words[at + 2]
    return "other"


def parent_of(pid: int) -> int:
    """Its parent; 0 if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[1])


def describe(pids: list[int]) -> str:
    """For a failed test: what they are."""
    lines = []
    for pid in pids:
        try:
            cmdline = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            lines.append(f"{pid} {state} {cmdline[:120]}")
        except OSError:
            lines.append(f"{pid} ended meanwhile")
    return "\n".join(lines)
