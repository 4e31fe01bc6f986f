"""The states of a block's job. The numbers are the interface's: programs and tables hold them."""

from __future__ import annotations

from enum import IntEnum


class JobState(IntEnum):
    """Where a job is, as its provider sees it."""

    #: The provider cannot tell; what was known before still counts.
    UNKNOWN = 0
    PENDING = 1
    RUNNING = 2
    CANCELLED = 3
    COMPLETED = 4
    FAILED = 5
    #: Its walltime was over.
    TIMEOUT = 6
    #: The batch system holds it back.
    HELD = 7
    #: It ended, and none of its workers was ever heard of; or nobody knows it.
    MISSING = 8
    #: We ended it, because it was no longer needed.
    SCALED_IN = 9

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self in TERMINAL_STATES


#: A job in one of these has ended.
TERMINAL_STATES = frozenset(
    {
        JobState.CANCELLED,
        JobState.COMPLETED,
        JobState.FAILED,
        JobState.TIMEOUT,
        JobState.MISSING,
        JobState.SCALED_IN,
    }
)
