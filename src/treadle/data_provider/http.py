"""Files from web servers. They can only be brought in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.data_provider._staging_base import Staging
from treadle.data_provider._transfer import InTask, SeparateTask, Transfer
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File


class _HTTP(Staging, RepresentationMixin):
    schemes = ("http", "https")

    def __init__(self, *, timeout_s: float = 60) -> None:
        self.timeout_s = timeout_s

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is an http(s) URL."""
        return file.scheme in self.schemes

    def _transfer(self, file: File) -> Transfer:
        # Heavy, and most programs never read from a web server.
        from treadle.data_provider._http_transfer import HTTPTransfer  # noqa: PLC0415

        return HTTPTransfer(self.timeout_s)


class HTTPSeparateTaskStaging(_HTTP, SeparateTask):
    """Brings http and https files in, by a task of its own for each.

    Args:
        timeout_s: how long the server may be silent.
        in_executor: run it on the executor of the task that uses the file, instead of here.
    """

    def __init__(self, *, timeout_s: float = 60, in_executor: bool = False) -> None:
        super().__init__(timeout_s=timeout_s)
        self.in_executor = in_executor


class HTTPInTaskStaging(_HTTP, InTask):
    """Brings http and https files in at the start of the task that uses them.

    Args:
        timeout_s: how long the server may be silent.
    """
