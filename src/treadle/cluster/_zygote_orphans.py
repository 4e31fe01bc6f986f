"""What slots leave behind when they end: their groups, and what has left these.

A process whose parent has ended becomes the zygote's child, so whatever tasks have started, the
zygote can find it and end it.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from typing import Final

from treadle.cluster._slot_places import SLOT_VARIABLE

#: How long it may take to end all that slots have left.
_ENDING_S: Final = 2.0
_PAUSE_S: Final = 0.002


def kill_group(leader: int) -> None:
    """End a slot and its group."""
    for kill in (os.killpg, os.kill):  # it may not lead a group yet
        try:
            kill(leader, signal.SIGKILL)
        except OSError:
            pass


def end_orphans_of(slot: int, slots: Collection[int]) -> None:
    """End what a slot that died has left in sessions of its own.

    Args:
        slots: processes of slots that live.
    """
    mark = f"\0{SLOT_VARIABLE}={slot}\0".encode()
    for pid in _children():
        if pid not in slots:
            try:
                with open(f"/proc/{pid}/environ", "rb") as file:
                    is_its = mark in b"\0" + file.read()
            except OSError:
                continue
            if is_its:
                _kill(pid)


def end_family(slots: Collection[int]) -> None:
    """End slots and all that they have started."""
    for pid in slots:
        kill_group(pid)
    # What they leave becomes ours, one generation after the other.
    give_up_at = time.monotonic() + _ENDING_S
    while time.monotonic() < give_up_at:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in _children():
            _kill(pid)
        time.sleep(_PAUSE_S)


def _children() -> list[int]:
    """This process's children, where the system tells."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return list(map(int, file.read().split()))
    except OSError:
        return []


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
