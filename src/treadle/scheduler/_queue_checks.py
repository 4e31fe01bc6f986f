"""What is always true of the queues at the end of a step. It looks at everything: for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.scheduler._demand import Demand, could_ever
from treadle.scheduler._eligibility import demand_of
from treadle.scheduler._placement import has_slot
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import NO_WORKER, WAITING

if TYPE_CHECKING:
    from treadle.scheduler._books import Books


def check(books: Books) -> None:
    """Raise `AssertionError` if what the queues keep is not so, or something waits for nothing."""
    queues = books.queues
    assert not queues.fresh, queues.fresh
    assert not queues.awake, queues.awake
    assert not queues.unsettled, queues.unsettled
    queued: dict[TaskState, Demand] = {}
    for demand in queues.demands.values():
        _check_demand(books, demand, queued)
    _check_rooms(books, queued)
    for ts in books.tasks.values():
        ready = ts.code == NO_WORKER or (ts.code == WAITING and not ts.n_waiting_on)
        stands = ts in queued
        assert stands == (ready and ts.home is None), f"{ts} is {'not ' * (not stands)}queued"
    most = books.policy.aside
    crowded = {ws for ws in books.workers.values() if ws.n_aside >= max(1, most * ws.slots)}
    assert set(queues.crowded) == crowded, f"{queues.crowded} are crowded; that is {crowded}"
    for ts in queues.tired:
        assert ts in queued, f"{ts} is tired of waiting and does not wait"


def _check_demand(books: Books, demand: Demand, queued: dict[TaskState, Demand]) -> None:
    queues = books.queues
    found = list(demand.each())
    assert len(found) == demand.n, f"{demand} has {len(found)}"
    for ts in found:
        assert ts not in queued, f"{ts} is queued twice"
        assert ts.code == demand.code, f"{ts} stands in {demand}"
        assert books.tasks.get(ts.id) is ts, f"{ts} is queued and not known"
        assert demand_of(books, ts) is demand, f"{ts} stands in {demand}"
        queued[ts] = demand
    could = {ws for ws in books.workers.values() if could_ever(ws, demand.options, books.now)}
    assert could == set(demand.eligible), f"{demand} has other workers than {could}"
    assert demand.code == (WAITING if could else NO_WORKER), f"{demand} is in the wrong state"
    for tier in (demand.idle, demand.others, demand.ahead):
        for ws in tier:
            assert ws in could, f"{ws} is offered to {demand}"
            assert queues.rooms[ws].usable, f"{ws} takes no work and is offered to {demand}"
    if demand.hold is not None:
        assert demand.n, f"{demand.hold} is kept free for nobody"
        assert queues.rooms[demand.hold].held_for is demand
        assert demand.hold in queues.held
    _check_idle(books, demand)


def _check_idle(books: Books, demand: Demand) -> None:
    """No worker has a slot for a head that waits."""
    head = demand.peek()
    if head is None:
        return
    for ws in demand.eligible:
        if books.queues.rooms[ws].usable:
            assert not has_slot(books, demand, head, ws), f"{head} waits, and {ws} has room"


def _check_rooms(books: Books, queued: dict[TaskState, Demand]) -> None:
    queues = books.queues
    assert set(queues.rooms) == set(books.workers.values()), (
        "other workers are known than there are"
    )
    reserved: dict[TaskState, Demand] = {}
    for ws, room in queues.rooms.items():
        assert room.usable == (ws.linked and not ws.paused and not ws.draining), f"{ws} is usable?"
        for demand in room.demands:
            assert ws in demand.eligible, f"{ws} is not eligible for {demand}"
        assert (room.held_for is not None) == (ws in queues.held)
        own_s = 0.0
        for base, own in room.own.items():
            assert room.usable, f"{own} waits for {ws}"
            assert own.base is base
            assert own.n, f"{own} is kept empty"
            assert own in room.demands
            for ts in own.each():
                assert ts.code == WAITING
                assert ts not in queued, f"{ts} is queued twice"
                entry = queues.reserved[ts]
                assert entry.demand is own
                own_s += entry.expected_s
                reserved[ts] = queued[ts] = base
            _check_idle(books, own)
        assert abs(own_s - room.own_s) < 1e-6, f"{room.own_s} s wait for {ws}; there are {own_s}"
    assert set(reserved) == set(queues.reserved), "what waits for one worker is not where it waits"
