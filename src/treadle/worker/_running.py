"""What slots say: that they are up, have begun, want room, have ended, are dead.

A slot says everything in order, so what it has not said has not happened, but for what died with
it. What it says of a job that is gone (stopped while it ran) changes nothing; a result that comes
with it is forgotten.
"""

from __future__ import annotations

from treadle.wire import Attempt, Died, Failed, Failure, Finished, Returned, TaskId
from treadle.worker import _events as ev
from treadle.worker._books import Books
from treadle.worker._draining import leave
from treadle.worker._feeding import appetite
from treadle.worker._job import BEGUN, Job, Stage, advance
from treadle.worker._lanes import come_back, enqueue, give_back
from treadle.worker._outcomes import (
    actor_gone,
    close,
    give_up,
    kill,
    report,
    returned_rows,
    told_rows,
    vacate,
)
from treadle.worker._replica import AT_HAND, Place
from treadle.worker._room import ask_grant
from treadle.worker._slot import Slot
from treadle.worker._store import add, unuse

#: The kind of the failure of a task that wants to run again, elsewhere; why it is returned.
RESCHEDULED = "rescheduled"


def slot_up(b: Books, event: ev.SlotUp) -> None:
    if event.slot in b.slots:
        return b.refuse("slot is up")
    b.starting -= b.starting > 0
    b.slots[event.slot] = b.idle[event.slot] = Slot(event.slot)
    b.staff_due = True
    return None


# --- an attempt in a slot ----------------------------------------------------------------------


def began(b: Books, event: ev.Began) -> None:
    slot = b.slots.get(event.slot)
    if slot is None or slot.dying:
        return b.refuse("no such slot")
    if slot.running is None and _begin(b, slot, event.id, event.attempt):
        return _tell_start(b, slot)
    job = slot.running
    if job is not None and job.run.attempt == event.attempt and job.run.id == event.id:
        return None  # it has said more than that already
    return b.refuse("not fed")


def _begin(b: Books, slot: Slot, id: TaskId, attempt: int) -> bool:
    """The slot, which runs nothing, has read an attempt; False if it was not fed that one."""
    for job in slot.fed:  # the first, nearly always
        run = job.run
        if run.attempt == attempt and run.id == id:
            break
    else:
        return False
    slot.fed.remove(job)
    slot.running = job
    slot.since = b.now
    slot.worn = True
    job.taking = False
    b.restarts = 0
    if job.stage is Stage.gone:
        kill(b, slot, "a call of it was stopped")
    else:
        advance(job, Stage.running)
    return True


def _tell_start(b: Books, slot: Slot) -> None:
    """What the slot runs now has begun, and goes on: that is told, and minded."""
    job = slot.running
    if job is None or job.stage is Stage.gone:
        return
    run = job.run
    out = b.out
    out.begun.append(job)
    starts_at = b.now + b.limits.started_s if run.ahead else b.now
    if out.begun_at is None or starts_at < out.begun_at:
        out.begun_at = starts_at
        if run.ahead:
            b.arm(starts_at)
    if run.walltime_s is not None:
        b.arm(b.now + run.walltime_s)
    if slot.fed:
        b.arm(b.now + b.limits.blocked_s)
    if run.ahead:
        appetite(b, slot)
    else:
        b.hungry.pop(slot.number, None)


def runner(
    b: Books, number: int, id: TaskId, attempt: int, *, ends: bool
) -> tuple[Slot, Job] | None:
    """The slot and the job that it speaks of; None if the job is gone or not there.

    Args:
        ends: what it says is the job's end: if its start was not told, it never is.
    """
    slot = b.slots.get(number)
    if slot is None or slot.dying:
        return None
    if slot.running is None and _begin(b, slot, id, attempt) and not ends:
        _tell_start(b, slot)
    job = slot.running
    if job is None or job.stage is Stage.gone or job.run.attempt != attempt:
        return None
    if id != job.run.id and not _is_row_of(job, id):
        return None
    return slot, job


def _is_row_of(job: Job, id: TaskId) -> bool:
    """Whether the identifier is one of a row of the bundle that has not been told."""
    return (
        len(job.run.rows) > 1
        and isinstance(id, int)
        and isinstance(job.next, int)
        and job.next <= id < job.next + job.left
    )


