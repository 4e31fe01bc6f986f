"""A small process that ends the commands of a program that was killed.

A program that is killed (`kill -9`, out of memory, SIGTERM without a handler) cannot end its
commands, and one that is started again to resume would write the same files as what was left
over. So while commands run, a shell waits at the end of a pipe: the program tells it which
process groups are its own, and if the pipe ends it ends those that are still on its list.

There is one such shell for all commands. It goes soon after the last has ended.
"""

from __future__ import annotations

import os
import subprocess
import threading
from typing import IO

from treadle.app._timer import Alarm, call_later
from treadle.log import logger

#: How long the shell stays when no command runs: starting one costs a millisecond.
LINGER_S = 0.2

_SCRIPT = """
trap '' HUP INT TERM
groups=' '
while read -r what group; do
    case $what in
        +) groups="$groups$group " ;;
        -) groups="${groups%% $group *} ${groups#* $group }" ;;
    esac
done
for group in $groups; do kill -s TERM -- "-$group"; kill -s CONT -- "-$group"; done
[ "$groups" = ' ' ] || sleep 2
for group in $groups; do kill -s KILL -- "-$group"; done
"""


class Watcher:
    """Knows the process groups that must not outlive this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._groups: set[int] = set()
        self._shell: subprocess.Popen[bytes] | None = None
        self._idle: Alarm | None = None

    def add(self, group: int) -> None:
        """Put a process group on the list."""
        with self._lock:
            self._groups.add(group)
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
            if self._shell is None or not _tell(self._shell, f"+ {group}\n"):
                self._close()
                self._start()

    def forget(self, group: int) -> None:
        """Take a process group off the list; before its number can belong to another one."""
        with self._lock:
            self._groups.discard(group)
            if self._shell is not None:
                _tell(self._shell, f"- {group}\n")
                if not self._groups and self._idle is None:
                    self._idle = call_later(LINGER_S, self.close_if_idle)

    def close_if_idle(self) -> None:
        """Let the shell go, unless it has something to watch."""
        with self._lock:
            self._idle = None
            if not self._groups:
                self._close()

    def drop(self) -> None:
        """Close our end of the pipe, in a forked child whose parent goes on using its own."""
        if self._shell is not None:
            _pipe(self._shell).close()
            # The shell is the parent's to wait for.
            self._shell.returncode = 0

    def _start(self) -> None:
        try:
            self._shell = subprocess.Popen(
                ["/bin/sh", "-c", _SCRIPT],
                stdin=subprocess.PIPE,
                # It must not hold open what the program's reader waits for the end of.
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # Ctrl-C in the program's terminal is not for it.
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            logger("app").warning("commands will outlive this program if it is killed: %s", error)
            return
        _tell(self._shell, "".join(f"+ {group}\n" for group in self._groups))

    def _close(self) -> None:
        if self._shell is not None:
            _pipe(self._shell).close()
            # Its list is empty, or it is dead already: it ends at once.
            self._shell.wait()
            self._shell = None


def _pipe(shell: subprocess.Popen[bytes]) -> IO[bytes]:
    assert shell.stdin is not None
    return shell.stdin


def _tell(shell: subprocess.Popen[bytes], lines: str) -> bool:
    try:
        _pipe(shell).write(lines.encode())
    except OSError:  # somebody has killed it
        return False
    return True


watcher = Watcher()


def _forget_parent() -> None:
    """In a forked child: the shell watches the parent, and its pipe must end with the parent."""
    global watcher
    watcher.drop()
    watcher = Watcher()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
