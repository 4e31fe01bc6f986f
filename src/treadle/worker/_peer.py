"""Another worker: what is asked of it, and what is sent to it."""

from __future__ import annotations

from heapq import heappop, heappush

from msgspec import Struct, field

from treadle.wire import TaskId
from treadle.worker._job import Priority
from treadle.worker._replica import Place, Replica


class Request(Struct, eq=False):
    """Objects that a peer has been asked for. Room for them is reserved."""

    ask: int
    replicas: list[Replica]
    nbytes: int
    #: When the peer counts as unreachable.
    due: float


class Peer(Struct, eq=False):
    """A worker that objects can be had from."""

    name: str
    #: Breaks ties between peers, differently on each worker.
    salt: int
    #: (priority, serial, object it should have), a heap; some are stale.
    heap: list[tuple[Priority, int, Replica]] = field(default_factory=list)
    #: The one request in flight.
    request: Request | None = None
    #: How many requests it has had.
    asks: int = 0
    #: It is left alone until then, for the so manieth time in a row.
    rests_until: float = 0.0
    rests: int = 0

    def push(self, priority: Priority, serial: int, replica: Replica) -> None:
        heappush(self.heap, (priority, serial, replica))

    def head(self) -> tuple[Priority, Replica] | None:
        """The best ranked object that it should have and that has to be asked for."""
        heap = self.heap
        while heap:
            priority, _, replica = heap[0]
            search = replica.search
            if (
                replica.place is Place.absent
                and search is not None
                and self.name in search.holders
                and (replica.wanted or search.due is not None)
            ):
                return priority, replica
            heappop(heap)
        return None

    def pop(self) -> None:
        """Take out what `head` has just returned."""
        heappop(self.heap)


class Transfer(Struct, eq=False):
    """Objects that a peer has asked for. They are used until the transfer is over."""

    peer: str
    ask: int
    replicas: list[Replica]
    missing: list[TaskId]
    nbytes: int
    #: When it counts as over, whatever the shell has said; None before it is sent.
    due: float | None = None
