"""Data under way: from clients to workers, and from worker to worker.

A move is one order to fetch, and ends exactly once: with the object's arrival, with the word that
it could not be had, or with the worker that should have fetched it. The same copy is not ordered
twice: whoever wants it waits for the move there is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from treadle.wire import TaskId, WorkerId

if TYPE_CHECKING:
    from treadle.scheduler._client import ClientState
    from treadle.scheduler._task import TaskState
    from treadle.scheduler._worker import WorkerState


class Upload(Struct, eq=False):
    """Data that clients are about to give, or that is not yet wherever it shall be."""

    #: Workers it may be given to; none: any.
    allowed: tuple[WorkerId, ...]
    #: Clients that have it, each with the number of its request.
    givers: dict[ClientState, int] = field(default_factory=dict)
    #: Workers that it is to be given to and that have not said that they have it.
    targets: dict[WorkerState, None] = field(default_factory=dict)


class Job(Struct, eq=False):
    """A client's request that is answered when all of its moves have ended."""

    client: ClientState
    ask: int
    #: Goals and moves that have not ended; it is answered at 0.
    open: int = 0
    #: Objects that have been moved for it.
    moved: int = 0
    errors: list[str] = field(default_factory=list)


class Goal(Struct, eq=False):
    """A result that shall be on so many workers."""

    job: Job
    ts: TaskState
    attempt: int
    copies: int
    #: Workers that count; none: all.
    allowed: dict[WorkerId, None]
    #: Workers that were told to fetch it for this.
    tried: dict[WorkerState, None] = field(default_factory=dict)


class Move(Struct, eq=False):
    """A worker was told to fetch an object."""

    ts: TaskState
    attempt: int
    target: WorkerState
    nbytes: int
    #: Workers it could not be had from.
    struck: dict[WorkerId, None] = field(default_factory=dict)
    #: Who lets go of it when it has arrived; None: nobody.
    source: WorkerState | None = None
    #: The worker that cannot leave before it has arrived; None: no such worker.
    leaver: WorkerState | None = None
    #: Who waits for its end.
    goals: dict[Goal, None] = field(default_factory=dict)
    job: Job | None = None


class Evacuation(Struct, eq=False):
    """What moves away from a worker that drains."""

    #: Its moves that have not ended.
    open: int = 0
    #: Workers that could not get an object from it.
    failures: dict[TaskState, dict[WorkerState, None]] = field(default_factory=dict)


class Moves:
    """The tables of data under way."""

    def __init__(self) -> None:
        #: Data that is being given. What was forgotten in between is swept now and then.
        self.uploads: dict[TaskState, Upload] = {}
        self.uploads_limit = 64
        #: Who has kept data that was given, with the number of its request. Those who want it no
        #: longer, and what was forgotten, are swept now and then.
        self.keepers: dict[TaskState, dict[ClientState, int]] = {}
        self.keepers_limit = 64
        #: Data that was lost and that somebody has kept: to be given again, in this very step.
        self.bereft: list[TaskState] = []
        #: Moves, by the worker that fetches and what it fetches: (task, attempt).
        self.to: dict[WorkerState, dict[tuple[TaskId, int], Move]] = {}
        #: The same moves, by what is fetched.
        self.of: dict[TaskState, dict[WorkerState, Move]] = {}
        #: Bytes that are under way to each worker.
        self.incoming: dict[WorkerState, int] = {}
        #: Requests that are not answered, by client and number.
        self.jobs: dict[tuple[ClientState, int], Job] = {}
        self.evacuations: dict[WorkerState, Evacuation] = {}

    def add(self, move: Move) -> None:
        """A move has been ordered."""
        target = move.target
        self.to.setdefault(target, {})[move.ts.id, move.attempt] = move
        self.of.setdefault(move.ts, {})[target] = move
        self.incoming[target] = self.incoming.get(target, 0) + move.nbytes

    def pop(self, target: WorkerState, id: TaskId, attempt: int) -> Move | None:
        """A move has ended; None if there was none."""
        there = self.to.get(target)
        move = None if there is None else there.pop((id, attempt), None)
        if there is None or move is None:
            return None
        if there:
            self.incoming[target] -= move.nbytes
        else:
            del self.to[target], self.incoming[target]
        others = self.of[move.ts]
        del others[target]
        if not others:
            del self.of[move.ts]
        return move

    def under_way(self, ts: TaskState) -> dict[WorkerState, Move]:
        """The moves of a task's result, by the worker that fetches it."""
        return self.of.get(ts) or {}
