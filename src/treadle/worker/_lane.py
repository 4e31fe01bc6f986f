"""A lane: ready jobs that take the same (so many slots, these resources), best ranked first.

Jobs of one lane wait for one another; jobs of different lanes need different things, and one
that cannot run holds up another only if it reserves what both need.
"""

from __future__ import annotations

from heapq import heappop, heappush

from msgspec import Struct, field

from treadle.worker._job import Job, Stage

#: What a job may take: the slots, by this name, and resources by theirs.
SLOTS = ""


class Lane(Struct, eq=False):
    """Ready jobs with equal needs."""

    #: Slots it takes. 0: a process beside the slots (an actor's is one).
    slots: int
    resources: tuple[tuple[str, float], ...]
    #: These jobs make actors.
    actor: bool = False
    #: (rank, serial, job), a heap; some of them are no longer ready and are passed over.
    heap: list[tuple[tuple[float, int], int, Job]] = field(default_factory=list)
    #: How many ready jobs are in it.
    live: int = 0

    #: What all lanes of these needs are filed under.
    key: tuple[int, tuple[tuple[str, float], ...], bool] = (0, (), False)

    def __post_init__(self) -> None:
        self.key = (self.slots, self.resources, self.actor)

    def push(self, job: Job) -> None:
        heappush(self.heap, (job.run.rank, job.serial, job))
        self.live += 1

    def head(self) -> Job | None:
        """The best ranked ready job."""
        heap = self.heap
        while heap:
            job = heap[0][2]
            if job.stage is Stage.ready:
                return job
            heappop(heap)
        return None

    def pop(self) -> Job:
        """Take out the job that `head` has just returned."""
        self.live -= 1
        return heappop(self.heap)[2]
