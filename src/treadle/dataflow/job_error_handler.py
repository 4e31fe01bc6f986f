"""When an executor's blocks fail: whether there is hope, and what to tell if there is none.

The rule of `JobErrorHandler`: an executor is given up when so many blocks in a row have died at
once and none is left. Blocks that have worked, and those that still wait, speak for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Protocol

from treadle.errors import TooManyJobFailuresError
from treadle.scaling import History, JobState

#: So many blocks that die at once, one after the other, are enough.
THRESHOLD = 3

#: What is told of blocks that failed: of how many, and how much of their output.
_MOST_TOLD = 3
_MOST_TEXT = 1500


class Status(Protocol):
    """How a block's job is: `treadle.providers.JobStatus`."""

    state: JobState
    message: str | None
    exit_code: int | None

    @property
    def stdout(self) -> str | None:
        """What it wrote to standard output."""

    @property
    def stderr(self) -> str | None:
        """What it wrote to standard error."""


class _Executor(Protocol):
    @property
    def label(self) -> str:
        """Its name."""

    def set_bad_state_and_fail_all(self, exception: BaseException) -> None:
        """Fail all tasks, now and in future."""


class JobErrorHandler:
    """Judges executors by the states of their blocks.

    Args:
        clock: seconds, from any beginning.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._histories: dict[int, tuple[_Executor, History]] = {}

    def run(self, statuses: Iterable[Any]) -> None:
        """Let each executor handle the errors among its blocks.

        Args:
            statuses: things with an `executor` and a `status`, its blocks' by id.
        """
        for entry in statuses:
            if entry.executor.error_management_enabled:
                entry.executor.handle_errors(self, entry.status)

    def simple_error_handler(
        self, executor: _Executor, status: Mapping[str, Status], threshold: int = THRESHOLD
    ) -> None:
        """Give the executor up if `threshold` blocks in a row died at once and none is left."""
        _, history = self._histories.setdefault(id(executor), (executor, History()))
        states = {block_id: job.state for block_id, job in status.items()}
        history.saw(states, self._clock(), worked=worked(executor, states))
        if history.is_hopeless(threshold):
            dead = {i: status[i] for i, past in history.blocks.items() if past.died_at_once}
            executor.set_bad_state_and_fail_all(give_up(executor, dead))

    def count_jobs(self, status: Mapping[str, Status]) -> tuple[int, int]:
        """How many blocks there have been, and how many of them failed."""
        return len(status), sum(job.state in _FAILED for job in status.values())

    def get_error(self, status: Mapping[str, Status]) -> TooManyJobFailuresError:
        """The error that tells of these blocks."""
        return TooManyJobFailuresError("?", describe(status))


_FAILED = (JobState.FAILED, JobState.MISSING)


def noop_error_handler(executor: _Executor, status: Mapping[str, Status]) -> None:
    """Give no executor up, whatever becomes of its blocks."""


def simple_error_handler(executor: Any, status: Mapping[str, Status]) -> None:
    """Give the executor up when there were `init_blocks` blocks (or one) and all have failed."""
    threshold = max(1, getattr(executor.provider, "init_blocks", 1))
    failed = [job for job in status.values() if job.state in _FAILED]
    if len(status) >= threshold and len(failed) == len(status):
        executor.set_bad_state_and_fail_all(give_up(executor, status))


def windowed_error_handler(
    executor: _Executor, status: Mapping[str, Status], threshold: int = THRESHOLD
) -> None:
    """Give the executor up when the last `threshold` blocks have all failed."""
    last = dict(list(status.items())[-threshold:])
    if len(last) >= threshold and all(job.state in _FAILED for job in last.values()):
        executor.set_bad_state_and_fail_all(give_up(executor, last))


def give_up(executor: _Executor, status: Mapping[str, Status]) -> TooManyJobFailuresError:
    """The error for an executor of which these blocks failed."""
    return TooManyJobFailuresError(executor, describe(status))


def describe(status: Mapping[str, Status]) -> str:
    """What became of blocks, and the end of what the last of them wrote."""
    count = len(status)
    blocks = "1 block" if count == 1 else f"{count} blocks in a row"
    lines = [f"{blocks} failed and nothing is left to run tasks; the executor is given up"]
    if count > _MOST_TOLD:
        lines.append(f"the last {_MOST_TOLD} of them:")
    for block_id, job in list(status.items())[-_MOST_TOLD:]:
        code = "" if job.exit_code is None else f", exit code {job.exit_code}"
        message = f": {job.message}" if job.message else ""
        lines.append(f"block {block_id} {job.state.name}{code}{message}")
        lines += _output(job)
    return "\n".join(lines)


def _output(job: Status) -> list[str]:
    for name, text in (("error", job.stderr), ("output", job.stdout)):
        if text and (text := text.strip()):
            cut = "[...] " if len(text) > _MOST_TEXT else ""
            return [f"  standard {name}: {cut}{text[-_MOST_TEXT:]}"]
    return []


def worked(executor: Any, blocks: Iterable[str]) -> Collection[str]:
    """The blocks of which workers have been heard, where the executor knows that."""
    workers_of = getattr(executor, "_workers_of", None)
    if not callable(workers_of):
        return ()
    return [block_id for block_id in blocks if workers_of(block_id)]
