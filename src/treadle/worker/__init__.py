"""The worker's own life of a task: a queue, fetches, a store, slots. Pure.

`Worker` is the machine, `check` says whether its books balance; events and commands are what its
shell tells it and is told.
"""

from __future__ import annotations

from treadle.worker._events import (
    SCHEDULER,
    SHELL,
    Began,
    Command,
    Deny,
    Discard,
    DrainAsked,
    Ended,
    Exit,
    Feed,
    Grant,
    GrantAsked,
    KillSlot,
    LinkDown,
    LinkUp,
    NotRestored,
    NotSpilled,
    Raised,
    Restore,
    Restored,
    Send,
    Sent,
    ShellEvent,
    SlotDown,
    SlotUp,
    Spill,
    Spilled,
    StartSlot,
    Stored,
    TakeBack,
    TakenBack,
    Tick,
)
from treadle.worker._invariants import check
from treadle.worker._limits import Limits
from treadle.worker._machine import Worker

__all__ = [
    "Began",
    "Command",
    "Deny",
    "Discard",
    "DrainAsked",
    "Ended",
    "Exit",
    "Feed",
    "Grant",
    "GrantAsked",
    "KillSlot",
    "Limits",
    "LinkDown",
    "LinkUp",
    "NotRestored",
    "NotSpilled",
    "Raised",
    "Restore",
    "Restored",
    "SCHEDULER",
    "SHELL",
    "Send",
    "Sent",
    "ShellEvent",
    "SlotDown",
    "SlotUp",
    "Spill",
    "Spilled",
    "StartSlot",
    "Stored",
    "TakeBack",
    "TakenBack",
    "Tick",
    "Worker",
    "check",
]
