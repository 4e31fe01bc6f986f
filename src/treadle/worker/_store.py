"""Objects come, are used, and go; and the books of memory follow.

Three rules. What is used stays in memory. What is freed while it is used, wanted or on its way is
*doomed*, and goes when it can. An object arrives once: whoever brings it again changes nothing.
"""

from __future__ import annotations

from heapq import heappush

from treadle.wire import TaskId
from treadle.worker._books import Books
from treadle.worker._events import Discard
from treadle.worker._job import Job, Stage, advance
from treadle.worker._lanes import dequeue, enqueue
from treadle.worker._replica import AT_HAND, HERE, IN_MEMORY, Place, Replica


def add(b: Books, id: TaskId, attempt: int, nbytes: int, type: str, rows: int) -> Replica | None:
    """An object is in memory that was made here or brought. None if it was here already."""
    key = (id, attempt)
    replica = b.store.get(key)
    if replica is None:
        replica = Replica(id, attempt, nbytes, type, rows, Place.memory)
        b.store[key] = b.lru[key] = replica
        b.used += nbytes
        if b.newest.get(id, 0) <= attempt:
            b.newest[id] = attempt
        return replica
    if replica.place is Place.absent:
        del b.sought[key]
        b.room_due = True  # it stands before others no longer
        b.used += nbytes
    elif replica.place is Place.asked:
        b.used += nbytes - replica.nbytes
    else:
        replica.doomed = False
        return None
    if replica.search is not None and replica.search.due is not None:
        del b.ordered[key]
    replica.nbytes, replica.type, replica.rows, replica.search = nbytes, type, rows, None
    replica.doomed = False
    if b.newest.get(id, 0) <= attempt:
        b.newest[id] = attempt
    arrive(b, replica)
    return replica


def arrive(b: Books, replica: Replica) -> None:
    """The object is in memory (again): jobs that wait for it go on."""
    replica.place = Place.memory
    for job in replica.wanted.values():
        job.missing -= 1
        if not job.missing:
            enqueue(b, job)
    shelve(b, replica)


def shelve(b: Books, replica: Replica) -> None:
    """File the object by who uses or wants it; what is doomed and not needed goes."""
    key = (replica.id, replica.attempt)
    if replica.place is Place.memory:
        b.lru.pop(key, None)
        b.wanted.pop(key, None)
        if replica.users:
            return
        if replica.wanted:
            b.wanted[key] = replica
        elif replica.doomed:
            discard(b, replica)
        else:
            b.lru[key] = replica
            b.room_due = True
    elif replica.place is Place.disk:
        if replica.users or replica.wanted:
            heappush(b.claims, (replica.priority(), b.next_serial(), replica))
            b.room_due = True
        elif replica.doomed:
            discard(b, replica)


def discard(b: Books, replica: Replica) -> None:
    """Forget an object that is in memory or on disk, and have its bytes forgotten."""
    b.out.commands.append(Discard(replica.id, replica.attempt))
    forget(b, replica)


def forget(b: Books, replica: Replica) -> None:
    """The object is not here: take it out of the books, whatever its place."""
    key = (replica.id, replica.attempt)
    place = replica.place
    b.room_due = True
    if place is Place.memory or place in IN_MEMORY:
        b.used -= replica.nbytes
    elif place is Place.disk:
        b.disk_bytes -= replica.nbytes
    elif place is Place.absent:
        b.sought.pop(key, None)
    replica.place = Place.absent
    if replica.search is not None:
        replica.search = None
        b.ordered.pop(key, None)
    b.lru.pop(key, None)
    if b.wanted:
        b.wanted.pop(key, None)
    del b.store[key]
    if b.newest.get(replica.id) == replica.attempt:
        del b.newest[replica.id]


def free(b: Books, replica: Replica) -> None:
    """Nobody but this worker needs the object any longer."""
    if replica.place is Place.memory and not replica.users and not replica.wanted:
        return discard(b, replica)
    if replica.place not in HERE:
        search = replica.search
        if search is not None and search.due is not None:
            search.due = None
            del b.ordered[replica.key]
        if not replica.wanted:
            forget(b, replica)
        return None
    replica.doomed = True
    return shelve(b, replica)


def revive(b: Books, replica: Replica) -> None:
    """The object is needed after all; the scheduler has forgotten that it is here."""
    if replica.doomed:
        replica.doomed = False
        b.out.hold(replica.held())


# --- jobs and their inputs ---------------------------------------------------------------------


def want(b: Books, job: Job, replica: Replica) -> None:
    """A job will need the object."""
    replica.wanted[job.run.id] = job
    if replica.place not in AT_HAND:
        job.missing += 1
    shelve(b, replica)


def unwant(b: Books, job: Job) -> None:
    """A job that no slot has will not need its inputs."""
    for replica in job.inputs:
        del replica.wanted[job.run.id]
        if replica.place in HERE:
            shelve(b, replica)
        elif not replica.wanted and (replica.search is None or replica.search.due is None):
            forget(b, replica)
    job.missing = 0
    b.room_due = True


def use(b: Books, job: Job) -> None:
    """A slot is given the job, and may read its inputs."""
    for replica in job.inputs:
        del replica.wanted[job.run.id]
        replica.users += 1
        b.wanted.pop((replica.id, replica.attempt), None)


def unuse(b: Books, job: Job, *, again: bool = False) -> None:
    """No slot has the job any longer; `again`: it waits for the next."""
    for replica in job.inputs:
        replica.users -= 1
        if again:
            replica.wanted[job.run.id] = job
        shelve(b, replica)


def hold_up(b: Books, replica: Replica) -> None:
    """The object leaves memory: ready jobs that want it wait again."""
    for job in replica.wanted.values():
        job.missing += 1
        if job.stage is Stage.ready:
            dequeue(b, job)
            advance(job, Stage.waiting)
