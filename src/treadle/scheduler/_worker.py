"""A worker as the scheduler sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from treadle.scheduler._task import TaskState


class WorkerState(Struct, eq=False):
    """One worker: what it has, what it does, and when it was last heard of."""

    #: Its name, which is its address; unique among live workers.
    id: str
    #: Which process of that name it is; a higher one has replaced it.
    epoch: int
    host: str
    #: Processes that run tasks.
    slots: int
    #: What it offers, and what of that is not taken.
    resources: dict[str, float] = field(default_factory=dict)
    free: dict[str, float] = field(default_factory=dict)
    #: What its store may take; 0: as much as there is.
    memory_bytes: int = 0
    #: The batch job that started it; empty for none.
    block: str = ""
    #: When its block ends; None: never, as far as is known.
    ends_at: float | None = None
    #: It reports the attempts that have begun, so its death accuses these alone.
    starts: bool = True

    #: There is a link to it. Without one it is given up at `lost_at` + lease.
    linked: bool = True
    lost_at: float = 0.0
    last_seen: float = 0.0
    #: It starts nothing new until memory is free again.
    paused: bool = False
    #: It returns what has not begun, and leaves when its data is elsewhere.
    draining: bool = False
    #: Who asked for that, to be told when it has gone: (client's peer, ask).
    retired_by: list[tuple[str, int]] = field(default_factory=list)

    #: What it was given to do and has not answered, each with the seconds it was expected to take.
    processing: dict[TaskState, float] = field(default_factory=dict)
    #: Of these, the ones that it said have begun.
    executing: dict[TaskState, float] = field(default_factory=dict)
    #: Of these, the ones that were aside at some time: now (True), or no longer.
    aside: dict[TaskState, bool] = field(default_factory=dict)
    #: How many are aside now.
    n_aside: int = 0
    #: Slots taken by what it processes and by its actors; beyond `slots` work is fed ahead.
    slots_taken: int = 0
    #: Sum of the expected seconds of what it processes.
    backlog_s: float = 0.0
    #: What it processes that was suspicious when it was given: one at most.
    suspects: dict[TaskState, None] = field(default_factory=dict)
    #: Results it has, and their bytes.
    has_what: dict[TaskState, None] = field(default_factory=dict)
    nbytes: int = 0
    #: Actors that live there.
    actors: dict[TaskState, None] = field(default_factory=dict)
    #: What it last said of itself.
    memory_used: int = 0
    spilled_bytes: int = 0
    #: Its name among all peers.
    peer: str = ""
    #: Attempts that its last beat did not list though they had been sent before that.
    unlisted: dict[TaskState, int] = field(default_factory=dict)
    #: The newest attempt handed out when it last beat.
    beat_attempt: int = 0

    def __post_init__(self) -> None:
        self.peer = f"worker/{self.id}"

    @property
    def address(self) -> str:
        """Its name, which is its address."""
        return self.id

    @property
    def used_resources(self) -> dict[str, float]:
        """What of its resources is taken."""
        return {name: total - self.free[name] for name, total in self.resources.items()}

    @property
    def status(self) -> str:
        """absent, draining, paused or running."""
        if not self.linked:
            return "absent"
        return "draining" if self.draining else "paused" if self.paused else "running"

    def __repr__(self) -> str:
        return (
            f"<WorkerState {self.id!r} {self.status}: {len(self.processing)} processing on "
            f"{self.slots} slots, {len(self.has_what)} results of {self.nbytes} bytes>"
        )
