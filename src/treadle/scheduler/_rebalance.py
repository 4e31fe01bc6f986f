"""Results move from full workers to emptier ones.

Greedy: again and again the largest result that fits moves from the fullest worker to the emptiest,
in a plan; then the plan is ordered. A result leaves the full worker only when its copy has arrived,
nobody is about to read it there, and it is not the last: so it is safe while all are busy.
"""

from __future__ import annotations

from heapq import heapify, heappop, heapreplace

from msgspec import Struct, field

from treadle.scheduler._books import Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._client import ClientState
from treadle.scheduler._copies import close, open_job, order, takers
from treadle.scheduler._relations import has
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import MEMORY
from treadle.scheduler._worker import WorkerState
from treadle.wire import Rebalance

#: Results that one request moves at the most.
_MOST = 10_000
#: Workers whose loads differ by less than this part of the fuller one's are in balance.
_CLOSE = 0.05


class _Pan(Struct, eq=False):
    """A worker while it is planned."""

    ws: WorkerState
    #: Bytes that it would have, and how many of them are full.
    nbytes: int
    capacity: int
    #: Results it may give, the smallest first.
    gives: list[TaskState] = field(default_factory=list)

    @property
    def load(self) -> float:
        return self.nbytes / self.capacity


def rebalance(books: Books, client: ClientState, message: Rebalance) -> None:
    """Move results from full workers to emptier ones; answer when they have moved."""
    job = open_job(books, client, message.ask)
    if job is None:
        return
    movable: dict[TaskState, None] = {}
    for id in message.ids:
        ts = owner(books, id)
        if ts is None:
            job.errors.append(f"{id!r} is not known (any longer)")
        else:
            movable[ts] = None
    if movable or not message.ids:
        for ts, source, target in _plan(books, takers(books, message.workers), movable):
            if target not in books.moves.under_way(ts):
                move = order(books, ts, target)
                move.source = source
                move.job = job
                job.open += 1
    close(books, job)


def _plan(
    books: Books, workers: list[WorkerState], movable: dict[TaskState, None]
) -> list[tuple[TaskState, WorkerState, WorkerState]]:
    """What moves from where to where."""
    pans = _pans(books, workers, movable)
    full = [(-pan.load, place) for place, pan in enumerate(pans) if pan.gives]
    empty = [(pan.load, place) for place, pan in enumerate(pans)]
    heapify(full)
    heapify(empty)
    plan: list[tuple[TaskState, WorkerState, WorkerState]] = []
    while full and len(plan) < _MOST:
        load, place = full[0]
        giver = pans[place]
        if load != -giver.load:
            heapreplace(full, (-giver.load, place))
            continue
        load, place = empty[0]
        taker = pans[place]
        if load != taker.load:
            heapreplace(empty, (taker.load, place))
            continue
        ts = _largest_that_helps(books, giver, taker)
        if ts is None:
            heappop(full)
            continue
        size = ts.nbytes or 0
        giver.nbytes -= size
        taker.nbytes += size
        plan.append((ts, giver.ws, taker.ws))
    return plan


def _pans(books: Books, workers: list[WorkerState], movable: dict[TaskState, None]) -> list[_Pan]:
    by_size = all(ws.memory_bytes for ws in workers)
    pans = []
    for ws in workers:
        pan = _Pan(ws, ws.nbytes, ws.memory_bytes if by_size else 1)
        pan.gives = [
            ts
            for ts in ws.has_what
            if (not movable or ts in movable)
            and ts.code == MEMORY
            and ts.nbytes
            and not ts.actor
            and ts not in books.moves.of
        ]
        pan.gives.sort(key=lambda ts: ts.nbytes or 0)
        pans.append(pan)
    return pans


def _largest_that_helps(books: Books, giver: _Pan, taker: _Pan) -> TaskState | None:
    """The largest result whose move makes the fuller of the two less full.

    Differences only shrink while a plan is made: what does not fit now never will.
    """
    load = giver.load
    if taker is giver or load - taker.load <= _CLOSE * load:
        return None
    while giver.gives:
        ts = giver.gives.pop()
        if (taker.nbytes + (ts.nbytes or 0)) / taker.capacity < load and not has(
            ts.holders, taker.ws
        ):
            return ts
    return None
