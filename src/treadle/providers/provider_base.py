"""What an executor asks of a provider: start a job, say how jobs are, end jobs.

A job is what one `submit` starts: a process here, or a job of a batch system. All methods are
called by one thread at a time, which may wait for them; but not for ever: a provider bounds the
commands that it runs.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from treadle.scaling import TERMINAL_STATES, JobState

__all__ = ["TERMINAL_STATES", "ExecutionProvider", "JobState", "JobStatus"]

#: What is read of a job's output at most, from its end.
_MOST_BYTES = 4 << 20


class JobStatus:
    """How a job is.

    Args:
        state: where it is.
        message: what there is to say about that, such as why it waits.
        exit_code: how it ended; negative for a signal's number; None if it has not, or if that is
            not known.
        stdout_path, stderr_path: the files that it writes to, if they can be read here.
    """

    #: A summary longer than this has its middle cut out.
    SUMMARY_TRUNCATION_THRESHOLD = 2048

    __slots__ = ("exit_code", "message", "state", "stderr_path", "stdout_path")

    def __init__(
        self,
        state: JobState,
        message: str | None = None,
        exit_code: int | None = None,
        stdout_path: str | None = None,
        stderr_path: str | None = None,
    ) -> None:
        self.state = JobState(state)
        self.message = message
        self.exit_code = exit_code
        self.stdout_path = stdout_path
        self.stderr_path = stderr_path

    @property
    def terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL_STATES

    @property
    def status_name(self) -> str:
        """The name of the state."""
        return self.state.name

    @property
    def stdout(self) -> str | None:
        """What it has written to standard output, the last 4 MB; None if that cannot be read."""
        return _read(self.stdout_path)

    @property
    def stderr(self) -> str | None:
        """What it has written to standard error, the last 4 MB; None if that cannot be read."""
        return _read(self.stderr_path)

    @property
    def stdout_summary(self) -> str | None:
        """Beginning and end of its standard output, 2,048 characters at most."""
        return self._summary(self.stdout_path)

    @property
    def stderr_summary(self) -> str | None:
        """Beginning and end of its standard error, 2,048 characters at most."""
        return self._summary(self.stderr_path)

    def _summary(self, path: str | None) -> str | None:
        half = self.SUMMARY_TRUNCATION_THRESHOLD // 2
        return None if path is None else _read_ends(path, half)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, JobStatus):
            return NotImplemented
        return all(getattr(self, name) == getattr(other, name) for name in JobStatus.__slots__)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        known = (("message", self.message), ("exit_code", self.exit_code))
        rest = "".join(f", {name}={value!r}" for name, value in known if value is not None)
        return f"JobStatus({self.state.name}{rest})"


def _read(path: str | None) -> str | None:
    if path is None:
        return None
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_BYTES))
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _read_ends(path: str, half: int) -> str | None:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            if size <= 2 * half:
                return file.read(2 * half).decode("utf-8", "replace")
            head = file.read(half).decode("utf-8", "replace")
            file.seek(size - half)
            return f"{head}\n[...]\n{file.read(half).decode('utf-8', 'replace')}"
    except OSError:
        return None


class ExecutionProvider(ABC):
    """Starts, watches and ends jobs.

    Attributes:
        init_blocks, min_blocks, max_blocks: how many blocks there are at first, at least, at most.
        nodes_per_block: how many nodes one block has.
        parallelism: how many of the open tasks shall have a slot of their own, from 0 to 1.
        runs_here: its jobs run on this machine.
        walltime_s: how long a job may run; None: as long as it likes, or nobody knows.
        script_dir: where its scripts and outputs go; set by the executor that uses it.
    """

    init_blocks: int = 1
    min_blocks: int = 0
    max_blocks: int = 1
    nodes_per_block: int = 1
    parallelism: float = 1
    runs_here: bool = False
    walltime_s: float | None = None
    script_dir: str | None = None

    _cores_per_node: int | None = None
    _mem_per_node: float | None = None

    @abstractmethod
    def submit(self, command: str, tasks_per_node: int, job_name: str = "treadle.auto") -> object:
        """Start a job that runs the command; returns its id.

        Args:
            command: a line for a shell.
            tasks_per_node: how many copies of the command each node runs.
            job_name: a name for people.

        Raises:
            SubmitException, ExecutionProviderException: it cannot.
        """

    @abstractmethod
    def status(self, job_ids: Sequence[Any]) -> list[JobStatus]:
        """How these jobs are, in this order.

        Raises:
            ExecutionProviderException: that cannot be found out now.
        """

    @abstractmethod
    def cancel(self, job_ids: Sequence[Any]) -> list[bool]:
        """End these jobs; for each, whether the order was taken."""

    @property
    @abstractmethod
    def label(self) -> str:
        """A name for the kind of provider."""

    @property
    def status_polling_interval(self) -> float:
        """Seconds between two questions for the status; 0: it is never asked."""
        return 60

    @property
    def cores_per_node(self) -> int | None:
        """How many cores a node has, to size workers by; None: look there."""
        return self._cores_per_node

    @cores_per_node.setter
    def cores_per_node(self, value: int | None) -> None:
        self._cores_per_node = value

    @property
    def mem_per_node(self) -> float | None:
        """How many GB of memory a node has, to size workers by; None: look there."""
        return self._mem_per_node

    @mem_per_node.setter
    def mem_per_node(self, value: float | None) -> None:
        self._mem_per_node = value
