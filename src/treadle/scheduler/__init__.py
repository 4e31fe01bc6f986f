"""The scheduler's machine: where and when tasks run. Pure.

`Scheduler` is the machine; `TaskState`, `WorkerState`, `ClientState`, `TaskPrefix` and `TaskGroup`
are what it knows, to be looked at and never changed.
"""

from __future__ import annotations

from treadle.scheduler import _explain
from treadle.scheduler._client import ClientState
from treadle.scheduler._events import SHELL, LinkLost, PeerGone, Send, Tick
from treadle.scheduler._groups import TaskGroup, TaskPrefix
from treadle.scheduler._invariants import check
from treadle.scheduler._machine import Scheduler
from treadle.scheduler._policy import Policy
from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState
from treadle.wire import TaskId


def explain(scheduler: Scheduler, id: TaskId, now: float) -> str:
    """Why the task is where it is, in one sentence, with numbers.

    Args:
        scheduler: who knows the task; nothing of it changes.
        id: the task.
        now: the time, on the clock that the scheduler is told.
    """
    return _explain.explain(scheduler.books, id, now)


def story(scheduler: Scheduler, id: TaskId) -> list[str]:
    """What has happened to the task, a line each, oldest first."""
    return _explain.story(scheduler.books, id)


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
    "check",
    "explain",
    "story",
]
