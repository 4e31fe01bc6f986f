"""Starts a node from the user's process, and knows how it ended.

A node is started by exec, in a session of its own, so that Ctrl-C in a terminal is the program's
affair alone. It inherits one end of a socket pair; when the other end closes, however the program
ended, the node ends too. What it is to be is in memory that it inherits: nothing of it is on its
command line or in its environment.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import IO, Final

from treadle.cluster._python import environment, python_command
from treadle.cluster._settings import NodeSettings, to_json

#: What a node writes, in its log folder.
LOG_NAME: Final = "node.log"
#: How long a killed process may take to be gone.
_GONE_S: Final = 5.0


class NodeProcess:
    """A node that this process has started.

    `sock` is this process's end of the link; whoever adopts it closes it, and the node ends.
    """

    def __init__(
        self, process: subprocess.Popen[bytes], sock: socket.socket, log: IO[bytes]
    ) -> None:
        self.sock = sock
        self._log = log
        self._process = process

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit code, negative for a signal's number; None while it runs."""
        return self._process.poll()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait until it has ended; its exit code, or None if it has not by then."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """End it at once, if it runs. All that it has started ends with it."""
        self._process.kill()

    def terminate(self) -> None:
        """Ask it to end when what runs has ended."""
        self._process.send_signal(signal.SIGTERM)

    def end(self, timeout_s: float) -> int | None:
        """Wait for its end, and kill it if it takes too long; its exit code."""
        code = self.wait(timeout_s)
        if code is None:
            self.kill()
            code = self.wait(_GONE_S)
        return code

    def log_tail(self, lines: int = 20) -> str:
        """The last lines that it wrote."""
        return tail_of(self._log, lines)

    def close(self) -> None:
        """Let go of its log and of `sock`."""
        self._log.close()
        self.sock.close()


def spawn_node(settings: NodeSettings) -> NodeProcess:
    """Start a node. Takes some milliseconds: not for a loop's thread.

    Raises:
        ConfigurationError: this process cannot start another Python.
        OSError: its log cannot be written, or there is no memory, or there are no descriptors, for
            one more process.
    """
    log = open_log(settings.scheduler.log_dir or settings.scheduler.run_dir)
    mine, theirs = socket.socketpair()
    try:
        with theirs, _inheritable(to_json(settings)) as told:
            descriptors = (told.fileno(), theirs.fileno())
            arguments = ["--settings-fd", str(descriptors[0]), "--link-fd", str(descriptors[1])]
            process = start_process(["node", *arguments], log, keep=descriptors)
    except BaseException:
        mine.close()
        log.close()
        raise
    return NodeProcess(process, mine, log)


def open_log(folder: str) -> IO[bytes]:
    """What a node writes to: a file in this folder, or one without a name if there is none."""
    if not folder:
        return _nameless("treadle-log")
    return open(Path(folder) / LOG_NAME, "a+b", buffering=0, opener=_private)


def start_process(
    arguments: list[str], log: IO[bytes], *, keep: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start `python -m treadle ARGUMENTS`, in a session of its own; what it writes goes to the log.

    Args:
        keep: descriptors that it inherits.
    """
    return subprocess.Popen(
        [*python_command(), "-m", "treadle", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env=environment(),
        pass_fds=keep,
        start_new_session=True,
    )


def tail_of(log: IO[bytes], lines: int = 20) -> str:
    """The last lines of a file, as far as it can be read; 8 KiB at most."""
    try:
        size = os.fstat(log.fileno()).st_size
        data = os.pread(log.fileno(), 8192, max(0, size - 8192))
    except (OSError, ValueError):
        return ""
    return "\n".join(data.decode("utf-8", "replace").splitlines()[-lines:])


def _inheritable(data: bytes) -> IO[bytes]:
    """A file without a name, with these bytes, to be read from its beginning."""
    file = _nameless("treadle-settings")
    file.write(data)
    file.seek(0)
    return file


def _nameless(name: str) -> IO[bytes]:
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create(name), "w+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
