"""Executors that run their tasks in blocks: jobs that a provider starts and ends.

A block is one job: some nodes, with a worker on each. Who derives from `BlockProviderExecutor`
writes what every executor writes (`start`, `submit`, `shutdown`), the command that starts a block's
workers, and two figures: how many tasks are open, and how many of them a node runs at once. A
kernel does the rest: it starts and ends blocks between `min_blocks` and `max_blocks`, and gives the
executor up when its blocks die at once.
"""

from __future__ import annotations

import os
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from treadle.dataflow.job_error_handler import JobErrorHandler
from treadle.errors import ExecutionProviderException, ScaleOutFailed, ScalingFailed
from treadle.executors._blocks import Block, Books, monitoring_rows
from treadle.executors.base import ParslExecutor
from treadle.log import logger
from treadle.providers import ExecutionProvider, JobState, JobStatus

if TYPE_CHECKING:
    from concurrent.futures import Future

_log = logger("executors")

#: How long the end of all blocks may take, besides what the provider's commands take.
_END_S = 8.0
#: How often the order to end is repeated then, and how often we look.
_REPEAT_S = 3.0
_SHORT_NAP_S = 0.05
_LONG_NAP_S = 1.0

ErrorHandler = Callable[["BlockProviderExecutor", Mapping[str, JobStatus]], object]


class NoStatusHandlingExecutor(ParslExecutor):
    """An executor without blocks: all that is asked about them is answered with nothing."""

    @property
    def error_management_enabled(self) -> bool:
        """False: there are no blocks that could fail."""
        return False

    @property
    def provider(self) -> ExecutionProvider | None:
        """None: nobody provides blocks."""
        return None

    def handle_errors(self, error_handler: Any, status: Mapping[str, JobStatus]) -> None:
        """Do nothing."""


