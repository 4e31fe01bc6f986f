"""What Linux lets a process say about itself; nothing happens where it cannot be said."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_LINUX: Final = sys.platform.startswith("linux")
_prctl = ctypes.CDLL(None, use_errno=True).prctl if _LINUX else None


def die_with_parent(parent: int, signal: int) -> bool:
    """Have this signal sent to this process when its parent ends.

    Args:
        parent: the parent's process id, as it was before this process was made.

    Returns:
        False if the parent has ended already.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, signal, 0, 0, 0)
    # It may have ended before the signal was asked for; then a reaper is the parent now.
    return os.getppid() == parent


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends."""
    if _prctl is not None:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def offer_to_oom_killer(score: int) -> None:
    """Have the kernel end this process before others when memory runs out."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    except OSError:  # not Linux, or a container that forbids it
        pass