def _skip_to(b: Books, job: Job, id: TaskId) -> bool:
    """Return rows before this one that were not told; False if this one was."""
    if id == job.next:
        return True
    if not _is_row_of(job, id):
        return False
    assert isinstance(id, int)
    assert isinstance(job.next, int)
    returned_rows(b, job, "slot", id - job.next)
    return True


def grant_asked(b: Books, event: ev.GrantAsked) -> None:
    found = runner(b, event.slot, event.id, event.attempt, ends=False)
    if found is None or event.slot in b.grants:
        return b.refuse("grant not due")
    return ask_grant(b, found[0], event.nbytes)


def ended(b: Books, event: ev.Ended) -> None:
    found = runner(b, event.slot, event.id, event.attempt, ends=event.last)
    if found is None or not _skip_to(b, found[1], event.id):
        return _too_late(b, event)
    slot, job = found
    run = job.run
    rows = event.rows if event.rows < job.left else job.left
    if slot.granted:
        _settle_grant(b, slot, event.nbytes, last=event.last or rows == job.left)
    if run.actor:
        _actor_made(b, slot, job, event)
    elif add(b, event.id, event.attempt, event.nbytes, event.type, rows) is None:
        b.refuse("object was here")
    report(
        b,
        Finished(
            event.id,
            event.attempt,
            event.nbytes,
            event.type,
            event.duration_s,
            event.memory_bytes,
            event.inline,
            rows,
        ),
    )
    return _go_on(b, slot, job, rows, event.last)


def _too_late(b: Books, event: ev.Ended) -> None:
    """A result of what is gone: kept only if somebody looks for that very object."""
    b.refuse("not running")
    replica = b.store.get((event.id, event.attempt))
    if replica is None:
        b.out.commands.append(ev.Discard(event.id, event.attempt))
    elif replica.search is not None:
        add(b, event.id, event.attempt, event.nbytes, event.type, event.rows)
        b.out.hold(replica.held())


def raised(b: Books, event: ev.Raised) -> None:
    found = runner(b, event.slot, event.id, event.attempt, ends=event.last)
    if found is None or not _skip_to(b, found[1], event.id):
        return b.refuse("not running")
    slot, job = found
    rows = event.rows if event.rows < job.left else job.left
    if slot.granted:
        _settle_grant(b, slot, 0, last=event.last or rows == job.left)
    failure = event.failure
    if failure.kind == RESCHEDULED and job.run.home is None:  # an actor's call has no other place
        report(b, Returned(event.id, event.attempt, RESCHEDULED, (), rows))
    else:
        report(b, Failed(event.id, event.attempt, failure, event.duration_s, event.final, rows))
    return _go_on(b, slot, job, rows, event.last)


def _go_on(b: Books, slot: Slot, job: Job, rows: int, last: bool) -> None:
    """So many rows of what runs have been told."""
    if b.grants:
        b.grants.pop(slot.number, None)
    if rows < job.left:
        told_rows(job, rows)
        if not last:
            slot.since = b.now
            if job.stage is Stage.writing:
                advance(job, Stage.running)
            return
        returned_rows(b, job, "slot", job.left)
    else:
        job.left = 0
    close(b, job)
    slot.running = None
    job.slot = None
    if job.inputs:
        unuse(b, job)
    if slot.fed:
        slot.since = b.now
        if slot.aside:
            come_back(b, slot)
            slot.blocked = slot.over = b.free_slots < 0
        appetite(b, slot)
    else:
        b.hungry.pop(slot.number, None)
        vacate(b, slot)


def _settle_grant(b: Books, slot: Slot, nbytes: int, *, last: bool) -> None:
    """What was granted is written: from here on the object counts."""
    over = slot.granted if last or nbytes > slot.granted else nbytes
    slot.granted -= over
    b.used -= over
    b.room_due = True


def _actor_made(b: Books, slot: Slot, job: Job, event: ev.Ended) -> None:
    actor = job.actor
    assert actor is not None
    actor.slot = slot
    b.calls_due[actor.id] = actor
    b.staff_due = True
    replica = add(b, event.id, event.attempt, 0, event.type, 1)
    if replica is None:
        replica = b.store.get((event.id, event.attempt))
    if replica is not None and replica.place is Place.memory:
        replica.place = Place.slot
        b.lru.pop(replica.key, None)
        b.wanted.pop(replica.key, None)


