"""Which workers could ever run which tasks, kept as workers come and go and blocks end.

A demand that no worker could ever serve has tasks in state no-worker, all others have tasks that
wait. That is true at the end of each step; only when a demand's first worker has come or its last
has left are its tasks touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.scheduler._demand import Demand, could_ever
from treadle.scheduler._placement import let_go
from treadle.scheduler._rooms import NEVER, Queues, Room
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import NO_WORKER, WAITING, advance
from treadle.scheduler._worker import WorkerState
from treadle.wire import Options, WorkerId

if TYPE_CHECKING:
    from treadle.scheduler._books import Books


def demand_of(books: Books, ts: TaskState) -> Demand:
    """The queue for what the task asks for, made if there is none."""
    queues = books.queues
    options = ts.options
    rare = ts.rare
    if rare is None or not (rare.suspicious or rare.actor or rare.avoid):
        if options is queues.last_options:
            demand = queues.last_demand
        else:
            demand = queues.by_options.get(options)
        if demand is None:
            demand = _demand(books, options)
            demand.used_by.append(options)
            queues.by_options[options] = demand
        queues.last_options, queues.last_demand = options, demand
        return demand
    return _demand(
        books, options, suspicious=rare.suspicious > 0, actor=rare.actor, avoid=rare.avoid
    )


def _demand(
    books: Books,
    options: Options,
    *,
    suspicious: bool = False,
    actor: bool = False,
    avoid: WorkerId = "",
) -> Demand:
    queues = books.queues
    key = (
        options.slots, options.resources, options.hosts, options.workers, options.loose,
        options.walltime_s, suspicious, actor, avoid,
    )  # fmt: skip
    demand = queues.demands.get(key)
    if demand is not None:
        return demand
    if len(queues.demands) >= queues.limit:
        _drop_empty(queues)
    queues.serial += 1
    demand = Demand(options, queues.serial, suspicious=suspicious, actor=actor, avoid=avoid)
    queues.demands[key] = demand
    for room in _pool(books, options):
        if room.eligible and could_ever(room.ws, options, books.now):
            _link(books, demand, room)
    if demand.eligible:
        demand.code = WAITING
    if demand.timed:
        queues.timed[demand] = None
        _next_expiry(queues)
    return demand


def _pool(books: Books, options: Options) -> list[Room]:
    """Workers that a new demand has to look at: if it is bound to places, only those there."""
    queues = books.queues
    if options.loose or not (options.hosts or options.workers):
        return list(queues.rooms.values())
    workers: dict[WorkerState, None] = {}
    for id in options.workers:
        ws = books.workers.get(id)
        if ws is not None:
            workers[ws] = None
    for host in options.hosts:
        workers.update(queues.hosts.get(host, {}))
    return [queues.rooms[ws] for ws in workers if ws in queues.rooms]


def _drop_empty(queues: Queues) -> None:
    """Forget demands that nobody has; what is made of them is cheap to make again."""
    lent = {entry.demand.base: None for entry in queues.reserved.values()}
    for key, demand in list(queues.demands.items()):
        if demand.n or demand in lent:
            continue
        del queues.demands[key]
        let_go(queues, demand)
        for ws in demand.eligible:
            queues.rooms[ws].demands.pop(demand, None)
        for options in demand.used_by:
            queues.by_options.pop(options, None)
        queues.timed.pop(demand, None)
        queues.awake.pop(demand, None)
        queues.unsettled.pop(demand, None)
    queues.last_options = queues.last_demand = None
    queues.limit = 32 + 2 * len(queues.demands)


def _link(books: Books, demand: Demand, room: Room) -> None:
    demand.eligible[room.ws] = None
    room.demands[demand] = None
    if room.usable:
        demand.offer(room.ws, unbounded=not books.policy.hold_back)
    if demand.code != WAITING:
        books.queues.unsettled[demand] = None


def _unlink(queues: Queues, demand: Demand, room: Room) -> None:
    ws = room.ws
    demand.close(ws)
    demand.eligible.pop(ws, None)
    room.demands.pop(demand, None)
    if demand.hold is ws:
        let_go(queues, demand)
    if not demand.eligible and demand.base is None:
        queues.unsettled[demand] = None


# --- workers -----------------------------------------------------------------------------------


def refresh(books: Books, ws: WorkerState) -> None:
    """A worker has come, has changed or is gone: look at what it is, and keep the tables true."""
    queues = books.queues
    known = books.workers.get(ws.id) is ws
    room = queues.rooms.get(ws)
    traits = (ws.host, ws.slots, ws.ends_at, tuple(ws.resources.items()))
    if room is not None and (not known or room.traits != traits):
        _remove(queues, room)
        room = None
    if not known:
        return
    if room is None:
        room = queues.rooms[ws] = Room(ws, traits)
        queues.slots += ws.slots
        queues.hosts.setdefault(ws.host, {})[ws] = None
    usable = ws.linked and not ws.paused and not ws.draining
    if room.usable and not usable:
        room.usable = False
        _close(queues, room)
    if room.eligible != (not ws.draining):
        room.eligible = not ws.draining
        if room.eligible:
            room.usable = usable
            _list(books, room)
        else:
            for demand in list(room.demands):
                _unlink(queues, demand, room)
    if usable:
        room.usable = True
        queues.fresh[ws] = None


def _list(books: Books, room: Room) -> None:
    queues = books.queues
    for demand in queues.demands.values():
        if could_ever(room.ws, demand.options, books.now):
            _link(books, demand, room)
    if queues.timed:
        _next_expiry(queues)


def _close(queues: Queues, room: Room) -> None:
    """A worker takes no more work: what waits for it goes back to where it stood."""
    ws = room.ws
    queues.fresh.pop(ws, None)
    for own in list(room.own.values()):
        give_up_reservations(queues, room, own)
    for demand in room.demands:
        demand.close(ws)
    if room.held_for is not None:
        let_go(queues, room.held_for)
        queues.fresh.pop(ws, None)


def _remove(queues: Queues, room: Room) -> None:
    _close(queues, room)
    for demand in list(room.demands):
        _unlink(queues, demand, room)
    ws = room.ws
    del queues.rooms[ws]
    queues.crowded.pop(ws, None)
    host, slots = room.traits[:2]
    queues.slots -= slots
    del queues.hosts[host][ws]
    if not queues.hosts[host]:
        del queues.hosts[host]


# --- tasks that wait for one worker ------------------------------------------------------------


def own_demand(queues: Queues, demand: Demand, room: Room) -> Demand:
    """The queue of a demand's tasks that wait for this worker alone."""
    own = room.own.get(demand)
    if own is None:
        queues.serial += 1
        own = Demand(demand.options, queues.serial, base=demand)
        own.code = WAITING
        room.own[demand] = own
        own.eligible[room.ws] = None
        room.demands[own] = None
    return own


