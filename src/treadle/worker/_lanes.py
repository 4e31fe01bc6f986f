"""Which ready job runs next, and what must be kept free for it.

Two rules. Jobs that need different things do not hold each other up: each lane stands for itself.
The best ranked job of all never starves: what it is short of, nobody behind it may take; and when
it has been kept waiting for long, nobody takes anything that it needs.
"""

from __future__ import annotations

from treadle.wire import Run
from treadle.worker._books import Books
from treadle.worker._job import Job, Stage, advance
from treadle.worker._lane import SLOTS, Lane
from treadle.worker._slot import Slot

#: Empty lanes that are kept, since the next job will want them.
_SPARE_LANES = 16
#: Amounts are sums of floats.
_DUST = 1e-9


def lane_of(b: Books, run: Run) -> Lane:
    """The lane of jobs that need what this one needs."""
    # An actor has a slot beside the others, and a call runs in its actor's.
    apart = run.actor or run.home is not None
    key = (0 if apart else run.slots, run.resources if run.home is None else (), run.actor)
    lane = b.lanes.get(key)
    if lane is None:
        if len(b.lanes) >= _SPARE_LANES:
            for other in [lane for lane in b.lanes.values() if not lane.live]:
                del b.lanes[other.key]
        lane = b.lanes[key] = Lane(*key)
    return lane


def can_ever_run(b: Books, lane: Lane) -> bool:
    """Whether the worker has what the lane's jobs need, when nothing else runs."""
    if lane.slots > b.slot_count:
        return False
    if not lane.resources:
        return True
    return all(amount <= b.resources.get(name, 0) + _DUST for name, amount in lane.resources)


def enqueue(b: Books, job: Job) -> None:
    """All inputs of the job are at hand."""
    advance(job, Stage.ready)
    if job.run.home is not None:
        if job.actor is not None:
            b.calls_due[job.actor.id] = job.actor
        return
    lane = b.lanes.setdefault(job.lane.key, job.lane)
    job.lane = lane
    lane.push(job)
    b.ready += 1
    if not lane.slots:
        b.staff_due = True


def dequeue(b: Books, job: Job) -> None:
    """The job, which is ready, leaves its lane for something else than a slot."""
    if job.run.home is None:
        job.lane.live -= 1
        b.ready -= 1
        b.staff_due = b.staff_due or not job.lane.slots


def take(b: Books, slot: Slot, lane: Lane) -> None:
    """A slot that was idle takes what the lane's jobs need."""
    slot.lane = lane
    b.free_slots -= lane.slots
    for name, amount in lane.resources:
        b.free[name] -= amount
        b.takers[name] += 1


def come_back(b: Books, slot: Slot) -> None:
    """What was aside takes its slots again, or has ended."""
    assert slot.lane is not None
    slot.aside = False
    del b.aside[slot.number]
    b.turns.pop(slot.number, None)
    b.free_slots -= slot.lane.slots
    b.staff_due = True


def give_back(b: Books, slot: Slot) -> None:
    """A slot has nothing any longer."""
    if slot.aside:
        come_back(b, slot)
    lane, slot.lane = slot.lane, None
    if lane is None:
        return
    slot.over = slot.blocked = False
    b.free_slots += lane.slots
    if not lane.slots:
        b.staff_due = True
    for name, amount in lane.resources:
        b.staff_due = True  # an actor may be made now
        b.takers[name] -= 1
        # Sums of floats drift; where nobody takes of it, all of it is free.
        b.free[name] = b.free[name] + amount if b.takers[name] else b.resources[name]


def short_of(b: Books, lane: Lane) -> list[str]:
    """What there is not enough of to run a job of the lane now, but for a slot process."""
    short = [name for name, amount in lane.resources if amount > b.free[name] + _DUST]
    if lane.slots > b.free_slots:
        short.append(SLOTS)
    return short


def survey(b: Books) -> tuple[Lane | None, list[str], Job | None]:
    """The lane whose best job can run now; what is reserved, and for which job that cannot.

    The job that can is its lane's `head`. Only the best ranked of all reserves.
    """
    if len(b.lanes) == 1:
        (only,) = b.lanes.values()
        if only.live and not only.resources and only.slots <= b.free_slots and not b.turns:
            only.head()
            return only, [], None
        if not b.free_slots and only.slots and not only.resources:
            return None, [SLOTS], None
    heads = [job for lane in b.lanes.values() if (job := lane.head()) is not None]
    if len(heads) > 1:
        heads.sort(key=lambda job: job.priority)
    # Who waits for a turn goes before anything new.
    reserved: list[str] = [SLOTS] if b.turns else []
    waits: Job | None = None
    for job in heads:
        lane = job.lane
        if reserved and conflicts(lane, reserved):
            continue
        short = short_of(b, lane)
        if not short:
            return lane, reserved, waits
        if waits is None and job is heads[0]:
            waits, reserved = job, [*reserved, *short]
            if job.short_since is not None and b.now - job.short_since >= b.limits.reserve_s:
                reserved += needs(lane)
    return None, reserved, waits


def needs(lane: Lane) -> list[str]:
    """All that a job of the lane takes."""
    names = [name for name, _ in lane.resources]
    return [*names, SLOTS] if lane.slots else names


def conflicts(lane: Lane, reserved: list[str]) -> bool:
    """Whether a job of the lane would take of what is reserved."""
    return any(name in reserved for name in needs(lane))
