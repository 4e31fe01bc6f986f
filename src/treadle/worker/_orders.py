"""What the scheduler orders: run, stop, free, fetch, drain, depart, reset.

An order may come twice, late, or about what is over. The attempt decides: an older one than is
known changes nothing, the same is answered with what is known of it, a newer one ends the older.
"""

from __future__ import annotations

from treadle.wire import (
    Depart,
    Drain,
    Fetch,
    Finished,
    Free,
    NotFetched,
    Outcome,
    Reset,
    Returned,
    Run,
    Stop,
)
from treadle.worker._books import Books
from treadle.worker._draining import depart, drain
from treadle.worker._fetching import add_holders, look_for, more_holders, want_inputs
from treadle.worker._job import BEGUN, Job
from treadle.worker._lanes import can_ever_run, enqueue, lane_of
from treadle.worker._link import register
from treadle.worker._outcomes import actor_gone, kill, report, stop
from treadle.worker._replica import HERE
from treadle.worker._slot import Actor
from treadle.worker._store import free


def run(b: Books, order: Run) -> None:
    job = b.jobs.get(order.id)
    if job is not None:
        attempt = job.run.attempt
        if attempt > order.attempt:
            return b.refuse("old attempt")
        if attempt == order.attempt:
            b.refuse("told twice")
            more_holders(b, job, order.inputs)
            if job.stage in BEGUN:
                b.out.begun.append(job)
                b.out.begun_at = b.now
            return None
        stop(b, job)
    id = order.id
    told = b.told.get(id)
    if job is None and told is not None and told[1].attempt > order.attempt:
        return b.refuse("old attempt")
    newest = b.newest.get(id, 0)
    if newest > order.attempt:
        return b.refuse("old attempt")
    if newest or id in b.told:
        known = _known(b, order)
        if known:
            b.refuse("told twice")
            for outcome in known:
                report(b, outcome)
            return None
    if b.actors and (actor := b.actors.get(id)) is not None:
        actor_gone(b, actor, "a newer one is made")
    return _enroll(b, order)


def _known(b: Books, order: Run) -> list[Outcome]:
    """How the attempt has ended here, if it has."""
    known: list[Outcome] = []
    id, left = order.id, len(order.rows) or 1
    gap = 0
    while left:
        outcome = _outcome_of(b, id, order.attempt)
        rows = 1
        if outcome is not None:
            if gap and isinstance(id, int):
                known.append(Returned(id - gap, order.attempt, "unknown", (), gap))
            known.append(outcome)
            rows, gap = outcome.rows, 0
        elif not known:  # the first row is not known: none is
            return known
        else:
            gap += 1
        left -= min(rows, left)
        if left:
            assert isinstance(id, int)
            id += rows
    if gap and isinstance(id, int):
        known.append(Returned(id - gap + 1, order.attempt, "unknown", (), gap))
    return known


def _outcome_of(b: Books, id: int | str, attempt: int) -> Outcome | None:
    told = b.told.get(id)
    if told is not None and told[1].attempt == attempt:
        return told[1]
    replica = b.store.get((id, attempt))
    if replica is None or replica.place not in HERE or replica.doomed:
        return None
    return Finished(id, attempt, replica.nbytes, replica.type, 0.0, rows=replica.rows)


def _enroll(b: Books, order: Run) -> None:
    """Take a job on, or return it at once."""
    rows = len(order.rows) or 1
    lane = lane_of(b, order)
    why = ""
    actor = b.actors.get(order.home) if order.home is not None else None
    if order.home is not None and actor is None:
        why = "slot"
    elif b.draining and actor is None:  # an actor goes on answering: it can be nowhere else
        why = "drained"
    elif not can_ever_run(b, lane) or (rows > 1 and not isinstance(order.id, int)):
        why = "unfit"
    if why:
        report(b, Returned(order.id, order.attempt, why, (), rows))
        return
    job = Job(order, b.next_serial(), lane, order.id, rows)
    b.jobs[order.id] = job
    if order.actor:
        job.actor = b.actors[order.id] = Actor(order.id, order.attempt)
    elif actor is not None:
        job.actor = actor
        actor.calls.append(job)
    if order.inputs:
        want_inputs(b, job)
    if not job.missing:
        enqueue(b, job)


def stop_order(b: Books, order: Stop) -> None:
    job = b.jobs.get(order.id) or _bundle_of(b, order)
    if job is not None and job.run.attempt == order.attempt:
        stop(b, job)
        return
    b.refuse("nothing to stop")
    outcome = _outcome_of(b, order.id, order.attempt)
    if outcome is None:
        b.out.tell(Returned(order.id, order.attempt, "unknown"))
    else:
        report(b, outcome)


def _bundle_of(b: Books, order: Stop) -> Job | None:
    """The bundle that has this row; what is left of it is stopped as a whole.

    The scheduler names the first row that it has not heard of, which may have been told.
    """
    id = order.id
    if isinstance(id, int):
        for job in b.jobs.values():
            first, rows = job.run.id, len(job.run.rows)
            if rows < 2 or job.run.attempt != order.attempt or not isinstance(first, int):
                continue
            if first <= id < first + rows:
                return job
    return None


def free_order(b: Books, order: Free) -> None:
    if b.actors:
        actor = b.actors.get(order.id)
        if actor is not None and actor.attempt == order.attempt:
            if actor.slot is None:
                return b.refuse("not made yet")
            return actor_gone(b, actor, "it was freed")
    replica = b.store.get((order.id, order.attempt))
    if replica is None:
        return b.refuse("nothing to free")
    return free(b, replica)


def fetch(b: Books, order: Fetch) -> None:
    known = b.store.get((order.id, order.attempt))
    if known is not None and known.place in HERE:
        known.doomed = False
        b.out.hold(known.held())
        return
    if b.draining or (b.budget and order.nbytes > b.high_bytes):
        b.out.tell(NotFetched(order.id, order.attempt, ()))
        return
    replica = look_for(b, order.id, order.attempt, order.nbytes)
    search = replica.search
    assert search is not None
    search.due = b.now + b.limits.fetch_s
    b.arm(search.due)
    b.ordered[replica.key] = replica
    add_holders(b, replica, order.holders)


def drain_order(b: Books, order: Drain) -> None:
    drain(b)


def depart_order(b: Books, order: Depart) -> None:
    depart(b)


def reset(b: Books, order: Reset) -> None:
    """Stop and drop everything, as if this were a new process."""
    b.out.hush()
    b.out.linked = False
    for job in list(b.jobs.values()):
        stop(b, job)
    for actor in list(b.actors.values()):
        actor_gone(b, actor, "")
    for slot in list(b.slots.values()):  # what tasks have left in them is not to be met again
        kill(b, slot, "")
    for replica in list(b.store.values()):
        free(b, replica)
    b.told.clear()
    b.hopeless.clear()
    if b.leaving is None:
        b.draining = False
    b.out.linked = True
    register(b)