def give_up_reservations(queues: Queues, room: Room, own: Demand) -> None:
    """All tasks of such a queue go back to where they stood."""
    base = own.base
    assert base is not None
    for ts in list(own.each()):
        unreserve(queues, ts)
        base.push(ts)
    queues.awake[base] = None


def unreserve(queues: Queues, ts: TaskState) -> None:
    """The task waits for one worker no longer; it stands in no queue now."""
    entry = queues.reserved.pop(ts)
    room = entry.room
    own = entry.demand
    own.withdraw(ts)
    settle_reservation(queues, room, own, entry.expected_s)


def settle_reservation(queues: Queues, room: Room, own: Demand, expected_s: float) -> None:
    """One task less is in the queue."""
    room.own_s -= expected_s
    if not own.n:
        base = own.base
        assert base is not None
        room.own.pop(base, None)
        room.demands.pop(own, None)
        queues.awake.pop(own, None)
    if not room.own:
        room.own_s = 0.0  # sums of floats drift


# --- time --------------------------------------------------------------------------------------


def _next_expiry(queues: Queues) -> None:
    queues.next_expiry = NEVER
    for demand in queues.timed:
        walltime_s = demand.options.walltime_s or 0.0
        for ws in demand.eligible:
            if ws.ends_at is not None:
                queues.next_expiry = min(queues.next_expiry, ws.ends_at - walltime_s)


def expire(books: Books) -> None:
    """Some worker's block does not live long enough any longer for what has a walltime."""
    queues = books.queues
    for demand in queues.timed:
        for ws in list(demand.eligible):
            if not could_ever(ws, demand.options, books.now):
                _unlink(queues, demand, queues.rooms[ws])
    _next_expiry(queues)


def settle(queues: Queues) -> None:
    """Mark tasks that no worker could ever run, and unmark those that one could."""
    unsettled, queues.unsettled = queues.unsettled, {}
    for demand in unsettled:
        code = WAITING if demand.eligible else NO_WORKER
        if demand.code != code:
            demand.code = code
            if code == NO_WORKER:
                queues.unfit[demand] = None
            for ts in demand.each():
                if ts.code != code:
                    advance(ts, code)
