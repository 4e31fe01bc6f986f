"""Room in memory: who gets it, who has to go to disk for it, and what is done when there is none.

Claims are: results (a slot asks before it writes), and objects that come back from disk or are
fetched. Results come first; all others by rank, be they on disk or at a peer: else one would send
to disk what the other brings back. A claim may send to disk what nobody
uses: first what nobody wants, least recently used first, then what only worse ranked jobs want.

*No claim waits for ever.* If nothing goes on here whose end could free memory, or after `room_s`
(what goes on may itself be waiting for the claim), the claim is granted over the budget. Denying
would be worse: a denied result is work that is lost, and is as large at the next attempt; the
budget leaves the machine room for it. Only what is larger than the whole budget is denied, and a
copy that was ordered and that no job needs is given up in the end.
"""

from __future__ import annotations

from heapq import heappop, heappush

from treadle.worker._books import Books
from treadle.worker._events import Deny, Grant, Restore, Spill
from treadle.worker._job import Priority, Stage, advance
from treadle.worker._replica import LAST, Place, Replica
from treadle.worker._slot import Slot
from treadle.worker._store import hold_up


def fits(b: Books, nbytes: int, priority: Priority, limit: int) -> bool:
    """Whether so many bytes fit now; if not, send to disk what may go for them."""
    if not b.budget:
        return True
    over = b.used + nbytes - limit
    if over <= 0:
        return True
    over -= b.spilling_bytes
    if over > 0:
        evict(b, over, priority)
    return False


def claim(b: Books, nbytes: int, priority: Priority, limit: int) -> bool:
    """Whether a claim gets its bytes now, be it over the budget."""
    if fits(b, nbytes, priority, limit):
        return True
    if b.starved_since is None:
        b.starved_since = b.now
        b.arm(b.now + b.limits.room_s)
    if priority >= LAST:  # a copy that no job needs is not worth more than the budget
        return False
    if b.now - b.starved_since < b.limits.room_s and in_progress(b):
        return False
    b.starved_since = b.now
    b.arm(b.now + b.limits.room_s)
    return True


def in_progress(b: Books) -> bool:
    """Whether something goes on here that frees memory, or needs no more, when it ends."""
    if b.moving or b.asking or any(t.due is not None for t in b.transfers.values()):
        return True
    return any(
        (slot.running is not None or slot.fed or slot.dying)
        and slot.number not in b.grants
        and not slot.aside
        for slot in b.slots.values()
    )


def is_busy(b: Books) -> bool:
    """Whether something runs here that does not wait for other tasks."""
    return any(
        (slot.running is not None or slot.fed or slot.dying) and not slot.aside
        for slot in b.slots.values()
    )


def takes_nothing(b: Books) -> bool:
    """Whether the scheduler should send nothing, until memory is free again.

    If all that runs waits for other tasks, they may be what is to be sent.
    """
    return b.paused and (not b.aside or is_busy(b))


def evict(b: Books, over: int, priority: Priority | None) -> None:
    """Send so many bytes to disk, as far as there are any that may go.

    `priority`: of whom it is done for; None: for nobody, so only what nobody wants goes.
    """
    victims: list[Replica] = []
    for replica in b.lru.values():
        if over <= 0:
            break
        if replica.nbytes and replica.stuck_until <= b.now:
            victims.append(replica)
            over -= replica.nbytes
    if over > 0 and priority is not None and b.wanted:
        worse = [
            (best, -number, replica)
            for number, replica in enumerate(b.wanted.values())
            if replica.nbytes
            and replica.stuck_until <= b.now
            and (best := replica.priority()) > priority
        ]
        worse.sort(reverse=True)
        for _, _, replica in worse:
            if over <= 0:
                break
            victims.append(replica)
            over -= replica.nbytes
    for replica in victims:
        spill(b, replica)


def spill(b: Books, replica: Replica) -> None:
    """Send an object that nobody uses to disk."""
    replica.place = Place.spilling
    b.lru.pop(replica.key, None)
    b.wanted.pop(replica.key, None)
    b.spilling_bytes += replica.nbytes
    b.moving += 1
    hold_up(b, replica)
    b.out.commands.append(Spill(replica.id, replica.attempt))


# --- claims ------------------------------------------------------------------------------------


def ask_grant(b: Books, slot: Slot, nbytes: int) -> None:
    """What a slot runs has a result of so many bytes."""
    job = slot.running
    assert job is not None
    if b.budget and nbytes > b.budget:
        why = f"a result of {nbytes} bytes is larger than the worker's memory budget, {b.budget}"
        b.out.commands.append(Deny(slot.number, job.run.id, job.run.attempt, why))
        return
    if job.stage is Stage.running:
        advance(job, Stage.writing)
    b.grants[slot.number] = nbytes
    b.room_due = True


def serve_grants(b: Books) -> bool:
    """Give slots the room that they have asked for, best ranked first; False if one must wait."""
    asked = [
        (job.priority, slot, nbytes)
        for number, nbytes in b.grants.items()
        if (job := (slot := b.slots[number]).running) is not None
    ]
    asked.sort(key=lambda item: item[0])
    for priority, slot, nbytes in asked:
        if not claim(b, nbytes, priority, b.budget):
            return False
        job = slot.running
        assert job is not None
        del b.grants[slot.number]
        slot.granted += nbytes
        b.used += nbytes
        b.out.commands.append(Grant(slot.number, job.run.id, job.run.attempt, nbytes))
    return True


def first_on_disk(b: Books) -> Replica | None:
    """The best ranked object on disk that is used or wanted."""
    claims = b.claims
    while claims:
        priority, _, replica = claims[0]
        if replica.place is Place.disk and (replica.users or replica.wanted):
            best = replica.priority()
            if best <= priority:
                return replica
            # Who wanted it most does no longer.
            heappush(claims, (best, b.next_serial(), replica))
        heappop(claims)
    return None


def restore(b: Books, replica: Replica) -> None:
    """Bring an object back, for which there is room."""
    replica.place = Place.restoring
    b.disk_bytes -= replica.nbytes
    b.used += replica.nbytes
    b.moving += 1
    b.out.commands.append(Restore(replica.id, replica.attempt))


# --- marks -------------------------------------------------------------------------------------


def mind_the_marks(b: Books) -> None:
    """Pause above the high mark, go on below the low one; keep some room ahead of need."""
    if b.used > b.high_bytes:
        if not b.paused:
            b.paused, b.paused_at = True, b.now
    elif b.paused and b.used <= b.low_bytes:
        b.paused = False
    over = b.used - b.spilling_bytes - b.spill_bytes
    if over > 0 and b.lru:
        evict(b, over, None)
