"""A file appears under its name whole, or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Most file systems allow names of 255 bytes; the rest is for what is added here.
_NAME_BYTES = 200


def temporary_name(name: str) -> str:
    """Return a hidden name, used by nobody else, for a file that is to become `name`."""
    head = name.encode(errors="surrogateescape")[:_NAME_BYTES].decode(errors="ignore")
    return f".{head}.{os.urandom(4).hex()}.part"


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give a temporary path beside `path`; rename it when the block ends, remove it if it fails.

    The directory is made if there is none. A reader of `path` sees the old file or the new one.

    Raises:
        FileNotFoundError: the block ended without having written the file.
    """
    target = os.fspath(path)
    directory, name = os.path.split(target)
    if directory:
        os.makedirs(directory, exist_ok=True)
    temporary = os.path.join(directory, temporary_name(name))
    try:
        yield temporary
        os.replace(temporary, target)
    except BaseException:
        _remove(temporary)
        raise


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError):
            os.remove(path)
