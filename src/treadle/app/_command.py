"""One command line while it runs, and the ways to end it early.

`run` belongs to the thread that waits for the command. `end` may be called by any other: the
timer at the walltime, the kernel that cancels, the interpreter that exits. It asks politely and
returns; `run` sees to it that nothing of the command is left before it raises the reason.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from typing import BinaryIO

from treadle.app import _watcher
from treadle.app._processes import Process, family, is_alive, signal_group, signal_one
from treadle.app._timer import Alarm, call_later
from treadle.errors import AppException

#: How long a command may take to end by itself after SIGTERM, before SIGKILL.
GRACE_S = 2.0
#: How often we look whether what was told to end has ended.
_LOOK_S = 0.01


class Command:
    """A command line that runs in a session of its own."""

    def __init__(self) -> None:
        # Guards the three fields below; held while starting the process, never while waiting.
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        #: Why it is to end early. Set once.
        self._reason: BaseException | None = None
        #: The leader has ended, so its number is about to be free: no more signals from outside.
        self._over = False
        #: Who was there when it was told to end, and until when they may take.
        self._members: list[Process] = []
        self._patience_until = 0.0
        self._impatience: Alarm | None = None

    def run(
        self,
        line: str,
        *,
        stdout: BinaryIO | None,
        stderr: BinaryIO | None,
        limit_s: float | None = None,
        timeout: BaseException | None = None,
    ) -> int:
        """Run the command and return its exit code, negative for a signal.

        Args:
            line: what bash is to run.
            stdout: where its output goes; None for where ours goes.
            stderr: likewise.
            limit_s: how long it may run.
            timeout: what to raise when it runs longer.

        Raises:
            BaseException: the reason given to `end`, once all its processes are gone.
            OSError, ValueError: it cannot be started.
        """
        with self._lock:
            if self._reason is not None:
                raise self._reason
            process = self._process = _start(line, stdout, stderr)
            # Were we killed before the watcher knows it, it would never begin.
            _watcher.watcher.add(process.pid)
            _let_run(process)
        alarm = None
        try:
            if limit_s is not None and timeout is not None:
                reason = timeout
                alarm = call_later(limit_s, lambda: self.end(reason))
            _wait_for_exit(process)
        except BaseException as error:  # Ctrl-C where the command runs in the main thread
            self.end(error)
            raise
        finally:
            if alarm is not None:
                alarm.cancel()
            code = self._finish(process)
        if self._reason is not None:
            raise self._reason
        return code

    def end(self, reason: BaseException) -> bool:
        """Tell the command to end, and `run` to raise the reason; does not wait.

        Returns:
            Whether it was still time: False if the command is over or was told before.
        """
        with self._lock:
            if self._over or self._reason is not None:
                return False
            self._reason = reason
            if self._process is not None:
                self._patience_until = time.monotonic() + GRACE_S
                self._members = family(self._process.pid)
                self._signal(self._process.pid, signal.SIGTERM)
                # A command that was stopped must run to see that it is to end.
                self._signal(self._process.pid, signal.SIGCONT)
                try:
                    self._impatience = call_later(GRACE_S, self.kill)
                except RuntimeError:  # no thread can be started while the interpreter exits
                    pass
        return True

    def kill(self) -> None:
        """End it without asking; for one that was told to end and did not."""
        with self._lock:
            if self._process is not None and not self._over:
                self._signal(self._process.pid, signal.SIGKILL)

    def _finish(self, process: subprocess.Popen[bytes]) -> int:
        with self._lock:
            told = self._reason is not None
        if told:
            # The leader is not reaped until this is done, so its number stays ours.
            self._sweep(process.pid)
        _wait_for_exit(process)
        with self._lock:
            self._over = True
        if self._impatience is not None:
            self._impatience.cancel()
        _watcher.watcher.forget(process.pid)
        return process.wait()

    def _sweep(self, leader: int) -> None:
        """Wait for the command's other processes, then kill what is left."""
        _wait_until_gone(self._members, self._patience_until)
        with self._lock:
            self._members = list({*self._members, *family(leader)})
            self._signal(leader, signal.SIGKILL)
        # SIGKILL takes a moment; only a process in an uninterruptible call takes longer.
        _wait_until_gone(self._members, time.monotonic() + GRACE_S)

    def _signal(self, leader: int, number: signal.Signals) -> None:
        signal_group(leader, number)
        for member in self._members:
            signal_one(member, number)


#: Waits for a word from us and becomes the command, whose input is empty; without one it ends.
_GATE = 'read -r go && exec "$@" < /dev/null'


def _start(line: str, stdout: BinaryIO | None, stderr: BinaryIO | None) -> subprocess.Popen[bytes]:
    """Start a process that becomes the command when `_let_run` is called."""
    return subprocess.Popen(
        ["/bin/sh", "-c", _GATE, "sh", _bash(), "-c", line],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
        bufsize=0,
    )


def _let_run(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(b"\n")
    except OSError:  # it is dead already, and its exit code will tell
        pass
    finally:
        process.stdin.close()


def _bash() -> str:
    bash = "/bin/bash" if os.path.exists("/bin/bash") else shutil.which("bash")
    if bash is None:
        raise AppException("bash apps need bash, and there is none in /bin or on the PATH here")
    return bash


def _wait_for_exit(process: subprocess.Popen[bytes]) -> None:
    """Wait until the leader has ended, and leave it to be reaped."""
    if process.returncode is not None:
        return
    if hasattr(os, "waitid"):
        try:
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:  # the program ignores SIGCHLD: the system has reaped it
            pass
    else:
        process.wait()


def _wait_until_gone(members: list[Process], until: float) -> None:
    while any(is_alive(member) for member in members) and time.monotonic() < until:
        time.sleep(_LOOK_S)
