"""Tasks that ask for the same: who of them is first, and which workers may have room for them.

A demand is what a task asks of a worker: slots, resources, hosts, workers, a walltime. Each has a
queue of its own, so tasks that wait for one thing never stand in the way of tasks that wait for
another. Three kinds ask for more: suspects keep apart, actors stay, and who was on a worker and
asked to be moved goes elsewhere. Tasks of no slots find every worker free.

Workers that may have room stand in *tiers*, in the order in which their turn comes. A worker is
offered when something changed there, and struck off when it is found to have no room; so a look at
a demand whose workers are all full costs nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TypeAlias

from treadle.scheduler._lane import Lane
from treadle.scheduler._occupancy import CLOSE
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import NO_WORKER
from treadle.scheduler._worker import WorkerState
from treadle.wire import Options, WorkerId

#: Workers in the order of their turns: unlike in a dictionary, the first one is found at once.
Tier: TypeAlias = OrderedDict[WorkerState, None]


def could_ever(ws: WorkerState, options: Options, now: float) -> bool:
    """Whether the worker, with nothing else to do, could run a task with these options.

    One that drains could not; one that is paused or absent could: it may come back.
    """
    if ws.draining or options.slots > ws.slots:
        return False
    if not lives_long_enough(ws, options, now):
        return False
    return options.loose or pleases(ws, options)


def lives_long_enough(ws: WorkerState, options: Options, now: float) -> bool:
    """Whether the worker's block lives longer than a task that begins now may take."""
    walltime_s = options.walltime_s
    return walltime_s is None or ws.ends_at is None or now <= ws.ends_at - walltime_s


def pleases(ws: WorkerState, options: Options) -> bool:
    """Whether the worker is at a place where a task may run, and has in total what it takes."""
    bound = options.hosts or options.workers
    if bound and ws.host not in options.hosts and ws.id not in options.workers:
        return False
    total = ws.resources
    for name, amount in options.resources:
        if total.get(name, 0.0) < amount - CLOSE * amount:
            return False
    return True


class Demand(Lane):
    """The ready tasks that ask for the same.

    Args:
        options: of the first of them; of these only what is asked of a worker counts.
        suspicious: they were involved in deaths: no two of them share a worker.
        actor: they make actors.
        avoid: they asked to be run on another worker than this, if there is one.
        base: they stood in this queue, and wait for one worker now, which has their inputs.
    """

    __slots__ = (
        "actor", "ahead", "avoid", "base", "bulky", "code", "eligible", "feedable", "hold", "hungry", "idle",
        "isolated", "near", "options", "others", "serial", "simple", "slots", "suspicious", "timed", "used_by",
    )  # fmt: skip

    def __init__(
        self,
        options: Options,
        serial: int,
        *,
        suspicious: bool = False,
        actor: bool = False,
        avoid: WorkerId = "",
        base: Demand | None = None,
    ) -> None:
        super().__init__()
        self.options = options
        #: The how-manieth it is: decides between demands whose heads are equal.
        self.serial = serial
        self.suspicious = suspicious
        self.actor = actor
        #: Where they go is a question of who else is there.
        self.avoid = avoid
        self.isolated = suspicious or actor or avoid != ""
        self.base = base
        self.slots = options.slots
        self.timed = options.walltime_s is not None
        special = bool(options.resources) or self.isolated or options.loose
        #: Its tasks may be fed ahead, behind others.
        self.feedable = options.slots == 1 and not special
        #: A free slot is all that its tasks need.
        self.simple = self.feedable and not self.timed
        #: Which of its tasks a free slot takes may be chosen by their inputs.
        self.near = not self.isolated and base is None and not options.loose
        #: A free slot is not enough for its tasks. Small tasks may take again and again what it
        #: waits for, so a worker may be kept free for it; not for what waits for one worker anyway.
        self.bulky = options.slots > 1 or bool(options.resources)
        self.hungry = self.bulky and base is None
        #: The state of its tasks: waiting iff a worker is eligible (at the end of each step).
        self.code = NO_WORKER
        #: Workers that could ever run its tasks; of these also those that take no work now.
        self.eligible: dict[WorkerState, None] = {}
        #: Workers that may have free slots; if it is loose, those that grant all wishes.
        self.idle: Tier = OrderedDict()
        #: Only if it is loose: other workers that may have free slots.
        self.others: Tier = OrderedDict()
        #: Workers that may take more than they have slots.
        self.ahead: Tier = OrderedDict()
        #: The worker that is kept free for its head.
        self.hold: WorkerState | None = None
        #: All options that have led here.
        self.used_by: list[Options] = []

    def offer(self, ws: WorkerState, *, unbounded: bool) -> None:
        """The worker, which is eligible, may have room."""
        if unbounded or ws.slots_taken < ws.slots or not self.slots:
            loose = self.options.loose and not pleases(ws, self.options)
            (self.others if loose else self.idle)[ws] = None
        elif self.feedable:
            self.ahead[ws] = None

    def filled(self, ws: WorkerState) -> None:
        """The worker has no slot free."""
        if ws in self.idle and self.slots:
            del self.idle[ws]
            if self.feedable:
                self.ahead[ws] = None

    def close(self, ws: WorkerState) -> None:
        """The worker takes nothing."""
        self.idle.pop(ws, None)
        self.others.pop(ws, None)
        self.ahead.pop(ws, None)

    def __repr__(self) -> str:
        return f"<Demand {self.options}: {self.n} queued, {len(self.eligible)} eligible>"


def outranks(ts: TaskState, other: TaskState) -> bool:
    """Whether a task comes before another, which does not stand in the same queue."""
    mine, its = ts.options.priority, other.options.priority
    return mine < its or (mine == its and ts.rank < other.rank)
