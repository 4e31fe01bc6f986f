"""Members of zip files, in and out: `zip:/path/archive.zip/member.txt`.

An archive is never changed in place: it is copied, the copy is added to and takes the name. So
whoever reads it sees a whole archive, and a crash leaves the old one. Adding n members one by one
copies the archive n times.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.data_provider._transfer import SeparateTask, Transfer
from treadle.errors import StagingError, ZipAuthorityError
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File

__all__ = ["ZipAuthorityError", "ZipFileStaging", "zip_path_split"]


class ZipFileStaging(SeparateTask, RepresentationMixin):
    """Moves members of local zip files by a task of its own for each.

    Tasks may add to one archive at the same time: a lock beside it (`.archive.zip.lock`) puts
    them in order. The local copy keeps the member's path, below the executor's `working_dir`.
    """

    schemes = ("zip",)

    def __init__(self) -> None:
        pass

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is a zip URL.

        Raises:
            ZipAuthorityError: the URL has a host.
        """
        return self._is_zip(file)

    def can_stage_out(self, file: File) -> bool:
        """Return whether it is a zip URL.

        Raises:
            ZipAuthorityError: the URL has a host.
        """
        return self._is_zip(file)

    def _is_zip(self, file: File) -> bool:
        if file.scheme != "zip":
            return False
        if file.netloc:
            raise ZipAuthorityError(file)
        return True

    def _transfer(self, file: File) -> Transfer:
        # Heavy: the compression libraries.
        from treadle.data_provider._zip_transfer import ZipTransfer  # noqa: PLC0415

        return ZipTransfer()

    def _name(self, file: File) -> str | None:
        return zip_path_split(file.path)[1]


def zip_path_split(path: str) -> tuple[str, str]:
    """Divide the path of a zip URL into that of the archive and that of the member.

    >>> zip_path_split("/data/a.zip/inside/b.txt")
    ('/data/a.zip', 'inside/b.txt')
    """
    parts = path.split("/")
    for i, part in enumerate(parts):
        member = "/".join(parts[i + 1 :])
        if part.endswith(".zip") and member:
            return "/".join(parts[: i + 1]), member
    raise StagingError(
        f"cannot tell the archive from the member in zip:{path}; it has to look like "
        "zip:/path/archive.zip/member.txt, with a name that ends in .zip"
    )
