"""How a file is read and written by fsspec. Imported when first used."""

from __future__ import annotations

import os
import posixpath
import threading
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fsspec import get_filesystem_class
from fsspec.core import url_to_fs

from treadle.data_provider.atomic import temporary_name
from treadle.data_provider.fsspec import missing_for

if TYPE_CHECKING:
    from treadle.data_provider.files import File

#: Stores in which an object appears when its upload is complete, and not before.
_WHOLE_OR_NOT = frozenset({"abfs", "abfss", "az", "gcs", "gs", "s3", "s3a"})


#: All who read a file of fsspec's memory share one handle, and so its position.
_memory = threading.Lock()


@dataclass(frozen=True)
class FsspecTransfer:
    """Moves files by whichever file system fsspec has for the scheme."""

    #: Scheme to what its file system takes. Not in the repr: there are passwords among them.
    storage_options: Mapping[str, Mapping[str, Any]] = field(repr=False)

    def fetch(self, file: File, target: str) -> None:
        """Read to `target`; a size other than the one listed is an error."""
        fs, path = self._open(file)
        expected = fs.info(path).get("size")
        with _memory if fs.protocol == "memory" else nullcontext():
            fs.get_file(path, target)
        received = os.path.getsize(target)
        if expected is not None and received != expected:
            raise ConnectionError(f"{received} of {expected} bytes arrived")

    def store(self, source: str, file: File) -> None:
        """Upload at once where that is whole or not at all, else to another name and move."""
        fs, path = self._open(file)
        if file.scheme in _WHOLE_OR_NOT:
            fs.put_file(source, path)
            return
        directory, name = posixpath.split(path)
        temporary = posixpath.join(directory, temporary_name(name))
        if directory.strip("/"):
            fs.makedirs(directory, exist_ok=True)
        try:
            fs.put_file(source, temporary)
            _move(fs, temporary, path)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(temporary)
            raise

    def _open(self, file: File) -> tuple[Any, str]:
        try:
            kind = get_filesystem_class(file.scheme)
        except ImportError as error:
            raise missing_for(file.scheme) from error
        options = dict(self.storage_options.get(file.scheme, {}))
        if not kind.async_impl:
            # Transfers run at the same time, and most of these have one connection each.
            options["skip_instance_cache"] = True
        fs, path = url_to_fs(file.url, **options)
        # File systems list a directory once and keep it; another process may have written since.
        fs.invalidate_cache()
        return fs, path


def _move(fs: Any, old: str, new: str) -> None:
    try:
        fs.mv(old, new)
    except (OSError, ValueError):
        # Some servers do not rename over a file that exists.
        if not (fs.exists(old) and fs.exists(new)):
            raise
        fs.rm_file(new)
        fs.mv(old, new)
