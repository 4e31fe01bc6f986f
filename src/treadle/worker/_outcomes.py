"""How a job ends, and that its outcome is told until the scheduler has surely heard it.

Each row of a job is told once: `next` and `left` say which have not been. An outcome is kept until
a later beat has been acknowledged, and told again at each registration and to whoever orders the
same attempt again.

What is stopped is told at once: a process that the system cannot kill must not keep anybody
waiting. Its slot keeps what it takes until it is dead.
"""

from __future__ import annotations

from treadle.wire import Attempt, Dropped, NotFetched, Outcome, Returned, TaskId
from treadle.worker._books import Books
from treadle.worker._events import KillSlot, TakeBack
from treadle.worker._job import BEGUN, Job, Stage, advance
from treadle.worker._lanes import dequeue, give_back
from treadle.worker._replica import Place
from treadle.worker._slot import Actor, Slot
from treadle.worker._store import forget, unwant


def report(b: Books, outcome: Outcome) -> None:
    """Tell an outcome, and keep it."""
    told = b.told
    old = told.get(outcome.id)
    if old is not None:
        if old[1].attempt > outcome.attempt:  # what is newer must not be forgotten for it
            return b.out.tell(outcome)
        del told[outcome.id]  # filed anew, so that they stand in order
    told[outcome.id] = (b.beats + 1, outcome)
    return b.out.tell(outcome)


def acknowledged(b: Books, number: int) -> None:
    """All outcomes that were told before this beat have arrived."""
    done = []
    for id, (beat, _) in b.told.items():
        if beat > number:
            break
        done.append(id)
    for id in done:
        del b.told[id]


def told_rows(job: Job, rows: int) -> None:
    """So many rows of the job, from `next` on, have been told."""
    job.left -= rows
    if job.left:
        assert isinstance(job.next, int)
        job.next += rows


def returned_rows(b: Books, job: Job, why: str, rows: int) -> None:
    """Return so many rows, from the first that has not been told."""
    report(b, Returned(job.next, job.run.attempt, why, (), rows))
    told_rows(job, rows)


def give_up(b: Books, job: Job, why: str, missing: tuple[tuple[TaskId, str], ...] = ()) -> None:
    """Return all rows of the job that have not been told; it is gone, but from its slot."""
    if job.stage is Stage.gone:  # with another of those that are given up together
        return
    if job.left:
        report(b, Returned(job.next, job.run.attempt, why, missing, job.left))
    close(b, job, why)


def close(b: Books, job: Job, why: str = "") -> None:
    """The job's outcome is told: take it out of all books but its slot's.

    `why` it was returned, if it was.
    """
    stage, run = job.stage, job.run
    if stage is Stage.ready:
        dequeue(b, job)
    advance(job, Stage.gone)
    if job.inputs and stage <= Stage.ready:
        unwant(b, job)
    if b.jobs.get(run.id) is job:
        del b.jobs[run.id]
    if job.actor is not None:
        _leave_actor(b, job, job.actor, stage, why)
    if b.sought:  # another job may have waited for a result that there is not
        replica = b.store.get((run.id, run.attempt))
        if replica is not None and replica.place is Place.absent:
            b.hopeless.append(replica)


def _leave_actor(b: Books, job: Job, actor: Actor, stage: Stage, why: str) -> None:
    """Calls run in order: one that is returned to be sent again takes all behind it along."""
    if job.run.actor:
        if actor.slot is None:
            actor_gone(b, actor, "it was not made")
    elif stage <= Stage.ready and job in actor.calls:
        b.calls_due[actor.id] = actor
        if why == "stopped":
            actor.calls.remove(job)
            return
        behind: list[Job] = []
        while (call := actor.calls.pop()) is not job:
            behind.append(call)
        for call in reversed(behind):
            give_up(b, call, "slot")


def give_up_hope(b: Books) -> None:
    """Return what needs objects that nobody has."""
    for replica in b.hopeless:  # the list grows while it is worked off
        search = replica.search
        if search is None or search.holders or replica.place is not Place.absent:
            continue
        maker = b.jobs.get(replica.id)
        if maker is not None and maker.run.attempt == replica.attempt:
            continue
        if search.due is not None:
            search.due = None
            del b.ordered[replica.key]
            b.out.tell(NotFetched(replica.id, replica.attempt, tuple(search.struck)))
        missing = tuple((replica.id, peer) for peer in search.struck or ("",))
        for job in list(replica.wanted.values()):
            give_up(b, job, "inputs", missing)
        if b.store.get(replica.key) is replica and not replica.wanted:
            forget(b, replica)
    b.hopeless.clear()


def stop(b: Books, job: Job, why: str = "stopped") -> None:
    """End a job, whatever it does."""
    begun, fed = job.stage in BEGUN, job.stage is Stage.fed
    give_up(b, job, why)
    slot = job.slot
    if slot is None or slot.dying:
        return
    if begun:
        kill(b, slot, "a call of it was stopped")
    elif fed and not job.taking:
        take_back(b, slot, job)


def take_back(b: Books, slot: Slot, job: Job) -> None:
    """Ask for a job that stands in a slot's socket."""
    job.taking = True
    b.out.commands.append(TakeBack(slot.number, job.run.id, job.run.attempt))


def kill(b: Books, slot: Slot, why: str) -> None:
    """End a slot's process. What it takes is taken until it is dead."""
    if slot.dying:
        return
    slot.dying = True
    b.out.commands.append(KillSlot(slot.number))
    b.idle.pop(slot.number, None)
    b.hungry.pop(slot.number, None)
    b.grants.pop(slot.number, None)
    b.turns.pop(slot.number, None)
    b.staff_due = b.room_due = True
    if slot.actor is not None:
        actor_gone(b, slot.actor, why)


def actor_gone(b: Books, actor: Actor, why: str) -> None:
    """An actor is dead or never was: so is what was to be done by it.

    Whose fault it is has been told before. Its slot is killed, if it lives.
    """
    if b.actors.get(actor.id) is not actor:
        return
    del b.actors[actor.id]
    b.calls_due.pop(actor.id, None)
    b.staff_due = True
    calls = list(actor.calls)
    actor.calls.clear()
    slot, actor.slot = actor.slot, None
    if slot is not None:
        calls += slot.fed
        if slot.running is not None:
            calls.append(slot.running)
    for job in calls:
        give_up(b, job, "slot")
    replica = b.store.get((actor.id, actor.attempt))
    if replica is not None and replica.place is Place.slot:
        for job in list(replica.wanted.values()):
            give_up(b, job, "inputs", ((actor.id, b.id),))
        b.out.tell(Dropped((Attempt(actor.id, actor.attempt),), why))
        forget(b, replica)
    if slot is not None:
        kill(b, slot, why)


def vacate(b: Books, slot: Slot) -> None:
    """A slot has ended all it had: it is idle, unless an actor lives in it."""
    actor = slot.actor
    b.room_due = True
    if actor is not None and actor.slot is slot:
        b.calls_due[actor.id] = actor
        return
    if actor is not None:
        slot.actor = None
        b.staff_due = True
    give_back(b, slot)
    b.idle[slot.number] = slot
