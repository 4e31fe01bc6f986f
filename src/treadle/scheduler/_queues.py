"""Tasks that are ready, until a worker has room for them.

Two rules. *The best first*: of all tasks that some worker has room for, the one with the lowest
priority, rank and arrival is placed, whatever else is queued. *Nothing for nothing*: a step looks
only at demands that have got tasks or workers since the last, so its cost grows with what it
places, not with what is queued or connected.

A demand that needs several slots or a resource is not starved by small tasks: when its head is the
best and every worker is too full for it, the one that is expected to be free first is kept free for
it. All that comes after the head leaves alone there what it waits for.

Calls of actors stand in no queue: they go to where their actor lives, in the order of admission.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush, heapreplace
from math import nextafter
from typing import TYPE_CHECKING

from treadle.scheduler._demand import Demand, outranks
from treadle.scheduler._dispatch import start
from treadle.scheduler._eligibility import (
    demand_of,
    expire,
    own_demand,
    refresh,
    settle,
    settle_reservation,
    unreserve,
)
from treadle.scheduler._near import nearer, note
from treadle.scheduler._parts import cut
from treadle.scheduler._placement import (
    LEAST_S,
    Wait,
    choose,
    fits_drained,
    fits_now,
    is_short,
    keep_free,
    let_go,
)
from treadle.scheduler._queue_checks import check
from treadle.scheduler._rooms import NEVER, Queues, Reserved
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import MEMORY, NO_WORKER, WAITING, advance
from treadle.scheduler._worker import WorkerState

if TYPE_CHECKING:
    from treadle.scheduler._books import Books

__all__ = [
    "Queues",
    "actor_lives",
    "assign",
    "before",
    "check",
    "has_long",
    "has_room",
    "joined",
    "left",
    "ready",
    "set_aside",
    "wake_at",
    "withdraw",
]


def ready(books: Books, ts: TaskState) -> None:
    """A waiting task has all its inputs: queue it, or mark it as one that no worker can run."""
    queues = books.queues
    rare = ts.rare
    if rare is not None and rare.home is not None:
        queues.homes[rare.home] = None
        return
    demand = demand_of(books, ts)
    demand.push(ts)
    if ts.deps is not None and demand.near:
        note(books, ts)
    if demand.code == NO_WORKER:
        advance(ts, NO_WORKER)
        queues.unfit[demand] = None
    queues.awake[demand] = None
    if queues.held:
        queues.fresh.update(queues.held)  # it may come before what they are kept free for
    if queues.crowded:
        queues.fresh.update(queues.crowded)  # it may be what is waited for there


def withdraw(books: Books, ts: TaskState) -> None:
    """A task that is ready shall not be placed after all."""
    queues = books.queues
    rare = ts.rare
    if rare is not None and rare.home is not None:
        queues.homes[rare.home] = None  # the next one may go
        return
    if queues.tired:
        queues.tired.pop(ts, None)
    if queues.reserved and ts in queues.reserved:
        unreserve(queues, ts)
        return
    demand = demand_of(books, ts)
    demand.withdraw(ts)
    if demand.hold is not None:
        if demand.n:
            queues.fresh[demand.hold] = None  # others may come before the head that it has now
        else:
            let_go(queues, demand)


def has_room(books: Books, ws: WorkerState) -> None:
    """A worker may have more room than before."""
    books.queues.fresh[ws] = None


def set_aside(books: Books, ws: WorkerState) -> None:
    """Tasks of a worker wait for others: it has room, but what these hold stays taken."""
    room = books.queues.rooms[ws]
    room.recount = True
    if room.held_for is not None and not fits_drained(ws, room.held_for, books.now):
        let_go(books.queues, room.held_for)
    books.queues.fresh[ws] = None
    if ws.n_aside >= books.policy.aside * ws.slots:
        books.queues.crowded[ws] = None


def has_long(books: Books, ws: WorkerState, ts: TaskState) -> None:
    """A task takes its slot again, for nobody knows how long."""
    books.queues.rooms[ws].add_long(ts)
    books.queues.fresh[ws] = None  # it may be less crowded


def joined(books: Books, ws: WorkerState) -> None:
    """A worker has come, or takes work again."""
    refresh(books, ws)
    for actor in ws.actors:
        books.queues.homes[actor] = None


def left(books: Books, ws: WorkerState) -> None:
    """A worker is gone, or takes no more work; but its actors may be asked while it drains."""
    joined(books, ws)
    for demand in books.queues.demands.values():
        if demand.avoid and demand.n:  # there may be no other worker now
            last = books.workers.get(demand.avoid)
            if last is not None:
                books.queues.fresh[last] = None


def actor_lives(books: Books, ts: TaskState) -> None:
    """An actor's process is there: its calls may be sent."""
    books.queues.homes[ts] = None


