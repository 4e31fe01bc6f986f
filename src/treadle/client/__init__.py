"""Clients: tasks straight to a scheduler, without a kernel."""

from __future__ import annotations

from treadle.client._client import Client
from treadle.client._futures import ClientFuture

__all__ = ["Client", "ClientFuture"]
