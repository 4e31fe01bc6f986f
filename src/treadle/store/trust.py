"""Whom a checkpoint may be read from: only from ourselves.

A result is pickled, and whoever writes a pickle that we load runs code as us. So a key, a
segment, a blob and the directories that hold them must be ours and writable by nobody else. The
check of a file is made on its descriptor, not on its name, so it holds for the bytes then read.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from treadle.errors import BadCheckpoint

_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
# A pipe planted under a segment's name must not make us wait for its writer.
_READ |= getattr(os, "O_NONBLOCK", 0)


def check_trusted(path: str | os.PathLike[str]) -> None:
    """Accept a file or directory that is ours and that only we can write.

    Raises:
        BadCheckpoint: it is a link, someone else's, or writable by others; or it is not there.
    """
    try:
        found = os.lstat(path)
    except OSError as error:
        raise BadCheckpoint(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode):
        raise BadCheckpoint(_link(path))
    _check(found, path, secret=False)


def open_trusted(path: str | os.PathLike[str], *, secret: bool = False) -> int:
    """A descriptor to read a file of ours.

    Args:
        secret: nobody else may be able to read it either.

    Raises:
        BadCheckpoint: as for `check_trusted`, or it is not a regular file.
        FileNotFoundError: there is no such file.
    """
    try:
        fd = os.open(path, _READ)
    except FileNotFoundError:
        raise
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise BadCheckpoint(_link(path)) from error
        raise BadCheckpoint(f"{os.fspath(path)} cannot be read: {error.strerror}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise BadCheckpoint(f"{os.fspath(path)} is not a regular file; remove it")
        _check(found, path, secret=secret)
    except BaseException:
        os.close(fd)
        raise
    return fd


def make_directory(path: str | os.PathLike[str]) -> Path:
    """Make a directory that only we can use, whatever the umask; an existing one must be ours.

    Raises:
        BadCheckpoint: what is there cannot be trusted.
    """
    where = Path(path)
    if not where.parent.is_dir():
        make_directory(where.parent)
    try:
        where.mkdir(mode=0o700)
    except FileExistsError:
        if not where.is_dir():
            raise BadCheckpoint(f"{where} is not a directory; remove it") from None
    else:
        where.chmod(0o700)
    return where


def _check(found: os.stat_result, path: str | os.PathLike[str], *, secret: bool) -> None:
    name = os.fspath(path)
    me = os.geteuid()
    if found.st_uid != me:
        raise BadCheckpoint(
            f"{name} belongs to user {found.st_uid}, not to you (user {me}): loading it could run "
            f"their code; copy it if you trust it, or 'chown {me} {name}'"
        )
    if found.st_mode & 0o022:
        raise BadCheckpoint(
            f"{name} is writable by others (mode {stat.S_IMODE(found.st_mode):04o}): they could "
            f"plant a result that runs code when it is loaded; 'chmod go-w {name}' if nobody has"
        )
    if secret and found.st_mode & 0o044:
        raise BadCheckpoint(
            f"{name} can be read by others (mode {stat.S_IMODE(found.st_mode):04o}): with it they "
            f"can make records that look like yours; 'chmod 600 {name}' if nobody has read it"
        )


def _link(path: str | os.PathLike[str]) -> str:
    return (
        f"{os.fspath(path)} is a symbolic link, which is not followed: it may lead to a file of "
        f"another store; put the file itself there"
    )
