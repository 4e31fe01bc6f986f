"""The surroundings of a client's process, in which its tasks run."""

from __future__ import annotations

import os
import sys

from treadle.errors import ConfigurationError
from treadle.wire import World


def world_here() -> World:
    """The surroundings of this process.

    Raises:
        ConfigurationError: its working directory is gone.
    """
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        here = os.getcwd()
    except OSError as error:
        raise ConfigurationError(
            f"the working directory is gone ({error.strerror}), and tasks run in it; change to "
            f"another one"
        ) from error
    path = tuple(os.path.abspath(entry) for entry in sys.path if type(entry) is str)
    return World(path, here, _umask(), os.path.abspath(main) if main else "")


def _umask() -> int:
    # There is no call that only looks: setting it, even for a moment, is seen by other threads.
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:
            for line in status:
                if line.startswith("Umask:"):
                    return int(line.split()[1], 8)
    except OSError:
        pass
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
