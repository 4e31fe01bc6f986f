"""Topics and metadata of a cluster."""

from __future__ import annotations

from treadle.client._base import ClientBase


class TopicCalls(ClientBase):
    """What a client says to, and hears from, others of its cluster."""
