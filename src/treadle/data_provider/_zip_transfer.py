"""How a member is read from and added to a zip file. Imported when first used."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from treadle.data_provider.atomic import atomic_path
from treadle.data_provider.zip import zip_path_split

if TYPE_CHECKING:
    from treadle.data_provider.files import File


@dataclass(frozen=True)
class ZipTransfer:
    """Checks the member's CRC when reading; replaces the archive whole when writing."""

    def fetch(self, file: File, target: str) -> None:
        """Extract the member to `target`."""
        archive, member = zip_path_split(file.path)
        with ZipFile(archive) as opened, opened.open(member) as source, open(target, "wb") as out:
            shutil.copyfileobj(source, out)

    def store(self, source: str, file: File) -> None:
        """Add the member, in the place of an older one of the same name."""
        archive, member = zip_path_split(file.path)
        with _locked(archive), atomic_path(archive) as temporary:
            if os.path.exists(archive):
                _copy_without(archive, member, temporary)
            with ZipFile(temporary, "a", ZIP_DEFLATED) as opened:
                opened.write(source, member)


@contextmanager
def _locked(archive: str) -> Iterator[None]:
    directory, name = os.path.split(archive)
    os.makedirs(directory or ".", exist_ok=True)
    # The lock is a file of its own and stays: the archive's name moves from file to file.
    with open(os.path.join(directory, f".{name}.lock"), "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy_without(archive: str, member: str, target: str) -> None:
    with ZipFile(archive) as old:
        if member not in old.namelist():
            shutil.copyfile(archive, target)
            shutil.copymode(archive, target)
            return
        with ZipFile(target, "w", ZIP_DEFLATED) as new:
            for info in old.infolist():
                if info.filename != member:
                    # A copy: writing sets sizes and checksum that reading still needs.
                    with old.open(info) as source, new.open(copy(info), "w") as out:
                        shutil.copyfileobj(source, out)
    shutil.copymode(archive, target)
