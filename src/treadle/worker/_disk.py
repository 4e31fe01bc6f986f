"""What the disk answers: written, not written, read back, not read back."""

from __future__ import annotations

from treadle.wire import Attempt, Dropped
from treadle.worker import _events as ev
from treadle.worker._books import Books
from treadle.worker._outcomes import give_up
from treadle.worker._replica import Place, Replica
from treadle.worker._serving import came_back, lost_on_disk
from treadle.worker._store import add, arrive, forget, shelve

Answer = ev.Spilled | ev.NotSpilled | ev.Restored | ev.NotRestored


def _moving(b: Books, event: Answer, place: Place) -> Replica | None:
    """The object that the event is about, if it is where the event has it come from."""
    replica = b.store.get((event.id, event.attempt))
    if replica is None or replica.place is not place:
        b.refuse("not on its way")
        return None
    b.moving -= 1
    b.room_due = True
    return replica


def spilled(b: Books, event: ev.Spilled) -> None:
    replica = _moving(b, event, Place.spilling)
    if replica is None:
        return
    b.spilling_bytes -= replica.nbytes
    b.used -= replica.nbytes
    b.disk_bytes += replica.nbytes
    replica.place = Place.disk
    shelve(b, replica)


def not_spilled(b: Books, event: ev.NotSpilled) -> None:
    """The object stays in memory; the disk is not asked for it again for a while."""
    replica = _moving(b, event, Place.spilling)
    if replica is None:
        return
    b.spilling_bytes -= replica.nbytes
    replica.stuck_until = b.now + b.limits.respill_s
    if b.respill_at is None or replica.stuck_until < b.respill_at:
        b.respill_at = replica.stuck_until
        b.arm(b.respill_at)
    arrive(b, replica)
    came_back(b, replica)


def restored(b: Books, event: ev.Restored) -> None:
    replica = _moving(b, event, Place.restoring)
    if replica is None:
        return
    arrive(b, replica)
    came_back(b, replica)


def not_restored(b: Books, event: ev.NotRestored) -> None:
    """The object is lost: tell it, and return what needs it."""
    replica = _moving(b, event, Place.restoring)
    if replica is None:
        return
    if not replica.doomed:
        b.out.tell(Dropped((Attempt(replica.id, replica.attempt),), event.why[:1024]))
    lost_on_disk(b, replica)
    replica.doomed = False
    for job in list(replica.wanted.values()):
        give_up(b, job, "inputs", ((replica.id, b.id),))
    b.out.commands.append(ev.Discard(replica.id, replica.attempt))
    forget(b, replica)


def stored(b: Books, event: ev.Stored) -> None:
    """A client has given us data."""
    if add(b, event.id, event.attempt, event.nbytes, event.type, 1) is None:
        b.refuse("object was here")
    replica = b.store[event.id, event.attempt]
    b.out.hold(replica.held())
