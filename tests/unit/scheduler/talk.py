"""Clients that coordinate, in a test of the scheduler's machine: each counts its requests."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.harness import Cluster
from treadle import wire
from treadle.scheduler import PeerGone
from treadle.wire import Item


class Talk(Cluster):
    """A cluster in which clients ask."""

    def __init__(self, *clients: str, workers: dict[str, int] | None = None) -> None:
        super().__init__(workers, clients or ("ann", "bob", "cid"))
        self._asks: dict[str, int] = {}
        #: Every request, by who asked and its number.
        self.asked: dict[tuple[str, int], wire.Message] = {}

    def ask(self, name: str, kind: type, *args: Any, **more: Any) -> int:
        """The client asks this; the number of its request."""
        number = self._asks[name] = self._asks.get(name, 0) + 1
        message = self.asked[name, number] = kind(number, *args, **more)
        self.client(name, message)
        return number

    def again(self, name: str, number: int) -> None:
        """The client says a request again."""
        self.client(name, self.asked[name, number])

    def answers(self, name: str, number: int) -> list[Any]:
        """All that it was told about a request: the value, or the error as an exception's text."""
        replies = [m for m in self.told(f"client/{name}", wire.Reply) if m.ask == number]
        return [r.error or r.value for r in replies]

    def get(self, name: str, kind: type, *args: Any, **more: Any) -> Any:
        """Ask what is answered at once, and say that the answer has come."""
        number = self.ask(name, kind, *args, **more)
        (answer,) = self.answers(name, number)
        self.client(name, wire.Heard((number,)))
        return answer

    def gone(self, name: str) -> None:
        """The client's process has died."""
        self.shell(PeerGone(f"client/{name}"))

    def nothing_is_kept(self) -> bool:
        """Whether no named thing is remembered."""
        shared = self.books.shared
        tables = (shared.semaphores, shared.signals, shared.queues, shared.variables)
        return not any(tables) and not shared.clock.heap


def item(text: str, *ids: wire.TaskId) -> Item:
    return Item(text.encode(), ids)


def texts(rows: Any) -> Any:
    """What `item` made of these rows."""
    return None if rows is None else [data.decode() for data, _ in rows]