def wake_at(books: Books) -> float | None:
    """When `assign` wants to be called, if nothing happens before; None: never."""
    queues = books.queues
    at = queues.next_expiry
    if at != NEVER:
        at = nextafter(at, NEVER)  # until then, what begins ends in time
    elif not queues.vigils:
        return None
    return min(at, queues.vigils[0][0]) if queues.vigils else at


def assign(books: Books) -> None:
    """Give ready tasks to workers with room; then mark what no worker can run."""
    queues = books.queues
    if queues.homes:
        _call(books)
    if queues.vigils:
        _look_after(books)
    if queues.next_expiry < books.now:
        expire(books)
    while queues.fresh or queues.awake:
        if queues.fresh:
            _offer(books)
        if queues.awake:
            _fill(books)
    if queues.unsettled:
        settle(queues)


def _offer(books: Books) -> None:
    """Tell demands of workers where something has changed."""
    queues = books.queues
    fresh, queues.fresh = queues.fresh, {}
    unbounded = not books.policy.hold_back
    for ws in fresh:
        if queues.crowded and ws.n_aside < books.policy.aside * ws.slots:
            queues.crowded.pop(ws, None)
        room = queues.rooms.get(ws)
        if room is None or not room.usable:
            continue
        if room.long:
            room.recount = True
        for demand in room.demands:
            if demand.bulky and not fits_now(demand, ws):
                if demand.n and demand.hungry:
                    keep_free(books, demand, ws)
                continue
            demand.offer(ws, unbounded=unbounded)
            if demand.n:
                queues.awake[demand] = None


def _fill(books: Books) -> None:
    """Place tasks, the best first, until no demand that was awake has room for its head."""
    queues = books.queues
    awake, queues.awake = queues.awake, {}
    if len(awake) == 1:
        (demand,) = awake
        while demand.n and _place_head(books, demand):
            pass
        return
    heap = []
    for demand in awake:
        ts = demand.peek()
        if ts is not None:
            heap.append((ts.options.priority, ts.rank, demand.serial, demand))
    heapify(heap)
    while heap:
        demand = heap[0][3]
        ts = demand.peek() if _place_head(books, demand) else None
        if ts is None:
            heappop(heap)
        else:
            heapreplace(heap, (ts.options.priority, ts.rank, demand.serial, demand))


def _place_head(books: Books, demand: Demand) -> bool:
    """Place a demand's best task, or one that has more on that worker; False if nobody has room."""
    ts = demand.peek()
    if ts is None:
        return False
    queues = books.queues
    rare = ts.rare
    rows = 1 if rare is None or rare.rows is None else _rows_now(books, ts)
    seconds, short = _expected(books, demand, ts, rows)
    ws = choose(books, demand, ts, short=short)
    if ws is None:
        return False
    if (
        ts.deps is not None
        and type(ws) is WorkerState
        and demand.near
        and (other := nearer(books, demand, ts, ws)) is not None
    ):
        demand.withdraw(other)
        seconds, short = _expected(books, demand, other, 1)
        _give(books, demand, other, ws, seconds, short=short)
        return True
    demand.pop()
    if demand.hold is not None:
        let_go(queues, demand)
    if type(ws) is Wait:
        _reserve(books, demand, ts, ws, seconds)
        return True
    assert isinstance(ws, WorkerState)
    if rare is not None and rows < rare.n_rows:
        rest = demand.base or demand
        rest.push(cut(books, ts, rows))
        queues.awake[rest] = None
    _give(books, demand, ts, ws, seconds, short=short)
    if demand.base is not None:
        entry = queues.reserved.pop(ts)
        settle_reservation(queues, entry.room, demand, entry.expected_s)
    return True


