"""Turns: what runs in a slot and waits for other tasks goes aside, and comes back when it may.

Who is aside keeps its process and its resources, but takes no slot: another process runs in its
place. Who would go on waits for a slot to be free, the first first, and before anything new is
begun. So tasks that wait for tasks do not block a worker, at any depth. What takes no slot (an
actor, a call, what runs beside the slots) has nothing to give, and waits for nothing.
"""

from __future__ import annotations

from treadle.wire import Aside, Attempt, Back, Failed, Failure
from treadle.worker import _events as ev
from treadle.worker._books import Books
from treadle.worker._feeding import take_all_back
from treadle.worker._job import Stage
from treadle.worker._lanes import come_back
from treadle.worker._outcomes import give_up, kill, report, take_back, told_rows
from treadle.worker._running import runner
from treadle.worker._slot import Slot


def went_aside(b: Books, event: ev.WentAside) -> None:
    found = runner(b, event.slot, event.id, event.attempt, ends=False)
    if found is None:
        return b.refuse("not running")
    slot, job = found
    lane = slot.lane
    assert lane is not None
    if not lane.slots:
        return None
    if slot.aside:
        return b.refuse("is aside")
    slot.aside = slot.blocked = True
    b.aside[slot.number] = slot
    b.free_slots += lane.slots
    b.hungry.pop(slot.number, None)
    take_all_back(b, slot)
    b.staff_due = b.room_due = True
    if b.out.begun:  # its start is told before
        b.out.begun_at = b.now
    b.out.tell(Aside((Attempt(job.run.id, job.run.attempt),)))
    if len(b.aside) > b.limits.beside and not b.turns:  # else one comes back for it
        end_newest(
            b,
            f"{len(b.aside)} tasks that wait for others are more than its memory and open files allow",
        )
    return None


def wants_turn(b: Books, event: ev.WantsTurn) -> None:
    found = runner(b, event.slot, event.id, event.attempt, ends=False)
    if found is None:
        return b.refuse("not running")
    slot, job = found
    if not slot.aside:
        b.out.commands.append(ev.GiveTurn(slot.number, job.run.attempt))
        return None
    if slot.number in b.turns:
        return b.refuse("wants a turn twice")
    b.turns[slot.number] = slot
    give_turns(b)
    if b.turns:
        _make_way(b)
    return None


def give_turns(b: Books) -> None:
    """Let go on who waits for it, the first first, as far as slots are free."""
    for slot in list(b.turns.values()):
        job, lane = slot.running, slot.lane
        assert job is not None
        assert lane is not None
        if lane.slots > b.free_slots:
            return
        come_back(b, slot)
        b.out.commands.append(ev.GiveTurn(slot.number, job.run.attempt))
        b.out.tell(Back((Attempt(job.run.id, job.run.attempt),)))


def _make_way(b: Books) -> None:
    """Take back what was fed ahead: it would be begun before who waits for a turn goes on."""
    for slot in b.slots.values():
        if len(slot.fed) > (slot.running is not None) and not slot.dying and not slot.aside:
            # That it has begun the first may just not have been told.
            for job in slot.fed if slot.running is not None else slot.fed[1:]:
                if not job.taking:
                    take_back(b, slot, job)


def mind_the_stuck(b: Books) -> None:
    """If no process can be started, and all that there are wait for others: end one of them."""
    if b.restarts < b.limits.restarts:
        return
    if not any(s.lane is None or (s.lane.slots and not s.aside) for s in b.slots.values()):
        b.start_at = b.now + b.limits.restart_s
        b.arm(b.start_at)
        end_newest(b, f"{len(b.aside)} tasks wait for others, and no process can be started")


def end_newest(b: Books, why: str) -> None:
    """End who went aside last: the fewest wait for it. Nobody wants a turn."""
    slot = _newest(b)
    job = slot.running if slot is not None else None
    if slot is None or job is None:
        return
    text = (
        f"worker {b.id!r} cannot go on: {why}; let fewer tasks wait at a time (each is a process "
        f"meanwhile), or raise the limit of open files (ulimit -n)"
    )
    failure = Failure("unfit", "TaskUnfit", text)
    report(b, Failed(job.next, job.run.attempt, failure, b.now - slot.since, final=True))
    if job.left > 1:
        told_rows(job, 1)
    else:
        job.left = 0
    give_up(b, job, "slot")
    kill(b, slot, "a call of it waited")


def _newest(b: Books) -> Slot | None:
    for slot in reversed(b.aside.values()):
        job = slot.running
        if not slot.dying and job is not None and job.stage is not Stage.gone:
            return slot
    return None
