"""The scheduler's machine: where and when tasks run. Pure.

`Scheduler` is the machine; `TaskState`, `WorkerState`, `ClientState`, `TaskPrefix` and `TaskGroup`
are what it knows, to be looked at and never changed.
"""

from __future__ import annotations

from treadle.scheduler._client import ClientState
from treadle.scheduler._events import SHELL, LinkLost, PeerGone, Send, Tick
from treadle.scheduler._groups import TaskGroup, TaskPrefix
from treadle.scheduler._machine import Scheduler
from treadle.scheduler._policy import Policy
from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState

__all__ = [
    "SHELL",
    "ClientState",
    "LinkLost",
    "PeerGone",
    "Policy",
    "Scheduler",
    "Send",
    "TaskGroup",
    "TaskPrefix",
    "TaskState",
    "Tick",
    "WorkerState",
]
