"""Errors of clusters: processes that are gone, results that are lost, blocks that do not start."""

from __future__ import annotations

from treadle.errors._tree import BadStateException, ExecutorError, TreadleError

#: The signals that end processes, by number, as on Linux.
_SIGNALS = {
    1: "SIGHUP",
    2: "SIGINT",
    3: "SIGQUIT",
    4: "SIGILL",
    6: "SIGABRT",
    7: "SIGBUS",
    8: "SIGFPE",
    9: "SIGKILL",
    11: "SIGSEGV",
    13: "SIGPIPE",
    14: "SIGALRM",
    15: "SIGTERM",
    24: "SIGXCPU",
    25: "SIGXFSZ",
    31: "SIGSYS",
}


def describe_exit(exit_code: int) -> str:
    """How a process ended, in words: 'was killed by SIGKILL', 'exited with code 3'."""
    if exit_code < 0:
        return f"was killed by {_SIGNALS.get(-exit_code, f'signal {-exit_code}')}"
    return f"exited with code {exit_code}"


class SchedulerLost(TreadleError):
    """The scheduler's process has ended, or cannot be reached: what was not kept is gone.

    Attributes:
        exit_code: how it ended, negative for a signal's number; None if that is not known.
        log_tail: the last lines that it wrote.
    """

    def __init__(self, reason: str, exit_code: int | None = None, log_tail: str = ""):
        super().__init__(reason, exit_code, log_tail)
        self.reason = reason
        self.exit_code = exit_code
        self.log_tail = log_tail

    def __str__(self) -> str:
        ended = "" if self.exit_code is None else f" ({describe_exit(self.exit_code)})"
        tail = f"\nIts last words:\n{self.log_tail}" if self.log_tail else ""
        return f"{self.reason}{ended}{tail}"


class TaskDied(TreadleError):
    """The process that ran the task ended before the task did, as often as it may.

    Attributes:
        exit_code: of the last process; negative for a signal's number.
    """

    def __init__(self, task: str, exit_code: int | None = None, text: str = ""):
        super().__init__(task, exit_code, text)
        self.task = task
        self.exit_code = exit_code
        self.text = text

    def __str__(self) -> str:
        if self.text:
            return self.text
        how = "died" if self.exit_code is None else describe_exit(self.exit_code)
        return f"the process that ran {self.task} {how}"


class TaskMemoryExceeded(TreadleError, MemoryError):
    """The task took more memory than it may, or asks for more than any worker has."""


class ResultLost(TreadleError):
    """A result was there, every copy of it is gone, and it cannot be computed again."""


class StoreDamaged(TreadleError):
    """An object of a worker's store is not what was put into it: that copy of it is gone."""


class TaskUnfit(TreadleError):
    """No worker can ever run the task; the text says what it asks for and what there is."""


class HandshakeRefused(TreadleError):
    """Another process does not take this one for a peer; the text has its reason."""


class TooManyJobFailuresError(BadStateException):
    """Blocks end as soon as they start; the text has the end of what they wrote.

    Args:
        executor: the executor, or its label.
        reason: what became of its blocks.
    """

    def __init__(self, executor: object, reason: str):
        ExecutorError.__init__(self, getattr(executor, "label", executor), reason)


# --- providers of blocks -------------------------------------------------------------------------


class ExecutionProviderException(TreadleError):
    """A provider could not do what it was asked to do."""


class ScaleOutFailed(ExecutionProviderException):
    """A provider could not start a block."""


class SchedulerMissingArgs(ExecutionProviderException):
    """A provider needs an option that was not given."""


class ScriptPathError(ExecutionProviderException):
    """The script of a block cannot be written."""


class SubmitException(ExecutionProviderException):
    """A batch system does not take a job.

    Attributes:
        job_name, stdout, stderr, retcode: what was submitted, and what came back.
    """

    def __init__(
        self,
        job_name: str,
        message: str,
        stdout: str | None = None,
        stderr: str | None = None,
        retcode: int | None = None,
    ):
        super().__init__(job_name, message, stdout, stderr, retcode)
        self.job_name = job_name
        self.message = message
        self.stdout = stdout
        self.stderr = stderr
        self.retcode = retcode

    def __str__(self) -> str:
        text = f"cannot submit job {self.job_name}: {self.message}"
        if self.retcode is not None:
            text += f" (exit code {self.retcode})"
        return "\n".join(part for part in (text, self.stdout, self.stderr) if part)


class BadLauncher(ExecutionProviderException, TypeError):
    """What a provider was given as its launcher is none."""


class NoClientError(TreadleError):
    """There is no client that could be meant."""


class KeyConflict(TreadleError, ValueError):
    """A key is known for other work: it would have given that work's result."""


class ActorLost(TreadleError):
    """The process of an actor is gone, and its state with it."""


class LeaseLost(TreadleError):
    """A lock or a place of a semaphore is not held (any longer): its holder was given up for lost."""


class Reschedule(Exception):
    """Raise it in a task to have it run again, elsewhere if that is possible; it spends no retry."""
