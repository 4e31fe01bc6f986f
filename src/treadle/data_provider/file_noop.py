"""Files that are where the task runs already, on this machine or a shared file system."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.data_provider._staging_base import Staging
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File


class NoOpFileStaging(Staging, RepresentationMixin):
    """Leaves `file:` files where they are: the task opens them by their path."""

    schemes = ("file",)

    def __init__(self) -> None:
        pass

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is a path or a `file:` URL."""
        return file.scheme == "file"

    def can_stage_out(self, file: File) -> bool:
        """Return whether it is a path or a `file:` URL."""
        return file.scheme == "file"
