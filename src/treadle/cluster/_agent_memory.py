"""How much private memory a process and its descendants have. Pages of the store do not count."""

from __future__ import annotations

import os
import sys
from typing import Final

_LINUX: Final = sys.platform.startswith("linux")
#: More descendants than this are not looked at.
_MOST: Final = 1000
#: Threads of one process whose children are looked for.
_MOST_THREADS: Final = 64
#: What counts, of what stands in /proc/PID/status, in KiB.
_PRIVATE: Final = (b"RssAnon:", b"VmSwap:")


def private_bytes(pid: int) -> int:
    """Private memory of a process and of all that it has started; 0 if it is gone. May take
    milliseconds: not for a loop's thread."""
    if not _LINUX:
        return _elsewhere(pid)
    total = 0
    left = [pid]
    seen = 0
    while left and seen < _MOST:
        one = left.pop()
        seen += 1
        total += _of_one(one)
        left += _children(one)
    return total


def _of_one(pid: int) -> int:
    total = 0
    for line in _read(f"/proc/{pid}/status").splitlines():
        if line.startswith(_PRIVATE):
            total += int(line.split()[1]) * 1024
    return total


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return children
    for thread in threads[:_MOST_THREADS]:
        children += map(int, _read(f"/proc/{pid}/task/{thread}/children").split())
    return children


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except OSError:
        return b""


def _elsewhere(pid: int) -> int:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        return sum(member.memory_info().rss for member in family)
    except psutil.Error:
        return 0
