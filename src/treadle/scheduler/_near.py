"""Ready tasks by the worker that has their largest input.

The best task of a queue goes to the slot that gets free next, and its inputs are then mostly on
another worker. But as many tasks as there are slots begin at about the same time anyway: which of
them runs where is free to choose. So a slot that would have to fetch for the best task takes, of
those that come soon after it, one whose largest input is on its worker. What was passed over stays
the best, and can be passed over only as often as there are slots.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING

from treadle.scheduler._demand import Demand
from treadle.scheduler._eligibility import demand_of
from treadle.scheduler._relations import each, first, has
from treadle.scheduler._task import TaskState, place_of
from treadle.scheduler._transitions import WAITING
from treadle.scheduler._worker import WorkerState

if TYPE_CHECKING:
    from treadle.scheduler._books import Books

#: Tasks whose ranks are apart by less than this share of all slots begin at about the same time.
#: Measured on 1,000 slots: with all of them a shuffle takes a fifth longer, with a quarter as long as
#: without, but half moves less.
_SOON = 0.5
#: Entries of a worker beyond which what is ready no longer is swept out.
_MANY = 64


def note(books: Books, ts: TaskState) -> None:
    """A task with inputs is ready: list it with the worker that has the largest."""
    policy = books.policy
    if not policy.locality:
        return
    least = policy.latency_s * policy.bandwidth  # less than this costs no more than nothing
    holder = None
    for dep in each(ts.deps):
        if (dep.nbytes or 0) > least:
            least = dep.nbytes or 0
            holder = first(dep.holders)
    room = None if holder is None else books.queues.rooms.get(holder)
    if room is None:
        return
    books.queues.n_near += 1
    heappush(room.near, (ts.options.priority, ts.rank, books.queues.n_near, ts))
    if len(room.near) > room.near_limit:
        room.near = [entry for entry in room.near if _is_ready(entry[3])]
        heapify(room.near)
        room.near_limit = 2 * len(room.near) + _MANY


def _is_ready(ts: TaskState) -> bool:
    return ts.code == WAITING and not ts.n_waiting_on


def nearer(books: Books, demand: Demand, ts: TaskState, ws: WorkerState) -> TaskState | None:
    """A task that the worker had better take than the best of the demand; None if there is none."""
    queues = books.queues
    near = queues.rooms[ws].near
    while near and not _is_ready(near[0][3]):
        heappop(near)
    if not near or _has_what_counts(books, ts, ws):
        return None
    other = near[0][3]
    if (
        other is ts
        or other.rare is not None
        or other.options.priority != ts.options.priority
        or _apart(other.rank, ts.rank) > _SOON * queues.slots
        or other in queues.reserved
        or demand_of(books, other) is not demand
    ):
        return None
    heappop(near)
    return other


def _apart(later: int, sooner: int) -> int:
    """How many tasks come between two, as far as their ranks tell: those of other submissions are
    counted as one each."""
    submission, order = place_of(later)
    submissions = submission - place_of(sooner)[0]
    return submissions + abs(order) if submissions else later - sooner


def _has_what_counts(books: Books, ts: TaskState, ws: WorkerState) -> bool:
    """Whether none of the task's larger inputs would have to be brought to the worker."""
    policy = books.policy
    least = policy.latency_s * policy.bandwidth
    return all((dep.nbytes or 0) <= least or has(dep.holders, ws) for dep in each(ts.deps))
