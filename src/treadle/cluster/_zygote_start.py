"""Starts a zygote, before its agent has imported what agents need: so both import side by side."""

from __future__ import annotations

import socket
import subprocess
from typing import Final, NamedTuple

from treadle.cluster._python import environment, python_command, thread_variables

_STDERR: Final = 2


class Launched(NamedTuple):
    """A zygote that waits for its first order, and the agent's end of its socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket


def launch_zygote(threads: int, variables: dict[str, str]) -> Launched:
    """Start a zygote. What it complains of goes where this process's complaints go.

    Args:
        threads: how many a library may use in one slot.
        variables: of the environment of slots.

    Raises:
        OSError: there is no memory, or there are no descriptors, for it.
    """
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        with theirs:
            process = subprocess.Popen(
                [*python_command(), "-m", "treadle", "zygote", str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=_STDERR,
                env={**environment(), **thread_variables(threads), **variables},
                pass_fds=(theirs.fileno(),),
                start_new_session=True,
            )
    except BaseException:
        control.close()
        raise
    return Launched(process, control)
