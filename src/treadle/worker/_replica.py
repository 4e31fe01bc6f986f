"""A replica: an object that this worker has, had, makes or looks for.

Its bytes count against the memory budget iff its place is one of `IN_MEMORY`. It may leave memory
only while nobody uses it; who merely wants it (a job that has not been fed) waits until it is back.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct, field

from treadle.wire import Held, TaskId
from treadle.worker._job import Priority

if TYPE_CHECKING:
    from treadle.worker._job import Job

Key = tuple[TaskId, int]

#: Comes before every job: what a peer is waiting for.
FIRST: Priority = ((float("-inf"), 0), 0)
#: Comes after every job: a copy that was ordered and that no job needs.
LAST: Priority = ((float("inf"), 0), 0)


class Place(IntEnum):
    """Where an object is."""

    #: Elsewhere, or not made yet.
    absent = 0
    #: A peer has been asked for it; room is reserved.
    asked = 1
    memory = 2
    #: Being written to disk.
    spilling = 3
    disk = 4
    #: Being read back; room is reserved.
    restoring = 5
    #: An actor: in its slot, never anywhere else, and of no bytes.
    slot = 6


IN_MEMORY = (Place.asked, Place.memory, Place.spilling, Place.restoring)
HERE = (Place.memory, Place.spilling, Place.disk, Place.restoring, Place.slot)
#: A job can be fed that needs it.
AT_HAND = (Place.memory, Place.slot)


class Search(Struct, eq=False):
    """Where an object that is not here may be had."""

    #: Workers that should have it, and have not been found wanting.
    holders: dict[str, None] = field(default_factory=dict)
    #: Workers that should have had it.
    struck: dict[str, None] = field(default_factory=dict)
    #: Whom it has been asked of; empty unless its place is `asked`.
    asked_of: str = ""
    #: The scheduler has ordered a copy, to be had by then; None if only jobs want it.
    due: float | None = None


class Replica(Struct, eq=False):
    """One object, of one attempt."""

    id: TaskId
    attempt: int
    nbytes: int
    type: str = ""
    rows: int = 1
    place: Place = Place.absent
    #: Jobs in slots that read it, and transfers of it. Above 0 it stays in memory, or comes back.
    users: int = 0
    #: Jobs that will need it, by task: waiting or ready.
    wanted: dict[TaskId, Job] = field(default_factory=dict)
    #: None iff it is here.
    search: Search | None = None
    #: Freed by the scheduler, and kept until nobody here uses or wants it.
    doomed: bool = False
    #: Could not be written to disk: not tried again before then.
    stuck_until: float = 0.0

    @property
    def key(self) -> Key:
        return self.id, self.attempt

    def held(self) -> Held:
        return Held(self.id, self.attempt, self.nbytes, self.type, self.rows)

    def priority(self) -> Priority:
        """The best of those that want it."""
        if self.users:
            return FIRST
        if not self.wanted:
            return LAST
        return min(job.priority for job in self.wanted.values())
