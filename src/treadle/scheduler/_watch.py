"""Who is being watched: for silence, and on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.scheduler._worker import WorkerState
    from treadle.wire import WorkerId

#: What of a draining worker is looked at again when it changes.
Stamp = tuple[int, int, int, int]

#: Names of departed workers that are remembered.
_DEPARTED = 10_000


class Watch:
    """What the rooms of workers and clients remember between steps."""

    def __init__(self) -> None:
        #: When leases are looked at next; None iff there was nobody to watch.
        self.look_at: float | None = None
        #: Workers that drain, each as it was when it was last looked at; None: not yet.
        self.draining: dict[WorkerState, Stamp | None] = {}
        #: Workers lost so far: what a draining one has may be the only one since.
        self.losses = 0
        #: Requests to retire workers that are not answered: (client's peer, ask), and which of
        #: them are still there.
        self.asks: dict[tuple[str, int], dict[WorkerId, None]] = {}
        #: Workers that were sent away, and which process that was. Oldest first.
        self.departed: dict[WorkerId, int] = {}
        #: Unknown peers that were told so, and when.
        self.strangers: dict[str, float] = {}

    def remember_departed(self, ws: WorkerState) -> None:
        """That process of the name does not come back."""
        self.departed.pop(ws.id, None)
        if len(self.departed) >= _DEPARTED:
            del self.departed[next(iter(self.departed))]
        self.departed[ws.id] = ws.epoch