def taken_back(b: Books, event: ev.TakenBack) -> None:
    slot = b.slots.get(event.slot)
    if slot is None:
        return b.refuse("no such slot")
    for job in slot.fed:
        if job.run.id == event.id and job.run.attempt == event.attempt and job.taking:
            slot.fed.remove(job)
            _again(b, job)
            if slot.dying:
                return None
            if slot.fed or slot.running is not None:
                appetite(b, slot)
            else:
                b.hungry.pop(slot.number, None)
                vacate(b, slot)
            return None
    return b.refuse("not fed")


def _again(b: Books, job: Job) -> None:
    """A job that was fed is the machine's again: it is gone, is returned, or waits anew."""
    job.slot = None
    job.taking = False
    if job.stage is Stage.gone:
        if job.inputs:
            unuse(b, job)
    elif b.draining or job.run.home is not None:
        # The slot still uses its inputs in our books, so they outlive the report.
        give_up(b, job, "drained" if b.draining else "slot")
        if job.inputs:
            unuse(b, job)
    elif any(replica.place not in AT_HAND for replica in job.inputs):  # an actor, and it is dead
        give_up(b, job, "inputs", tuple((replica.id, b.id) for replica in job.inputs))
        unuse(b, job)
    else:
        if job.inputs:
            unuse(b, job, again=True)
        enqueue(b, job)


# --- the end of a slot -------------------------------------------------------------------------


def slot_down(b: Books, event: ev.SlotDown) -> None:
    slot = b.slots.pop(event.slot, None)
    b.staff_due = True
    if slot is None:
        if not b.starting:
            return b.refuse("no such slot")
        b.starting -= 1
        return _died_young(b)
    b.idle.pop(slot.number, None)
    b.hungry.pop(slot.number, None)
    b.grants.pop(slot.number, None)
    b.used -= slot.granted
    b.room_due = True
    accused = None if event.ours or slot.dying else event.accused
    if not slot.worn and event.accused is None and not event.ours and not slot.dying:
        _died_young(b)
    fed, slot.fed = slot.fed, []
    lost = [slot.running] if slot.running is not None else []
    if accused is not None:
        lost += [job for job in fed if _is_accused(job, accused)]
    for job in lost:
        _end_with_slot(b, job, accused, event.exit_code)
    for job in fed:
        if job not in lost:
            _again(b, job)
    slot.running = None
    give_back(b, slot)
    actor, slot.actor = slot.actor, None
    if actor is not None and actor.slot is slot:
        slot.dying = True
        actor_gone(b, actor, f"its process ended with exit code {event.exit_code}")
    return None


def _is_accused(job: Job, accused: Attempt) -> bool:
    if job.stage is Stage.gone or job.run.attempt != accused.attempt:
        return False
    return job.run.id == accused.id or _is_row_of(job, accused.id)


def _end_with_slot(b: Books, job: Job, accused: Attempt | None, exit_code: int) -> None:
    """The slot that ran the job is dead: the accused row died, the others have not run."""
    if job.stage is not Stage.gone:
        if accused is not None and _is_accused(job, accused) and _skip_to(b, job, accused.id):
            report(b, Died(accused.id, accused.attempt, exit_code))
            if job.left > 1:
                told_rows(job, 1)
            else:
                job.left = 0
        give_up(b, job, "slot")
    job.slot = None
    if job.inputs:
        unuse(b, job)


def _died_young(b: Books) -> None:
    """A slot has died before it had begun anything: the next one waits a little."""
    limits = b.limits
    wait = min(limits.restart_s * 2.0 ** min(b.restarts, 30), limits.restart_max_s)
    b.restarts += 1
    b.start_at = b.now + wait
    b.arm(b.start_at)
    if b.restarts >= limits.restarts and not b.slots and not b.draining:
        leave(b, "its slots die when they start", limits.restart_max_s)


def overtime(b: Books) -> None:
    """End what has run for longer than it may."""
    for slot in list(b.slots.values()):
        job = slot.running
        if job is None or job.stage not in BEGUN or job.run.walltime_s is None:
            continue
        due = slot.since + job.run.walltime_s
        if b.now < due:
            b.arm(due)
            continue
        text = f"the task took longer than its walltime of {job.run.walltime_s:g} s"
        failure = Failure("walltime", "AppTimeout", text)
        spent = b.now - slot.since
        report(b, Failed(job.next, job.run.attempt, failure, spent, final=True))
        if job.left > 1:
            told_rows(job, 1)
        else:
            job.left = 0
        give_up(b, job, "slot")
        kill(b, slot, "a call of it took too long")
