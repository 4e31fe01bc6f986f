"""Starts a node from the user's process, and knows how it ended.

A node is started by exec, in a session of its own, so that Ctrl-C in a terminal is the program's
affair alone. It inherits one end of a socket pair; when the other end closes, however the program
ended, the node ends too. What it is to be is in memory that it inherits: nothing of it is on its
command line or in its environment.
"""

from __future__ import annotations

import os
import signal
import site
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Final

import treadle
from treadle.cluster._settings import NodeSettings, to_json
from treadle.errors import ConfigurationError

#: What a node writes, in its log folder.
LOG_NAME: Final = "node.log"
#: How long a killed process may take to be gone.
_GONE_S: Final = 5.0


class NodeProcess:
    """A node that this process has started.

    `sock` is this process's end of the link; whoever adopts it closes it, and the node ends.
    """

    def __init__(self, process: subprocess.Popen[bytes], sock: socket.socket, log: Path) -> None:
        self.sock = sock
        self.log = log
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
        return tail_of(self.log, lines)


def spawn_node(settings: NodeSettings) -> NodeProcess:
    """Start a node. Takes some milliseconds: not for a loop's thread.

    Raises:
        ConfigurationError: this process cannot start another Python.
        OSError: there is no memory, or there are no descriptors, for one more process.
    """
    mine, theirs = socket.socketpair()
    try:
        log = Path(settings.scheduler.log_dir or settings.scheduler.run_dir) / LOG_NAME
        with theirs, _inheritable(to_json(settings)) as told:
            arguments = ["--settings-fd", str(told.fileno()), "--link-fd", str(theirs.fileno())]
            process = start_process(
                ["node", *arguments], log, keep=(told.fileno(), theirs.fileno())
            )
    except BaseException:
        mine.close()
        raise
    return NodeProcess(process, mine, log)


def start_process(
    arguments: list[str], log: Path, *, keep: tuple[int, ...] = ()
) -> subprocess.Popen[bytes]:
    """Start `python -m treadle ARGUMENTS`, in a session of its own; what it writes goes to the log.

    Args:
        keep: descriptors that it inherits.
    """
    with open(log, "ab", opener=_private) as output:
        return subprocess.Popen(
            [*python_command(), "-m", "treadle", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(),
            pass_fds=keep,
            start_new_session=True,
        )


def python_command() -> list[str]:
    """This Python, with the switches that change what code means.

    `-P`: what happens to lie in the working directory is none of the engine's modules.

    Raises:
        ConfigurationError: it is not known where it is.
    """
    if not sys.executable:
        raise ConfigurationError(
            "sys.executable is empty: this program embeds Python, and a cluster starts processes "
            "with it; set sys.executable to the path of a Python that has Treadle"
        )
    flags = sys.flags
    switches = [
        ("-P", True),
        ("-O", flags.optimize == 1),
        ("-OO", flags.optimize > 1),
        ("-B", bool(flags.dont_write_bytecode)),
        ("-s", bool(flags.no_user_site)),
        ("-E", bool(flags.ignore_environment)),
    ]
    return [sys.executable, *(switch for switch, wanted in switches if wanted)]


def environment() -> dict[str, str]:
    """This process's environment, with which another Python finds the same Treadle."""
    root = str(Path(treadle.__file__).resolve().parent.parent)
    path = os.environ.get("PYTHONPATH", "")
    known = [*path.split(os.pathsep), *site.getsitepackages(), site.getusersitepackages()]
    if root in known or sys.flags.ignore_environment:
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def tail_of(log: Path, lines: int = 20) -> str:
    """The last lines of a file, as far as it can be read; 8 KiB at most."""
    try:
        with open(log, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


def _inheritable(data: bytes) -> IO[bytes]:
    """A file without a name, with these bytes, to be read from its beginning."""
    if hasattr(os, "memfd_create"):
        file: IO[bytes] = os.fdopen(os.memfd_create("treadle-settings"), "w+b", buffering=0)
    else:
        file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
