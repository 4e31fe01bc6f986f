"""The books of an executor's blocks: which job each of them is, and how that is."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from treadle.providers import JobState, JobStatus

#: Blocks that have ended and that are still remembered.
MOST_ENDED = 500

#: A job that is to end and does not is told so again after this long, then twice as long, ...
PATIENCE_S = 20.0
#: A block that is to end holds its place among `max_blocks` for this long at most.
LEAVING_S = 60.0


class Block:
    """One block."""

    __slots__ = ("cancelled_at", "cancels", "id", "job_id", "scaled_in_at", "status")

    def __init__(self, block_id: str, job_id: object, status: JobStatus) -> None:
        self.id = block_id
        #: None: it was never submitted.
        self.job_id = job_id
        #: What its provider said last that was not UNKNOWN.
        self.status = status
        #: When we decided that it is to end; None: it is wanted.
        self.scaled_in_at: float | None = None
        self.cancels = 0
        self.cancelled_at = 0.0

    @property
    def is_live(self) -> bool:
        """Whether its job has not ended, wanted or not."""
        return self.job_id is not None and not self.status.terminal

    def shown(self) -> JobStatus:
        """How the block is, which is not always how its job is."""
        if self.scaled_in_at is None:
            return self.status
        job = self.status
        text = (
            "it was no longer needed" if job.terminal else "it is no longer needed, and is ending"
        )
        return JobStatus(JobState.SCALED_IN, text, job.exit_code, job.stdout_path, job.stderr_path)

    def is_due(self, now: float) -> bool:
        """Whether its job should have ended by now, after the last time it was told to."""
        patience_s = PATIENCE_S * 2 ** max(0, self.cancels - 1)
        return self.cancels > 0 and self.is_live and now - self.cancelled_at >= patience_s


class Books:
    """The blocks of one executor by id, in the order in which they were started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = -1
        self.blocks: dict[str, Block] = {}

    def new_id(self) -> str:
        """The next block's id: '0', '1', ..."""
        with self._lock:
            self._last += 1
            return str(self._last)

    def started(self, block_id: str, job_id: object) -> None:
        """A block's job was submitted."""
        self._add(Block(block_id, job_id, JobStatus(JobState.PENDING)))

    def refused(self, block_id: str, why: str) -> None:
        """A block's job could not be submitted."""
        self._add(Block(block_id, None, JobStatus(JobState.FAILED, why)))

    def _add(self, block: Block) -> None:
        with self._lock:
            ended = [b.id for b in self.blocks.values() if not b.is_live]
            for block_id in ended[: max(0, len(ended) - MOST_ENDED)]:
                del self.blocks[block_id]
            self.blocks[block.id] = block

    def all(self) -> list[Block]:
        """All blocks that are remembered."""
        with self._lock:
            return list(self.blocks.values())

    def live(self) -> list[Block]:
        """Blocks whose jobs have not ended, wanted or not."""
        return [block for block in self.all() if block.is_live]

    def wanted(self) -> list[Block]:
        """Blocks whose jobs have not ended and that are not to end."""
        return [block for block in self.live() if block.scaled_in_at is None]

    def leaving(self, now: float) -> int:
        """How many blocks are to end, have not, and may still be counted as there."""
        return sum(
            block.scaled_in_at is not None and now - block.scaled_in_at < LEAVING_S
            for block in self.live()
        )

    def choose(
        self,
        count: int,
        idle_s: Callable[[str], float | None],
        max_idle_s: float | None,
    ) -> list[Block]:
        """Blocks to end: first those that wait, the newest of them; then those idle for longest.

        Args:
            max_idle_s: only those that wait or have been idle for so long; None: any.
        """
        waiting, running = [], []
        for block in reversed(self.wanted()):
            if block.status.state is not JobState.RUNNING:
                waiting.append(block)
                continue
            idle = idle_s(block.id)
            if max_idle_s is None or (idle is not None and idle >= max_idle_s):
                running.append((-1.0 if idle is None else idle, block))
        running.sort(key=lambda pair: pair[0], reverse=True)
        return [*waiting, *(block for _, block in running)][: max(0, count)]

    def told(self, statuses: Sequence[tuple[Block, JobStatus]]) -> list[Block]:
        """Take note of what the provider said; returns the blocks that have ended since."""
        ended = []
        for block, status in statuses:
            if status.state is JobState.UNKNOWN or not block.is_live:
                continue
            block.status = status
            if status.terminal:
                ended.append(block)
        return ended


def monitoring_rows(
    blocks: Mapping[str, Block], status: Mapping[str, JobStatus], common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """A row for each block, for tables."""
    return [
        {
            **common,
            "block_id": block_id,
            "job_id": getattr(blocks.get(block_id), "job_id", None),
            "status": job.status_name,
        }
        for block_id, job in status.items()
    ]
