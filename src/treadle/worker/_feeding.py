"""Slots are given jobs: those that are idle first, then, ahead, those whose job is short.

*Ahead*: while a slot runs a job that is known to be short, more of the same needs may be put into
its socket, so that it goes on without asking. What then stands behind a long or stopped job is
taken back.
"""

from __future__ import annotations

from treadle.worker._books import Books
from treadle.worker._events import Feed, KillSlot, StartSlot
from treadle.worker._job import Job, Stage, advance
from treadle.worker._lanes import conflicts, short_of, survey, take
from treadle.worker._outcomes import take_back
from treadle.worker._room import is_busy
from treadle.worker._slot import Slot
from treadle.worker._store import use


def start(b: Books) -> None:
    """Give ready jobs to slots, best ranked first, as far as they may run."""
    if b.paused:
        trickle(b)
        return
    while b.ready and b.idle and _start_best(b):
        pass
    if b.ready and b.hungry and not b.turns:
        feed_ahead(b)


def _start_best(b: Books) -> bool:
    """Start the best ranked job that can run; False if none can."""
    lane, _, waits = survey(b)
    if waits is not None and waits.short_since is None:
        waits.short_since = b.now
    if lane is None:
        return False
    b.ready -= 1
    _, slot = b.idle.popitem()  # the last used has the warmest memory
    feed(b, slot, lane.pop())
    return True


def trickle(b: Books) -> None:
    """Start one job though the worker is paused, if nothing else can free memory.

    What runs may be waiting for what is held up, so time is a reason too.
    """
    while b.ready and b.idle and _start_beside(b):
        pass
    if not b.ready or not b.idle:
        return
    if is_busy(b) and b.now - b.paused_at < b.limits.room_s:
        b.arm(b.paused_at + b.limits.room_s)
        return
    b.paused_at = b.now
    b.arm(b.now + b.limits.room_s)
    _start_best(b)


def _start_beside(b: Books) -> bool:
    """Start a job that takes no slot and no resource; False if there is none."""
    for lane in b.lanes.values():
        if not (lane.slots or lane.actor or lane.resources) and lane.head() is not None:
            b.ready -= 1
            feed(b, b.idle.popitem()[1], lane.pop())
            return True
    return False


def feed_ahead(b: Books) -> None:
    """Put short jobs behind short jobs, one for each slot in turn."""
    reserved: list[str] = []
    if len(b.lanes) > 1:
        _, reserved, _ = survey(b)
    fed = True
    while fed and b.ready:
        fed = False
        for slot in list(b.hungry.values()):
            lane = b.lanes.get(slot.lane.key) if slot.lane is not None else None
            job = lane.head() if lane is not None else None
            if lane is None or job is None or not job.run.ahead:
                continue
            if reserved and conflicts(lane, reserved):
                continue
            b.ready -= 1
            feed(b, slot, lane.pop())
            if b.hungry.pop(slot.number, None) is not None:
                b.hungry[slot.number] = slot  # the next one's turn
            fed = True


def feed(b: Books, slot: Slot, job: Job) -> None:
    """Put a job, which has left its lane, into a slot's socket."""
    advance(job, Stage.fed)
    job.slot = slot
    job.short_since = None
    if job.inputs:
        use(b, job)
    if slot.lane is None:
        take(b, slot, job.lane)
        slot.actor = job.actor
        slot.since = b.now
        if not job.lane.slots:
            b.staff_due = slot.blocked = True
    slot.fed.append(job)
    b.out.commands.append(Feed(slot.number, job.run))
    if job.run.ahead:
        appetite(b, slot)
        if slot.running is not None:
            b.arm(slot.since + b.limits.blocked_s)


def appetite(b: Books, slot: Slot) -> None:
    """Note whether the slot may be fed ahead."""
    first = slot.running
    if first is None and slot.fed:
        first = slot.fed[0]
    if (
        first is not None
        and first.run.ahead
        and not slot.blocked
        and not slot.dying
        and slot.actor is None
        and len(slot.fed) < b.limits.depth
    ):
        b.hungry.setdefault(slot.number, slot)
    else:
        b.hungry.pop(slot.number, None)


def unblock(b: Books) -> None:
    """Take back what stands behind what has run for long."""
    limit = b.limits.blocked_s
    for slot in b.slots.values():
        if slot.fed and slot.running is not None and not slot.dying:
            if b.now < slot.since + limit:
                b.arm(slot.since + limit)
                continue
            slot.blocked = True
            b.hungry.pop(slot.number, None)
            take_all_back(b, slot)


def take_all_back(b: Books, slot: Slot) -> None:
    """Ask for all that the slot has not read."""
    for job in slot.fed:
        if not job.taking and not slot.dying:
            take_back(b, slot, job)


def feed_calls(b: Books) -> None:
    """Give each actor that is idle its next call, in the order of arrival."""
    due, b.calls_due = b.calls_due, {}
    for actor in due.values():
        slot = actor.slot
        if slot is None or slot.dying or slot.running is not None or slot.fed:
            continue
        if actor.calls and actor.calls[0].stage is Stage.ready:
            feed(b, slot, actor.calls.popleft())


# --- how many slots there are ------------------------------------------------------------------


def staff(b: Books) -> None:
    """Start slot processes that are wanted; those that are not may be, soon."""
    b.staff_due = False
    living, wanted = b.starting, b.slot_count
    beside = len(b.aside)
    for slot in b.slots.values():
        if slot.dying or slot.aside:
            continue
        living += 1
        if slot.lane is not None and not slot.lane.slots:
            beside += 1
            wanted += 1
    for lane in b.lanes.values():
        if not lane.slots and lane.head() is not None and not short_of(b, lane):
            # Of a resource there may not be enough for two: the next is looked at when one has it.
            most = 1 if lane.actor or lane.resources else b.limits.beside - beside
            wanted += max(0, min(lane.live, most))
    _mind_spares(b, living - wanted)
    if living >= wanted or b.draining:
        return
    if b.now < b.start_at:
        b.arm(b.start_at)
        return
    for _ in range(wanted - living):
        b.starting += 1
        b.out.commands.append(StartSlot())


def _mind_spares(b: Books, spares: int) -> None:
    """End processes of which, for a while, at no time all were needed; there are so many spare.

    To start one takes long, and who waits for others does so more than once.
    """
    if spares <= 0:
        b.spare_until = None
        return
    if b.spare_until is None:
        b.spare_until, b.spares = b.now + b.limits.spare_s, spares
    b.spares = min(b.spares, spares)
    if b.now >= b.spare_until:
        for slot in list(b.idle.values())[: b.spares]:  # the oldest: it has the coldest memory
            kill_idle(b, slot)
            spares -= 1
        b.spare_until, b.spares = b.now + b.limits.spare_s, spares
        if not spares:
            b.spare_until = None
            return
    b.arm(b.spare_until)


def kill_idle(b: Books, slot: Slot) -> None:
    """End a process that has nothing."""
    del b.idle[slot.number]
    slot.dying = True
    b.out.commands.append(KillSlot(slot.number))
