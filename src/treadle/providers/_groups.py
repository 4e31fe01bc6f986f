"""Processes of this machine that are started, looked at and ended by groups.

A group leads a session of its own, so that Ctrl-C at the program's terminal does not strike it. It
has ended when its first process has. Who ends it makes sure that nothing of it is left: the first
process is not reaped before that, so its number cannot stand for another process's.

A small shell, the guard, ends all groups if this program ends without doing so, even by SIGKILL: it
reads from a pipe whose other end only this program holds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import weakref
from collections.abc import Callable

#: What is left of groups this long after the guard told them to end is killed.
_GUARD_GRACE_S = 10
#: How long a process may take to vanish after SIGKILL.
_REAP_S = 2.0

_GUARD = f"""
trap '' TERM INT HUP
groups=' '
while read -r what group; do
    case $what in
    +) groups="$groups$group " ;;
    -) groups="${{groups%% $group *}} ${{groups#* $group }}" ;;
    esac
done
for group in $groups; do kill -TERM "-$group" 2>/dev/null; done
turns=0
while [ "$turns" -lt {10 * _GUARD_GRACE_S} ]; do
    left=
    for group in $groups; do kill -0 "-$group" 2>/dev/null && left=1; done
    [ -z "$left" ] && break
    sleep 0.1
    turns=$((turns + 1))
done
for group in $groups; do kill -KILL "-$group" 2>/dev/null; done
exit 0
"""


class Group:
    """A process that leads a group, and its descendants as far as they have stayed in it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid
        #: How its first process ended, negative for a signal's number; None: it runs.
        self.exit_code: int | None = None

    def has_ended(self) -> bool:
        """Whether its first process has ended; what is left of the group is killed then."""
        if self.exit_code is None and self._leader_has_ended():
            self._kill_and_reap()
        return self.exit_code is not None

    def terminate(self) -> None:
        """Tell all of it to end."""
        if self.exit_code is None:
            _signal_group(self.pid, signal.SIGTERM)

    def is_empty(self) -> bool:
        """Whether no process of it is alive; never true while its first process runs."""
        if self.exit_code is not None:
            return True
        return self._leader_has_ended() and not _members(self.pid)

    def kill(self) -> None:
        """End all of it at once, and see it end."""
        if self.exit_code is None:
            self._kill_and_reap()

    def _kill_and_reap(self) -> None:
        _signal_group(self.pid, signal.SIGKILL)
        try:
            self.exit_code = self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return  # it hangs in the kernel, such as on a dead file system: asked again later

    def _leader_has_ended(self) -> bool:
        if not hasattr(os, "waitid"):  # macOS before Python 3.13
            return self._process.poll() is not None
        try:
            kind = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, kind) is not None
        except ChildProcessError:  # somebody else in this program reaped it
            return True


def _signal_group(pid: int, number: int) -> None:
    try:
        os.killpg(pid, number)
    except (ProcessLookupError, PermissionError):
        return  # it is gone; macOS answers so for one that is not reaped yet


def _members(group: int) -> list[int]:
    """The processes of a group that are alive."""
    import psutil  # noqa: PLC0415 - only where something is ended

    found = []
    for pid in psutil.pids():
        try:
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
        except (OSError, psutil.Error):
            continue  # it ended while we looked
    return found


class Guard:
    """The shell that ends groups if this program does not."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._groups: set[int] = set()
        _guards.add(self)

    def start(self, start_group: Callable[[], subprocess.Popen[bytes]]) -> Group:
        """Start a group and look after it."""
        with self._lock:
            self._start()
            try:
                process = start_group()
            except BaseException:
                self._stop_if_idle()
                raise
            self._groups.add(process.pid)
            self._tell("+", process.pid)
        return Group(process)

    def forget(self, group: Group) -> None:
        """The group has ended; with the last one the guard ends too."""
        with self._lock:
            if group.pid in self._groups:
                self._groups.discard(group.pid)
                self._tell("-", group.pid)
                self._stop_if_idle()

    def _start(self) -> None:
        if self._process is None:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _GUARD],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                cwd="/",
            )

    def _tell(self, what: str, group: int) -> None:
        if self._process is not None and self._process.stdin is not None:
            try:
                self._process.stdin.write(f"{what} {group}\n".encode())
                self._process.stdin.flush()
            except OSError:
                pass  # somebody has killed the guard: it is missed only if we are killed too

    def _stop_if_idle(self) -> None:
        if self._process is not None and not self._groups:
            process, self._process = self._process, None
            self._close(process)
            process.wait()

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        try:
            if process.stdin is not None:
                process.stdin.close()
        except OSError:
            pass

    def _after_fork(self) -> None:
        """In a forked child: let go of the pipe, or the guard would not see the parent's end."""
        self._lock = threading.Lock()
        if self._process is not None:
            self._close(self._process)
            self._process.returncode = 0  # the parent's child, not ours
            self._process = None
        self._groups = set()


_guards: weakref.WeakSet[Guard] = weakref.WeakSet()


def _let_go() -> None:
    for guard in list(_guards):
        guard._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
