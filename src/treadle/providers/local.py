"""Blocks on this machine: a process each, with all that it starts."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle.errors import ScriptPathError, SubmitException, describe_exit
from treadle.launchers import SingleNodeLauncher
from treadle.providers._groups import Group, Guard
from treadle.providers._options import check_provider
from treadle.providers.provider_base import ExecutionProvider, JobState, JobStatus
from treadle.repr import RepresentationMixin
from treadle.runtime.threads import start_daemon

if TYPE_CHECKING:
    from treadle.launchers import Launcher

#: What was told to end has this long to do so, if `cmd_timeout` is not shorter.
_GRACE_S = 5.0
#: `cancel` waits this long for those that end at once.
_AT_ONCE_S = 0.2

#: Jobs that have ended and that are still remembered.
_MOST_ENDED = 1000


class LocalProvider(ExecutionProvider, RepresentationMixin):
    """Runs blocks as processes of this machine.

    They end with the program, however it ends. A block that is cancelled is told so by SIGTERM, and
    killed five seconds later.

    Args:
        nodes_per_block: the command is started as often as if there were so many nodes.
        launcher: how the command is started.
        init_blocks, min_blocks, max_blocks: how many blocks there are at first, at least, at most.
        worker_init: lines for bash that come before the command.
        cmd_timeout: seconds that a block may take to end, five at most.
        parallelism: how many of the open tasks shall have a slot of their own, from 0 to 1.

    Raises:
        ConfigurationError: names every option that cannot be.
        BadLauncher: the launcher is none.
    """

    runs_here = True

    def __init__(
        self,
        nodes_per_block: int = 1,
        launcher: Launcher | None = None,
        init_blocks: int = 1,
        min_blocks: int = 0,
        max_blocks: int = 1,
        worker_init: str = "",
        cmd_timeout: float = 30,
        parallelism: float = 1,
    ) -> None:
        self.nodes_per_block = nodes_per_block
        self.launcher: Launcher = SingleNodeLauncher() if launcher is None else launcher
        self.init_blocks = init_blocks
        self.min_blocks = min_blocks
        self.max_blocks = max_blocks
        self.worker_init = worker_init
        self.cmd_timeout = cmd_timeout
        self.parallelism = parallelism
        self.script_dir = None
        check_provider(self)
        self._guard = Guard()
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}

    @property
    def label(self) -> str:
        """'local'."""
        return "local"

    @property
    def status_polling_interval(self) -> float:
        """A fifth of a second: to ask costs a system call for each block."""
        return 0.2

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """What is known of each job, by its id."""
        with self._lock:
            return {
                job_id: {"job_id": job_id, "status": job.status(), "remote_pid": job.group.pid}
                for job_id, job in self._jobs.items()
            }

    def submit(self, command: str, tasks_per_node: int, job_name: str = "treadle.auto") -> str:
        """Start a process that runs the command; returns its number, as text.

        Raises:
            ScriptPathError: its script cannot be written.
            SubmitException: it cannot be started.
        """
        text = self.launcher(command, tasks_per_node, self.nodes_per_block)
        script = self._write_script(job_name, text)
        try:
            group = self._guard.start(partial(_start, script))
        except OSError as error:
            raise SubmitException(job_name, f"{script} cannot be started: {error}") from error
        job_id = str(group.pid)
        with self._lock:
            self._jobs[job_id] = _Job(group, script)
            self._forget_oldest()
        return job_id

    def status(self, job_ids: Sequence[Any]) -> list[JobStatus]:
        """How these jobs are; MISSING for those that were not started here."""
        found = []
        with self._lock:
            for job_id in job_ids:
                job = self._jobs.get(str(job_id))
                if job is None:
                    found.append(JobStatus(JobState.MISSING, "no such job was started here"))
                    continue
                if not job.cancelled and job.group.has_ended():
                    self._guard.forget(job.group)
                found.append(job.status())
        return found

    def cancel(self, job_ids: Sequence[Any]) -> list[bool]:
        """Tell these jobs with all their processes to end; False for those not started here.

        Those that do not end at once have not ended yet when it returns; they are killed in time.
        """
        with self._lock:
            jobs = [self._jobs.get(str(job_id)) for job_id in job_ids]
            told = [job for job in jobs if job is not None and not job.group.has_ended()]
            for job in told:
                job.group.terminate()
            fresh = [job for job in told if not job.cancelled]
            for job in fresh:
                job.cancelled = True
        grace_s = min(_GRACE_S, max(0.0, self.cmd_timeout))
        left = self._wait([job.group for job in fresh], min(_AT_ONCE_S, grace_s))
        if left:
            start_daemon("treadle-blocks", partial(self._see_to_the_end, left, grace_s))
        return [job is not None for job in jobs]

    def _see_to_the_end(self, groups: list[Group], grace_s: float) -> None:
        for group in self._wait(groups, grace_s):
            with self._lock:
                group.kill()
                self._guard.forget(group)

    def _wait(self, groups: list[Group], grace_s: float) -> list[Group]:
        """Wait until these groups are empty, and reap them; returns those that are not in time."""
        left = groups
        deadline = time.monotonic() + grace_s
        nap_s = 0.005
        while left:
            still = []
            for group in left:
                with self._lock:
                    if group.is_empty():
                        group.kill()  # it reaps the first process, too
                        self._guard.forget(group)
                    else:
                        still.append(group)
            left = still
            if not left or time.monotonic() >= deadline:
                break
            time.sleep(nap_s)
            nap_s = min(nap_s * 1.5, 0.1)
        return left

    def _write_script(self, job_name: str, text: str) -> str:
        if self.script_dir is None:
            self.script_dir = tempfile.mkdtemp(prefix="treadle-blocks-")
            weakref.finalize(self, shutil.rmtree, self.script_dir, ignore_errors=True)
        name = "".join(c if c.isalnum() or c in "._-" else "_" for c in job_name) or "block"
        lines = f"#!/bin/bash\nexport JOBNAME={shlex.quote(job_name)}\n{self.worker_init}\n{text}\n"
        try:
            folder = os.path.abspath(self.script_dir)
            os.makedirs(folder, exist_ok=True)
            number = 0
            while True:
                path = os.path.join(folder, f"{name}{f'.{number}' if number else ''}.sh")
                try:
                    with open(path, "x", encoding="utf-8") as file:
                        file.write(lines)
                    return path
                except FileExistsError:
                    number += 1
        except OSError as error:
            raise ScriptPathError(
                f"the script of {job_name} cannot be written below {self.script_dir}: {error}"
            ) from error

    def _forget_oldest(self) -> None:
        ended = [i for i, job in self._jobs.items() if job.group.exit_code is not None]
        for job_id in ended[: max(0, len(ended) - _MOST_ENDED)]:
            del self._jobs[job_id]


class _Job:
    """A group of processes, and the files it writes to."""

    def __init__(self, group: Group, script: str) -> None:
        self.group = group
        self.stdout = f"{script}.stdout"
        self.stderr = f"{script}.stderr"
        self.cancelled = False

    def status(self) -> JobStatus:
        """How it is, as far as is known."""
        code = self.group.exit_code
        message = None
        if code is None:
            state = JobState.RUNNING
        elif self.cancelled:
            state = JobState.CANCELLED
        elif code == 0:
            state = JobState.COMPLETED
        else:
            state, message = JobState.FAILED, f"its process {describe_exit(code)}"
        return JobStatus(state, message, code, self.stdout, self.stderr)


def _start(script: str) -> subprocess.Popen[bytes]:
    with open(f"{script}.stdout", "wb") as stdout, open(f"{script}.stderr", "wb") as stderr:
        return subprocess.Popen(
            ["/bin/bash", script],
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