def _expected(books: Books, demand: Demand, ts: TaskState, rows: int) -> tuple[float, bool]:
    """Seconds that so many rows of a task take a slot, and whether that is known to be short."""
    if not demand.slots:
        return 0.0, False
    duration_s = ts.group.prefix.duration_s
    if duration_s is None:
        return books.policy.unknown_s * rows, False
    seconds = duration_s * rows
    if seconds < LEAST_S:
        return LEAST_S, demand.feedable
    return seconds, demand.feedable and is_short(books, seconds)


def _give(
    books: Books, demand: Demand, ts: TaskState, ws: WorkerState, seconds: float, *, short: bool
) -> None:
    """Hand a task that has left its queue to a worker, and remember what that means for others."""
    queues = books.queues
    start(books, ts, ws, seconds, ahead=short and seconds < books.policy.ahead_s)
    if not short:
        queues.rooms[ws].add_long(ts)
    if demand.avoid:
        ts.rarely().avoid = ""
    if demand.idle and ws.slots_taken >= ws.slots and books.policy.hold_back:
        demand.filled(ws)
    if queues.tired:
        queues.tired.pop(ts, None)


def _rows_now(books: Books, ts: TaskState) -> int:
    """How many rows of a bundle are sent at once: one while nothing is known of them, then twice
    what has finished of their kind at the most, and as many as fill `bundle_s` in the end."""
    prefix = ts.group.prefix
    duration_s = prefix.duration_s
    if duration_s is None:
        return 1
    most = int(books.policy.bundle_s / duration_s) if duration_s > 0 else ts.rows
    return max(1, min(most, 2 * prefix.finished, ts.rows))


# --- tasks that wait for the worker with their inputs ------------------------------------------


def _reserve(books: Books, demand: Demand, ts: TaskState, wait: Wait, seconds: float) -> None:
    """Let a task wait for one worker, for twice as long as that is expected to take."""
    queues = books.queues
    room = queues.rooms[wait.ws]
    own = own_demand(queues, demand, room)
    own.push(ts)
    room.own_s += seconds
    until = books.now + 2 * wait.start_s + LEAST_S
    entry = queues.reserved[ts] = Reserved(own, room, seconds, until)
    queues.n_vigils += 1
    heappush(queues.vigils, (until, queues.n_vigils, ts, entry))
    if len(queues.vigils) > 2 * len(queues.reserved) + 16:
        queues.vigils = [v for v in queues.vigils if queues.reserved.get(v[2]) is v[3]]
        heapify(queues.vigils)


def _look_after(books: Books) -> None:
    """Tasks that have waited too long for one worker go where there is room."""
    queues = books.queues
    vigils = queues.vigils
    while vigils:
        until, _, ts, entry = vigils[0]
        current = queues.reserved.get(ts) is entry
        if current and until > books.now:
            return
        heappop(vigils)
        if current:
            base = entry.demand.base
            assert base is not None
            unreserve(queues, ts)
            base.push(ts)
            queues.tired[ts] = None
            queues.awake[base] = None


# --- calls of actors ---------------------------------------------------------------------------


def _call(books: Books) -> None:
    """Send calls to actors, each actor's in the order of admission."""
    queues = books.queues
    homes, queues.homes = queues.homes, {}
    for home in homes:
        rare = home.rare
        if home.code != MEMORY or rare is None or not rare.calls:
            continue
        ws = home.holders
        if not ws.linked or ws.paused:  # one that drains goes on answering
            continue  # they are looked at again when it is back
        calls = rare.calls
        while calls:
            call = next(iter(calls))
            if call.code == WAITING:
                if call.n_waiting_on:
                    break  # those after it wait, too
                del calls[call]
                start(books, call, ws, 0.0)  # it takes no slot, so it keeps none busy
            else:
                del calls[call]


# --- for people --------------------------------------------------------------------------------


def before(books: Books, ts: TaskState) -> int:
    """How many ready tasks that ask for the same come before this one."""
    queues = books.queues
    entry = queues.reserved.get(ts)
    demand = entry.demand if entry is not None else demand_of(books, ts)
    return sum(1 for other in demand.each() if outranks(other, ts))
