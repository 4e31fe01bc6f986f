"""Who is being watched: for silence, and on the way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from treadle.scheduler._client import ClientState
    from treadle.scheduler._muster import Waiting
    from treadle.scheduler._worker import WorkerState
    from treadle.wire import WorkerId

#: What of a draining worker makes it worth another look when it changes.
Stamp = tuple[int, ...]

#: Names of workers that are gone and remembered.
_GONE = 10_000


class Gone(NamedTuple):
    """A worker that is not in the books any longer."""

    epoch: int
    #: Its last registration; a late copy of it is not a new one.
    number: int
    #: It was told to go, and shall not come back.
    sent_away: bool


class Watch:
    """What the rooms of workers and clients remember between steps."""

    def __init__(self) -> None:
        #: When leases are looked at next; None iff there was nobody to watch.
        self.look_at: float | None = None
        #: When the first lease of a worker ends, as of the last look.
        self.first = 0.0
        #: Workers that drain, each as it was when it was last looked at; None: not yet.
        self.draining: dict[WorkerState, Stamp | None] = {}
        #: Workers lost so far: what a draining one has may be the only one since.
        self.losses = 0
        #: Requests to retire workers that are not answered: (client's peer, ask), and which of
        #: them are still there.
        self.asks: dict[tuple[str, int], dict[WorkerId, None]] = {}
        #: The last registration of each worker, as it counts them.
        self.numbers: dict[WorkerState, int] = {}
        #: Workers that are gone, the oldest first.
        self.gone: dict[WorkerId, Gone] = {}
        #: Unknown peers that were told so, and when.
        self.strangers: dict[str, float] = {}
        #: Clients that wait for workers, by (client's peer, ask).
        self.musters: dict[tuple[str, int], Waiting] = {}
        #: The last request of each client to begin anew, and how many workers there were.
        self.restarts: dict[ClientState, tuple[int, int]] = {}
        #: Workers that shall begin anew and have not been heard of since: their epoch, and how
        #: often they were told.
        self.resets: dict[WorkerId, tuple[int, int]] = {}
        #: Clients that were told that they are new, and when; until they come again.
        self.newcomers: dict[ClientState, float] = {}

    def is_told(self, peer: str, now: float, pause_s: float) -> bool:
        """Whether an unknown peer has been told so in this time; if not, it is told now."""
        told = self.strangers.get(peer)
        if told is not None and now - told < pause_s:
            return True
        self.strangers[peer] = now
        return False

    def forget(self, ws: WorkerState, *, sent_away: bool) -> None:
        """A worker is gone."""
        self.losses += 1
        self.draining.pop(ws, None)
        self.gone.pop(ws.id, None)
        if len(self.gone) >= _GONE:
            del self.gone[next(iter(self.gone))]
        self.gone[ws.id] = Gone(ws.epoch, self.numbers.pop(ws, 0), sent_away)
