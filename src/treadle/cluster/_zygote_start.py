"""Starts a zygote, before its agent has imported what agents need: so both import side by side."""

from __future__ import annotations

import os
import socket
import subprocess
from typing import NamedTuple

from treadle.cluster._python import environment, python_command, thread_variables


class Launched(NamedTuple):
    """A zygote that waits for its first order, and the agent's end of its socket."""

    process: subprocess.Popen[bytes]
    control: socket.socket


def launch_zygote(threads: int, variables: dict[str, str], log_dir: str) -> Launched:
    """Start a zygote.

    Args:
        threads: how many a library may use in one slot.
        variables: of the environment of slots.
        log_dir: where it may complain; empty: nowhere.

    Raises:
        OSError: there is no memory, or there are no descriptors, for it; or no such folder.
    """
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    log = subprocess.DEVNULL
    try:
        if log_dir:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            log = os.open(os.path.join(log_dir, "zygote.log"), flags, 0o600)
        process = subprocess.Popen(
            [*python_command(), "-m", "treadle", "zygote", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**environment(), **thread_variables(threads), **variables},
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )
    except BaseException:
        control.close()
        raise
    finally:
        theirs.close()
        if log >= 0:
            os.close(log)
    return Launched(process, control)
