"""The store's secret: 32 random bytes in `<run root>/.key`, made once, for our eyes only.

It keys the checksum of every record: what was not written with it is never loaded.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from treadle.errors import BadCheckpoint
from treadle.store._layout import KEY_NAME, TEMPORARY_SUFFIX
from treadle.store._record import SECRET_SIZE
from treadle.store.disk import Disk, RealDisk, write_all
from treadle.store.trust import check_trusted, make_directory, open_trusted


def load_or_create_secret(run_root: str | os.PathLike[str]) -> bytes:
    """The secret of this run root; the first caller of any process makes it.

    Raises:
        BadCheckpoint: the run root or the key is not ours alone, or the key is damaged.
    """
    root = make_directory(run_root)
    check_trusted(root)
    path = root / KEY_NAME
    if not os.path.lexists(path):
        _create(path, RealDisk())
    return read_secret(root)


def read_secret(run_root: str | os.PathLike[str]) -> bytes:
    """The secret that a run root brings.

    Raises:
        BadCheckpoint: there is none, it is not ours alone, or it is damaged.
    """
    root = Path(run_root)
    check_trusted(root)
    path = root / KEY_NAME
    try:
        fd = open_trusted(path, secret=True)
    except FileNotFoundError:
        raise BadCheckpoint(
            f"{path} is missing: a checkpoint is <run root>/NNN/checkpoint, and the key that "
            f"proves its records is <run root>/{KEY_NAME}; copy both, in that shape"
        ) from None
    try:
        secret = os.read(fd, SECRET_SIZE + 1)
    finally:
        os.close(fd)
    if len(secret) != SECRET_SIZE:
        raise BadCheckpoint(
            f"{path} has {os.path.getsize(path)} bytes instead of {SECRET_SIZE}: restore it from "
            f"a copy, or remove it together with the checkpoints it protects"
        )
    return secret


def _create(path: Path, disk: Disk) -> None:
    """Make the key under another name, whole and synced, then give it its name if it is free.

    `link` fails where the name exists, so of many processes at once one wins and all read its
    key; `rename` would let the last one win, after others had written records with theirs.
    """
    temporary = f"{path}.{secrets.token_hex(8)}{TEMPORARY_SUFFIX}"
    fd = disk.create(temporary)
    try:
        try:
            write_all(disk, fd, secrets.token_bytes(SECRET_SIZE))
            disk.sync(fd)
        finally:
            disk.close(fd)
        _name(temporary, path)
        disk.sync_directory(str(path.parent))
    finally:
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(temporary)


def _name(temporary: str, path: Path) -> None:
    try:
        os.link(temporary, path)
    except FileExistsError:
        pass
    except OSError:
        # No hard links here. Two first starts in the same instant may now each have a key of
        # their own for a moment: the loser's records will not be believed, and run again.
        if not path.exists():
            os.replace(temporary, path)
