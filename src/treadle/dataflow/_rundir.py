"""The directory of a run: `runinfo/000`, `runinfo/001`, ... one for each kernel."""

from __future__ import annotations

import os
import re

from treadle.errors import ConfigurationError

_NUMBER = re.compile(r"\d{3,}")

#: How often another process may be faster before something else is wrong.
_TRIES = 10_000


def make_run_directory(root: str) -> str:
    """Make the next numbered directory below `root`; safe with many kernels at once.

    Raises:
        ConfigurationError: it cannot be made.
    """
    try:
        # Not open to the group, whatever the umask: checkpoints of such a directory are refused.
        os.makedirs(root, mode=0o700, exist_ok=True)
        used = [int(name) for name in os.listdir(root) if _NUMBER.fullmatch(name)]
        number = max(used, default=-1) + 1
        for candidate in range(number, number + _TRIES):
            path = os.path.join(root, f"{candidate:03}")
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue  # another kernel was faster
            return os.path.abspath(path)
    except OSError as error:
        raise ConfigurationError(
            f"run_dir={root!r}: no directory for this run can be made there ({error}); give "
            f"Config(run_dir=...) a directory that you may write to"
        ) from error
    raise ConfigurationError(f"run_dir={root!r}: no free number from {number} on")
