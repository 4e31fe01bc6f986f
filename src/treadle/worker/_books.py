"""All that one worker knows. Functions of the other files change it; nobody else does.

Each field says what is in it; `_invariants` holds it to that.
"""

from __future__ import annotations

from msgspec import Struct, field

from treadle.wire import Outcome, TaskId
from treadle.worker._job import Job, Priority
from treadle.worker._lane import Lane
from treadle.worker._limits import Limits
from treadle.worker._outbox import Outbox
from treadle.worker._peer import Peer, Transfer
from treadle.worker._replica import Key, Replica
from treadle.worker._slot import Actor, Slot

Resources = tuple[tuple[str, float], ...]


class Books(Struct, eq=False, kw_only=True):
    """The state of a worker's machine."""

    # --- who it is
    id: str
    epoch: int
    host: str
    block: str = ""
    limits: Limits
    #: How long the block had to live when the first event came, and when it ends.
    ends_in_s: float | None = None
    ends_at: float | None = None

    # --- the step that is being taken
    out: Outbox = field(default_factory=Outbox)
    now: float = 0.0
    #: When a Tick is wanted at the latest.
    wake_at: float | None = None
    #: Messages and events that changed nothing, by reason.
    refused: dict[str, int] = field(default_factory=dict)
    #: Numbers of jobs, claims and requests.
    serial: int = 0

    # --- jobs
    #: Jobs whose outcome has not been told (of a bundle: not all of it), by task.
    jobs: dict[TaskId, Job] = field(default_factory=dict)
    #: Lanes with ready jobs, and a few without.
    lanes: dict[tuple[int, Resources, bool], Lane] = field(default_factory=dict)
    #: Ready jobs in lanes.
    ready: int = 0

    # --- slots
    #: Slots that the worker has. Its processes are so many, and those of actors, of what runs
    #: beside the slots, and of what is aside; some are spare.
    slot_count: int
    slots: dict[int, Slot] = field(default_factory=dict)
    #: Slots that have nothing and are not dying.
    idle: dict[int, Slot] = field(default_factory=dict)
    #: Slots that may be fed ahead, in turn.
    hungry: dict[int, Slot] = field(default_factory=dict)
    #: Slots that no lane takes; below 0 where a process runs something over their number.
    free_slots: int
    #: Slots of which what runs is aside, as they went; of these, who would go on, as they asked.
    aside: dict[int, Slot] = field(default_factory=dict)
    turns: dict[int, Slot] = field(default_factory=dict)
    #: What the worker has of each resource, how much of it is free, and how many slots take of it.
    resources: dict[str, float]
    free: dict[str, float]
    takers: dict[str, int]
    #: Slot processes that were ordered and have not come up.
    starting: int = 0
    #: Slots that died in a row before they had begun anything; the next starts then.
    restarts: int = 0
    start_at: float = 0.0
    #: Until when spare processes are looked at, and how many there were all that time.
    spare_until: float | None = None
    spares: int = 0
    #: The number of slots may not be right.
    staff_due: bool = True
    actors: dict[TaskId, Actor] = field(default_factory=dict)
    #: Actors of which a call may be fed.
    calls_due: dict[TaskId, Actor] = field(default_factory=dict)

    # --- objects
    store: dict[Key, Replica] = field(default_factory=dict)
    #: Newest attempt of a task of which there is an object here.
    newest: dict[TaskId, int] = field(default_factory=dict)
    #: Objects in memory that nobody uses or wants, least recently used first.
    lru: dict[Key, Replica] = field(default_factory=dict)
    #: Objects in memory that nobody uses, but somebody wants.
    wanted: dict[Key, Replica] = field(default_factory=dict)
    #: Objects that are looked for and not asked for.
    sought: dict[Key, Replica] = field(default_factory=dict)
    #: Absent objects that perhaps nobody has; looked at before the step ends.
    hopeless: list[Replica] = field(default_factory=list)
    #: Copies that were ordered and are not here.
    ordered: dict[Key, Replica] = field(default_factory=dict)

    # --- room (bytes; a budget of 0 is none)
    budget: int
    #: Below all marks there is nothing to mind.
    mark_bytes: int
    spill_bytes: int
    high_bytes: int
    low_bytes: int
    #: Bytes of all objects in memory, and of what is granted.
    used: int = 0
    #: Of these, bytes on their way to disk.
    spilling_bytes: int = 0
    #: Objects on their way to disk or back.
    moving: int = 0
    disk_bytes: int = 0
    #: (priority, serial, object on disk that is wanted or used), a heap; some are stale.
    claims: list[tuple[Priority, int, Replica]] = field(default_factory=list)
    #: Slot -> bytes it has asked room for and not been given.
    grants: dict[int, int] = field(default_factory=dict)
    #: Since when a claim waits for room; None if none does.
    starved_since: float | None = None
    #: A claim may have become possible.
    room_due: bool = False
    #: When something that could not be written to disk may be tried again.
    respill_at: float | None = None
    paused: bool = False
    #: When it was paused, or when something was last started all the same.
    paused_at: float = 0.0

    # --- other workers
    peers: dict[str, Peer] = field(default_factory=dict)
    #: Requests in flight, and what they bring.
    asking: int = 0
    incoming_bytes: int = 0
    #: Transfers to peers, by peer and request, and their bytes.
    transfers: dict[tuple[str, int], Transfer] = field(default_factory=dict)
    outgoing_bytes: int = 0

    # --- the scheduler
    #: Outcomes told and not acknowledged, oldest first: (beat that will cover it, outcome).
    told: dict[TaskId, tuple[int, Outcome]] = field(default_factory=dict)
    #: How often the worker has registered.
    registrations: int = 0
    #: Number of the last beat; how often to beat (None before `Registered`), and when next.
    beats: int = 0
    beat_s: float | None = None
    beat_at: float | None = None
    #: What the last `Status` said.
    status: tuple[int, int, bool] = (0, 0, False)
    #: Nothing new is begun: the scheduler has said so, or we wish to leave (and why).
    draining: bool = False
    leaving: str | None = None
    #: When what still runs is ended.
    grace_at: float | None = None
    exited: bool = False

    def arm(self, at: float) -> None:
        """See to it that a Tick comes by then."""
        if self.wake_at is None or at < self.wake_at:
            self.wake_at = at

    def refuse(self, why: str) -> None:
        """Count something that changes nothing."""
        self.refused[why] = self.refused.get(why, 0) + 1

    def next_serial(self) -> int:
        self.serial += 1
        return self.serial
