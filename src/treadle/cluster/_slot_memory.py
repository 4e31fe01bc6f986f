"""How much private memory a slot has, and had at most."""

from __future__ import annotations

import os
import resource
import sys
from typing import Final

#: How often a slot looks whether it has grown.
LOOK_NS: Final = 250_000_000
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
#: What `ru_maxrss` counts in.
_MAXRSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024
#: What makes the kernel forget the most that there was.
_FORGET_PEAK: Final = b"5"


class Memory:
    """Private memory of this process: what it shares with the store does not count."""

    def __init__(self, recycle_bytes: int) -> None:
        self._recycle_bytes = recycle_bytes
        self._looked_at = 0
        self._start = self._private()[0]

    def peak(self) -> int:
        """The most private bytes since this was last asked. Costs some 20 us."""
        private, shared = self._private()
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _MAXRSS_UNIT - shared
        try:
            with open("/proc/self/clear_refs", "wb", buffering=0) as file:
                file.write(_FORGET_PEAK)
        except OSError:  # no Linux, or it is forbidden: the peak may be that of a task long ago
            return private
        return max(private, most)

    def grown_too_much(self, now_ns: int) -> str:
        """Why this process should be replaced; empty if it need not be, or it is too soon to ask."""
        if now_ns - self._looked_at < LOOK_NS:
            return ""
        self._looked_at = now_ns
        grown = self._private()[0] - self._start
        if self._recycle_bytes and grown > self._recycle_bytes:
            return f"it has grown by {grown >> 20} MiB"
        return _few_descriptors()

    def _private(self) -> tuple[int, int]:
        """Bytes in memory that are private, and that are shared or of files."""
        try:
            with open("/proc/self/statm", "rb") as file:
                resident, shared = map(int, file.read().split()[1:3])
        except OSError:
            return 0, 0
        return (resident - shared) * _PAGE, shared * _PAGE


def _few_descriptors() -> str:
    """Why the next tasks could not open files; empty if they can."""
    try:
        used = len(os.listdir("/proc/self/fd"))
    except OSError:
        return ""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most != resource.RLIM_INFINITY and used > most // 2:
        return f"{used} of {most} descriptors are open"
    return ""
