"""Clients: tasks straight to a scheduler, without a kernel."""

from __future__ import annotations

from treadle.client._actors import Actor
from treadle.client._client import Client
from treadle.client._events import Event
from treadle.client._futures import ClientFuture
from treadle.client._inside import TaskHere, current_task, get_client, rejoin, secede
from treadle.client._locks import Lock, Semaphore
from treadle.client._queues import Queue
from treadle.client._variables import Variable
from treadle.client._waiting import as_completed, fire_and_forget, wait
from treadle.errors import Reschedule

__all__ = [
    "Actor",
    "Client",
    "ClientFuture",
    "Event",
    "Lock",
    "Queue",
    "Reschedule",
    "Semaphore",
    "TaskHere",
    "Variable",
    "as_completed",
    "current_task",
    "fire_and_forget",
    "get_client",
    "rejoin",
    "secede",
    "wait",
]