class BlockProviderExecutor(ParslExecutor):
    """An executor that grows and shrinks by blocks.

    Args:
        provider: who starts and ends blocks; None: there are none.
        block_error_handler: True: given up when three blocks in a row die at once and none is left;
            False: never; or `f(executor, status)`, which may call `set_bad_state_and_fail_all`.

    Attributes:
        block_error_handler: as given.
        radio_mode: accepted for programs that set it.
    """

    radio_mode: str = "udp"
    #: Set by who watches the blocks when they are to end at once.
    _in_haste: bool = False
    #: Set by who watches the blocks: look again, soon.
    _on_nudge: Callable[[], object] | None = None

    def __init__(
        self,
        *,
        provider: ExecutionProvider | None,
        block_error_handler: bool | ErrorHandler = True,
    ) -> None:
        self._provider = provider
        self.block_error_handler = block_error_handler
        self._books = Books()
        self._error_handler: JobErrorHandler | None = None
        self._tasks: dict[object, Future[Any]] = {}

    # --- what a class of your own says -----------------------------------------------------------

    @abstractmethod
    def _get_launch_command(self, block_id: str) -> str:
        """The line for a shell that starts the workers on a node of this block."""

    @property
    @abstractmethod
    def outstanding(self) -> int:
        """How many tasks it has been given that have not ended."""

    @property
    @abstractmethod
    def workers_per_node(self) -> int | float:
        """How many tasks a node of a block runs at once."""

    def _workers_of(self, block_id: str) -> int | None:
        """How many workers of a block have ever been heard of; None: that is not known."""
        return None

    def _idle_s(self, block_id: str) -> float | None:
        """For how long a block has had nothing to do; None: it has, or that is not known."""
        return None

    def _drain(self, block_ids: Sequence[str]) -> None:
        """Let these blocks take no new tasks and finish what they run; their jobs end then."""

    def _on_block_end(self, block_id: str, status: JobStatus) -> None:
        """A block has ended."""

    # --- what it is -------------------------------------------------------------------------------

    @property
    def provider(self) -> ExecutionProvider | None:
        """Who starts and ends blocks; None: there are none."""
        return self._provider

    @property
    def scaling_enabled(self) -> bool:
        """Whether it can grow and shrink."""
        return self._provider is not None

    @property
    def error_management_enabled(self) -> bool:
        """Whether failures of its blocks are looked at."""
        return bool(self.block_error_handler)

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two questions for the status of blocks; 0: it is never asked."""
        return 0 if self._provider is None else self._provider.status_polling_interval

    @property
    def blocks_to_job_id(self) -> dict[str, object]:
        """The job of each block, by the block's id."""
        return {b.id: b.job_id for b in self._books.all() if b.job_id is not None}

    @property
    def job_ids_to_block(self) -> dict[object, str]:
        """The block of each job, by the job's id."""
        return {job_id: block_id for block_id, job_id in self.blocks_to_job_id.items()}

    @property
    def leaving(self) -> int:
        """How many blocks are to end, and may still be there."""
        return self._books.leaving(time.monotonic())

    def monitor_resources(self) -> bool:
        """Whether what its tasks use should be measured: they have processes of their own."""
        return True

    def create_monitoring_info(self, status: Mapping[str, JobStatus]) -> list[dict[str, Any]]:
        """A row for each block, for tables: what it is, and how."""
        common = {"run_id": self.run_id, "executor_label": self.label, "timestamp": time.time()}
        return monitoring_rows({b.id: b for b in self._books.all()}, status, common)

    # --- blocks -----------------------------------------------------------------------------------

    def nudge(self) -> None:
        """Something has changed that whoever watches the blocks should know of soon."""
        if self._on_nudge is not None:
            self._on_nudge()

    def scale_out(self, blocks: int = 1) -> list[str]:
        """Start blocks; returns the ids of those that could be started.

        The first one that cannot be started ends the attempt, so that a batch system in trouble is
        not asked a hundred times; its status is FAILED, and says why.

        Raises:
            ScalingFailed: it has no provider.
        """
        provider = self._provider
        if provider is None:
            raise ScalingFailed(self, "it has no provider, so it has no blocks")
        if getattr(provider, "script_dir", None) is None:
            provider.script_dir = os.path.join(os.path.abspath(self.run_dir), "submit_scripts")
        started: list[str] = []
        while len(started) < blocks and not self.bad_state_is_set:
            block_id = self._books.new_id()
            try:
                job_id = self._launch_block(block_id)
            except Exception as error:  # noqa: BLE001 - of the provider, which anybody may write
                why = f"it could not be started: {type(error).__name__}: {error}"
                self._books.refused(block_id, why)
                _log.warning("executor %s: block %s: %s", self.label, block_id, why)
                break
            self._books.started(block_id, job_id)
            started.append(block_id)
        return started

    def scale_out_facade(self, n: int) -> list[str]:
        """Start blocks, as `scale_out` does."""
        return self.scale_out(n)

    def _launch_block(self, block_id: str) -> object:
        """Submit the job of a block; returns the job's id."""
        if self._provider is None:
            raise ScalingFailed(self, "it has no provider, so it has no blocks")
        command = self._get_launch_command(block_id)
        job_name = f"treadle.{self.label}.block-{block_id}"
        job_id = self._provider.submit(command, 1, job_name)
        if job_id is None:
            raise ScaleOutFailed(f"the provider returned no id for job {job_name}")
        return job_id

    def scale_in(self, blocks: int = 1, max_idletime: float | None = None) -> list[str]:
        """End blocks: those that wait first, then those that have been idle for longest.

        Args:
            blocks: how many.
            max_idletime: only those that wait or have been idle for so many seconds.

        Returns:
            The ids of the blocks that end.
        """
        chosen = self._books.choose(blocks, self._idle_s, max_idletime)
        if chosen:
            self._end(chosen)
        return [block.id for block in chosen]

    def scale_in_facade(self, n: int, max_idletime: float | None = None) -> list[str]:
        """End blocks, as `scale_in` does."""
        return self.scale_in(n, max_idletime)

    def _end(self, blocks: Sequence[Block]) -> None:
        now = time.monotonic()
        for block in blocks:
            block.scaled_in_at = now
        try:
            if not self._in_haste and not self.bad_state_is_set:
                self._drain([block.id for block in blocks])
        except Exception:  # noqa: BLE001 - of a class of the user's
            _log.exception("executor %s: its blocks could not be drained", self.label)
        self._cancel(blocks)

    def _cancel(self, blocks: Sequence[Block]) -> None:
        """Have the provider end jobs; what fails is tried again when it is due."""
        now = time.monotonic()
        for block in blocks:
            block.cancels += 1
            block.cancelled_at = now
        if self._provider is None or not blocks:
            return
        try:
            self._provider.cancel([block.job_id for block in blocks])
        except Exception as error:  # noqa: BLE001 - of the provider, which anybody may write
            _log.warning("executor %s: jobs could not be cancelled: %s", self.label, error)

    def status(self) -> dict[str, JobStatus]:
        """How all blocks are, by id. Asks the provider about those that have not ended.

        Raises:
            ExecutionProviderException: that cannot be found out now; what was known still counts.
        """
        live = self._books.live()
        if live and self._provider is not None:
            jobs = self._provider.status([block.job_id for block in live])
            if len(jobs) != len(live):
                raise ExecutionProviderException(
                    f"the provider was asked about {len(live)} jobs and answered for {len(jobs)}"
                )
            seen = [(b, self._judged(b, job)) for b, job in zip(live, jobs, strict=True)]
            for block in self._books.told(seen):
                self._on_block_end(block.id, block.shown())
            now = time.monotonic()
            self._cancel([block for block in live if block.is_due(now)])
        return {block.id: block.shown() for block in self._books.all()}

    def _judged(self, block: Block, job: JobStatus) -> JobStatus:
        """The job's status, or MISSING if it ended well without ever having done anything."""
        silent = block.scaled_in_at is None and job.state is JobState.COMPLETED
        if silent and self._workers_of(block.id) == 0:
            text = "it ended, and none of its workers was ever heard of"
            paths = job.stdout_path, job.stderr_path
            return JobStatus(JobState.MISSING, text, job.exit_code, *paths)
        return job

    def end_blocks(self, *, patience_s: float = _END_S) -> list[object]:
        """End all blocks, as far as that can be done in bounded time.

        Returns:
            Jobs that may still be there; they are in the log, too.
        """
        deadline = time.monotonic() + patience_s
        nap_s = _SHORT_NAP_S if self.status_polling_interval <= 1 else _LONG_NAP_S
        if wanted := self._books.wanted():
            self._end(wanted)
        told_at = time.monotonic()
        while True:
            try:
                self.status()
            except Exception as error:  # noqa: BLE001 - of the provider
                _log.warning("executor %s: its blocks cannot be seen: %s", self.label, error)
            left = self._books.live()
            now = time.monotonic()
            if not left or now >= deadline:
                break
            if now - told_at >= _REPEAT_S:
                told_at = now
                self._cancel(left)
            time.sleep(min(nap_s, max(0.0, deadline - now)))
            nap_s = min(nap_s * 2, _LONG_NAP_S)
        jobs = [block.job_id for block in self._books.live()]
        if jobs:
            _log.warning("executor %s: these jobs may still be there: %s", self.label, jobs)
        return jobs

    # --- failures ---------------------------------------------------------------------------------

    def handle_errors(self, error_handler: Any, status: Any = None) -> None:
        """Look for blocks that fail, after each poll of the status.

        Args:
            error_handler: a `JobErrorHandler`; may be left out.
            status: how all blocks are, by id.
        """
        if status is None:
            error_handler, status = None, error_handler
        if not self.block_error_handler or self.bad_state_is_set:
            return
        if callable(self.block_error_handler):
            self.block_error_handler(self, status)
            return
        if error_handler is None:
            error_handler = self._error_handler = self._error_handler or JobErrorHandler()
        error_handler.simple_error_handler(self, status)
