"""How a client watches and steers its cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client._base import ClientBase, Flow

if TYPE_CHECKING:
    from treadle.client._futures import ClientFuture


class ControlCalls(ClientBase):
    """What a client asks of its cluster."""

    def explain(self, future: ClientFuture[Any]) -> str:
        """Why this task is where it is, in one sentence."""
        flow: Flow[str] = self._ask(lambda ask: wire.Explain(ask, future.id))
        return self._do(flow)

    def story(self, future: ClientFuture[Any]) -> list[str]:
        """What has happened to this task, a line each, oldest first."""
        flow: Flow[list[str]] = self._ask(lambda ask: wire.Story(ask, future.id))
        return self._do(flow)
