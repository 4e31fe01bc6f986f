"""Clients: tasks straight to a scheduler, without a kernel."""

from __future__ import annotations

from treadle.client._client import Client
from treadle.client._futures import ClientFuture
from treadle.client._inside import TaskHere, current_task, get_client, rejoin, secede
from treadle.errors import Reschedule

__all__ = [
    "Client",
    "ClientFuture",
    "Reschedule",
    "TaskHere",
    "current_task",
    "get_client",
    "rejoin",
    "secede",
]
