"""Files of the submitting machine, by rsync, for workers that do not share its file system."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from treadle.data_provider._transfer import InTask, Transfer
from treadle.errors import StagingError
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File


@dataclass(frozen=True)
class RSyncTransfer:
    """Runs rsync where the task runs; rsync itself writes to another name and renames."""

    hostname: str
    command: tuple[str, ...]
    #: Where the file is on the host, absolute.
    remote_path: str

    def fetch(self, file: File, target: str) -> None:
        """Copy from the host."""
        self._run(self._remote, target)

    def store(self, source: str, file: File) -> None:
        """Copy to the host."""
        self._run(source, self._remote)

    @property
    def _remote(self) -> str:
        return f"{self.hostname}:{self.remote_path}" if self.hostname else self.remote_path

    def _run(self, source: str, target: str) -> None:
        # A name with a colon is a host for rsync, unless a slash comes first.
        here = [a if a == self._remote else os.path.abspath(a) for a in (source, target)]
        # -s: names with spaces reach the other side as they are.
        line = [*self.command, "-s", "--", *here]
        try:
            ended = subprocess.run(
                line, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError:
            raise StagingError(
                f"{line[0]} is not installed where the task runs; RSyncStaging needs it there "
                "and on the submitting machine"
            ) from None
        if ended.returncode:
            reason = ended.stderr.strip() or "it said nothing"
            raise StagingError(f"{' '.join(line)} ended with {ended.returncode}: {reason}")


class RSyncStaging(InTask, RepresentationMixin):
    """Copies `file:` files between the submitting machine and where the task runs.

    Args:
        hostname: what the workers call the submitting machine, as in `user@login1`; they must be
            able to log in to it without a password. Empty: the same machine.
        command: rsync with its options, as in `("rsync", "-e", "ssh -p 2222")`.
    """

    schemes = ("file",)

    def __init__(self, hostname: str, *, command: Sequence[str] = ("rsync",)) -> None:
        self.hostname = hostname
        self.command = tuple(command)

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is a path or a `file:` URL."""
        return file.scheme == "file"

    def can_stage_out(self, file: File) -> bool:
        """Return whether it is a path or a `file:` URL."""
        return file.scheme == "file"

    def _transfer(self, file: File) -> Transfer:
        # Made absolute here, on the submitting machine: elsewhere it would mean something else.
        return RSyncTransfer(self.hostname, self.command, os.path.abspath(file.path))
