"""The worker is to go: what has not begun is returned, what runs may end, data is served.

Actors cannot move: they go on answering until they are released, or the grace is over.
"""

from __future__ import annotations

from treadle.wire import Leaving, NotFetched
from treadle.worker._books import Books
from treadle.worker._events import Exit, KillSlot
from treadle.worker._feeding import take_all_back
from treadle.worker._job import Stage
from treadle.worker._outcomes import give_up, stop
from treadle.worker._store import free


def drain(b: Books) -> None:
    """Begin nothing any longer."""
    if b.draining:
        return
    b.draining = True
    for job in list(b.jobs.values()):
        if job.stage <= Stage.ready and job.run.home is None:
            give_up(b, job, "drained")
    for slot in b.slots.values():
        take_all_back(b, slot)
        b.hungry.pop(slot.number, None)
    for replica in list(b.ordered.values()):
        b.out.tell(NotFetched(replica.id, replica.attempt, ()))
        free(b, replica)


def leave(b: Books, why: str, grace_s: float) -> None:
    """Tell the scheduler that the worker must go; what still runs then is ended."""
    grace_at = b.now + grace_s
    if b.grace_at is None or grace_at < b.grace_at:
        b.grace_at = grace_at
        b.arm(grace_at)
    b.leaving = why
    b.out.tell(Leaving(why, max(0.0, b.grace_at - b.now)))
    drain(b)


def mind_the_end(b: Books) -> None:
    """Ask to leave in time before the block ends, so that data can move and tasks can end."""
    if b.ends_at is None or b.ends_in_s is None or b.draining:
        return
    at = b.ends_at - min(b.limits.farewell_s, b.limits.farewell_share * b.ends_in_s)
    if b.now < at:
        b.arm(at)
    else:
        leave(b, "its block ends", b.ends_at - b.now)


def mind_the_grace(b: Books) -> None:
    """End what still runs when the grace is over."""
    if b.grace_at is None:
        return
    if b.now < b.grace_at:
        b.arm(b.grace_at)
        return
    for job in list(b.jobs.values()):
        if job.stage is not Stage.gone:
            stop(b, job, "drained")


def depart(b: Books) -> None:
    """Nothing holds the worker: end everything, and the process."""
    drain(b)
    for job in list(b.jobs.values()):
        give_up(b, job, "drained")
    for slot in b.slots.values():
        if not slot.dying:
            slot.dying = True
            b.out.commands.append(KillSlot(slot.number))
    b.out.commands.append(Exit())
    b.exited = True
    b.wake_at = None
