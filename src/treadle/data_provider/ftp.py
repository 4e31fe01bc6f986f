"""Files on FTP servers, in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.data_provider._staging_base import Staging
from treadle.data_provider._transfer import InTask, SeparateTask, Transfer
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File


class _FTP(Staging, RepresentationMixin):
    schemes = ("ftp",)

    def __init__(self, *, timeout_s: float = 60) -> None:
        self.timeout_s = timeout_s

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is an ftp URL."""
        return file.scheme == "ftp"

    def can_stage_out(self, file: File) -> bool:
        """Return whether it is an ftp URL."""
        return file.scheme == "ftp"

    def _transfer(self, file: File) -> Transfer:
        # Heavy, and most programs never meet an FTP server.
        from treadle.data_provider._ftp_transfer import FTPTransfer  # noqa: PLC0415

        return FTPTransfer(self.timeout_s)


class FTPSeparateTaskStaging(_FTP, SeparateTask):
    """Moves ftp files by a task of its own for each.

    Args:
        timeout_s: how long the server may be silent.
        in_executor: run it on the executor of the task that uses the file, instead of here.
    """

    def __init__(self, *, timeout_s: float = 60, in_executor: bool = False) -> None:
        super().__init__(timeout_s=timeout_s)
        self.in_executor = in_executor


class FTPInTaskStaging(_FTP, InTask):
    """Moves ftp files at the start and at the end of the task that uses them.

    Args:
        timeout_s: how long the server may be silent.
    """
