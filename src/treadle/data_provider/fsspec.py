"""Files wherever fsspec can open them: s3, gs, sftp, memory and many more. Extra: `files`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from treadle.data_provider._staging_base import Staging
from treadle.data_provider._transfer import InTask, SeparateTask, Transfer
from treadle.errors import OptionalModuleMissing

if TYPE_CHECKING:
    from treadle.data_provider.files import File

#: Not for fsspec: local files need no moving, and these have providers of their own.
_NOT_OURS = frozenset({"file", "local", "globus", "zip"})
#: The extra that brings what a scheme needs, and the packages.
_EXTRAS = {
    "s3": ("s3", "s3fs"),
    "s3a": ("s3", "s3fs"),
    "gs": ("gcs", "gcsfs"),
    "gcs": ("gcs", "gcsfs"),
    "sftp": ("sftp", "paramiko"),
    "ssh": ("sftp", "paramiko"),
}


def fsspec_installed() -> bool:
    """Return whether fsspec can be imported, without importing it."""
    return find_spec("fsspec") is not None


def missing_for(scheme: str) -> OptionalModuleMissing:
    """Return the error that says what to install for files of a scheme."""
    extra, package = _EXTRAS.get(scheme, (None, None))
    packages = ["fsspec"] if package is None else ["fsspec", package]
    return OptionalModuleMissing(packages, f"staging {scheme}: files", extra=extra or "files")


class _Fsspec(Staging):
    def __init__(
        self,
        *,
        schemes: tuple[str, ...] = (),
        storage_options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        if not fsspec_installed():
            raise missing_for(schemes[0] if schemes else "fsspec")
        self.schemes = tuple(schemes)
        self.storage_options = {k: dict(v) for k, v in (storage_options or {}).items()}

    def can_stage_in(self, file: File) -> bool:
        """Return whether fsspec knows the scheme."""
        return self._takes(file.scheme)

    def can_stage_out(self, file: File) -> bool:
        """Return whether fsspec knows the scheme; some can only be read, and say so then."""
        return self._takes(file.scheme)

    def _takes(self, scheme: str) -> bool:
        if scheme in _NOT_OURS:
            return False
        if self.schemes:
            return scheme in self.schemes
        # Heavy, and not needed for local files.
        from fsspec import available_protocols  # noqa: PLC0415

        return scheme in available_protocols()

    def _transfer(self, file: File) -> Transfer:
        # Heavy, as above.
        from treadle.data_provider._fsspec_transfer import FsspecTransfer  # noqa: PLC0415

        return FsspecTransfer(self.storage_options)

    def __repr__(self) -> str:
        # The options are often secrets, so only their names are shown.
        options = dict.fromkeys(self.storage_options, "...")
        return f"{type(self).__name__}(schemes={self.schemes!r}, storage_options={options!r})"


class FsspecStaging(_Fsspec, SeparateTask):
    """Moves files that fsspec can open, by a task of its own for each.

    Args:
        schemes: only these; all that fsspec knows if empty.
        storage_options: for each scheme what its file system takes, as in
            `{"s3": {"endpoint_url": "http://localhost:9000"}}`.
        in_executor: run it on the executor of the task that uses the file, instead of here.

    Raises:
        OptionalModuleMissing: fsspec is not installed.
    """

    def __init__(
        self,
        *,
        schemes: tuple[str, ...] = (),
        storage_options: Mapping[str, Mapping[str, Any]] | None = None,
        in_executor: bool = False,
    ) -> None:
        super().__init__(schemes=schemes, storage_options=storage_options)
        self.in_executor = in_executor


class FsspecInTaskStaging(_Fsspec, InTask):
    """Moves files that fsspec can open, inside the task that uses them.

    Args:
        schemes: only these; all that fsspec knows if empty.
        storage_options: for each scheme what its file system takes.

    Raises:
        OptionalModuleMissing: fsspec is not installed.
    """
