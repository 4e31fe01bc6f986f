"""What the queues know: demands, the workers that could serve them, and what is to be looked at."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from treadle.scheduler._demand import Demand
from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState
from treadle.wire import Options

NEVER = float("inf")


class Room(Struct, eq=False):
    """A worker as the queues see it."""

    ws: WorkerState
    #: What it had when it was listed: if that changes, it is listed anew.
    traits: tuple[Any, ...]
    #: It may run tasks, now or when it is back: it is known and does not drain.
    eligible: bool = False
    #: It takes work now.
    usable: bool = False
    #: Demands that it is eligible for.
    demands: dict[Demand, None] = field(default_factory=dict)
    #: The demand it is kept free for.
    held_for: Demand | None = None
    #: Tasks that wait here for this worker alone, by the demand they stood in.
    own: dict[Demand, Demand] = field(default_factory=dict)
    #: Seconds that these are expected to take.
    own_s: float = 0.0
    #: Tasks that became ready and have their largest input there: priority, rank, serial, task. Some
    #: have gone elsewhere since; and how long the list may be before these are left out.
    near: list[tuple[float, int, int, TaskState]] = field(default_factory=list)
    near_limit: int = 64
    #: Tasks that were sent there and may take long, and their attempts; some have ended since.
    long: dict[TaskState, int] = field(default_factory=dict)
    #: Slots that these have, and the seconds they are expected to take, when last counted; and
    #: whether some may have ended since.
    long_slots: int = 0
    long_s: float = 0.0
    recount: bool = False

    def add_long(self, ts: TaskState) -> None:
        """A task that may take long was sent there: nothing is fed behind it."""
        self.long[ts] = ts.attempt
        self.recount = True
        if len(self.long) > 2 * self.ws.slots + 8:
            self.count_long()

    def count_long(self) -> None:
        """Leave out those that have ended."""
        self.recount = False
        processing = self.ws.processing
        self.long = {
            ts: attempt
            for ts, attempt in self.long.items()
            if ts.attempt == attempt and ts in processing and not self.ws.aside.get(ts, False)
        }
        self.long_slots = sum([ts.options.slots for ts in self.long])
        self.long_s = sum([processing[ts] for ts in self.long])


class Reserved(Struct, eq=False):
    """A task that waits for the worker that has its inputs."""

    demand: Demand
    room: Room
    expected_s: float
    #: When it goes back to where it stood, if that worker has not taken it.
    until: float


class Queues:
    """Ready tasks, and the workers that may have room for them."""

    def __init__(self) -> None:
        #: Every worker that is known.
        self.rooms: dict[WorkerState, Room] = {}
        #: The slots of all of them.
        self.slots = 0
        #: The same by host.
        self.hosts: dict[str, dict[WorkerState, None]] = {}
        #: Demands, by what they ask for; empty ones are dropped now and then.
        self.demands: dict[tuple[Any, ...], Demand] = {}
        #: The demand of ordinary tasks with these options, and the one that was last looked up.
        self.by_options: dict[Options, Demand] = {}
        self.last_options: Options | None = None
        self.last_demand: Demand | None = None
        #: Demands made so far, and how many may be listed before empty ones are dropped.
        self.serial = 0
        self.limit = 32
        #: Workers where something has changed, and demands that have to be looked at.
        self.fresh: dict[WorkerState, None] = {}
        self.awake: dict[Demand, None] = {}
        #: Demands that have, or had, no eligible worker, in this step.
        self.unsettled: dict[Demand, None] = {}
        #: Demands that have tasks and no eligible worker, to be looked at where none can come.
        self.unfit: dict[Demand, None] = {}
        #: Workers that are kept free for a demand.
        self.held: dict[WorkerState, None] = {}
        #: Workers with so many tasks that wait for others that they begin little else.
        self.crowded: dict[WorkerState, None] = {}
        #: Tasks that wait for one worker, and when to look after them: time, serial, task, entry.
        self.reserved: dict[TaskState, Reserved] = {}
        self.vigils: list[tuple[float, int, TaskState, Reserved]] = []
        self.n_vigils = 0
        #: Tasks that have waited so in vain: they go where there is room.
        self.tired: dict[TaskState, None] = {}
        #: Actors that may have calls to be sent.
        self.homes: dict[TaskState, None] = {}
        #: Demands with a walltime, and when the next worker lives too short for one of them.
        self.timed: dict[Demand, None] = {}
        self.next_expiry = NEVER
        #: Draws so far, and tasks listed so far with the worker that has their largest input.
        self.draws = 0
        self.n_near = 0
