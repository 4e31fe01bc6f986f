"""A job: the worker's side of one attempt, and the one table of its legal stages.

A stage that is not in the row of the job's stage is a bug: `advance` raises and tells the job's
story. What comes from outside never gets that far: handlers look at the stage first.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from msgspec import Struct

from treadle.errors import IllegalTransition
from treadle.wire import Run, TaskId

if TYPE_CHECKING:
    from treadle.worker._lane import Lane
    from treadle.worker._replica import Replica
    from treadle.worker._slot import Actor, Slot

#: What decides who comes first: the scheduler's rank, then the order of arrival.
Priority = tuple[tuple[float, int], int]


class Stage(IntEnum):
    """Where a job is. Each holds iff what it says is true."""

    #: An input is not in memory.
    waiting = 0
    #: All inputs are in memory; it stands in its lane, or in the queue of its actor.
    ready = 1
    #: It is in a slot's socket; the slot has not read it yet.
    fed = 2
    #: A slot runs it.
    running = 3
    #: A slot has asked for room for its result.
    writing = 4
    #: Its outcome has been told. A slot may still have it, to be taken back or killed.
    gone = 5


#: From each stage to these.
TABLE: tuple[tuple[Stage, ...], ...] = (
    (Stage.ready, Stage.gone),
    (Stage.waiting, Stage.fed, Stage.gone),
    (Stage.ready, Stage.running, Stage.gone),
    (Stage.writing, Stage.gone),
    (Stage.running, Stage.gone),
    (),
)

#: A slot has read it.
BEGUN = (Stage.running, Stage.writing)


class Job(Struct, eq=False):
    """One attempt that this worker was told to run."""

    run: Run
    #: Order of arrival at this worker.
    serial: int
    #: What it takes to run it, with all that take the same.
    lane: Lane
    #: First row that has not been told, and how many rows have not; one row for what is no bundle.
    next: TaskId
    left: int
    stage: Stage = Stage.waiting
    #: The objects it needs. Wanted while it waits or is ready, used while a slot has it.
    inputs: tuple[Replica, ...] = ()
    #: How many of them are not in memory: 0 but while it waits.
    missing: int = 0
    #: The slot that has it; None before it is fed.
    slot: Slot | None = None
    #: It has been asked back from the slot's socket.
    taking: bool = False
    #: The actor it makes, or whose call it is.
    actor: Actor | None = None
    #: Since when it has been the best ranked and could not run.
    short_since: float | None = None

    @property
    def priority(self) -> Priority:
        return self.run.rank, self.serial


def advance(job: Job, stage: Stage) -> None:
    """Move a job to its next stage.

    Raises:
        IllegalTransition: the table has no such step; the job is unchanged.
    """
    if stage not in TABLE[job.stage]:
        allowed = [s.name for s in TABLE[job.stage]]
        raise IllegalTransition(job.run.id, job.stage.name, stage.name, allowed, tell(job))
    job.stage = stage


def tell(job: Job) -> str:
    """The job in words."""
    where = "no slot" if job.slot is None else f"slot {job.slot.number}"
    return (
        f"job of task {job.run.id}, attempt {job.run.attempt}: {job.stage.name}, in {where}, "
        f"{job.missing} of {len(job.inputs)} inputs missing, {job.left} rows left"
    )
