"""The writer's door to the file system: the few calls it makes, as a port.

Everything that writes goes through `Disk`, so that tests can say what a disk answers (full,
failing, short, or without power) without being root. More than five methods, since this is what
the log needs and each is one system call.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import Protocol

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
_CREATE |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)


class Disk(Protocol):
    """What the writer asks of a file system. Every method may raise OSError."""

    def create(self, path: str) -> int:
        """A descriptor that appends to a new private file; fails if the name exists."""

    def write(self, fd: int, data: bytes) -> int:
        """Append; the number of bytes taken, which may be less than all."""

    def sync(self, fd: int) -> None:
        """Return once all that was written to this file is on the disk."""

    def close(self, fd: int) -> None:
        """Give the descriptor back."""

    def rename(self, source: str, target: str) -> None:
        """Give a file another name, in one step, over a file of that name."""

    def unlink(self, path: str) -> None:
        """Remove a name."""

    def names(self, directory: str) -> list[str]:
        """The names in a directory."""

    def sync_directory(self, directory: str) -> None:
        """Return once the names in this directory are on the disk."""

    def reserve(self, path: str, size_bytes: int) -> int:
        """A descriptor that holds this much space, nameless, until it is closed."""


class RealDisk:
    """The disk of this machine."""

    def create(self, path: str) -> int:
        """A new private file, locked so that a compaction sees that it is being written."""
        fd = os.open(path, _CREATE, 0o600)
        try:
            os.fchmod(fd, 0o600)  # the umask may have taken bits away
            lock(fd)
        except BaseException:
            os.close(fd)
            raise
        return fd

    def write(self, fd: int, data: bytes) -> int:
        """One `write`."""
        return os.write(fd, data)

    def sync(self, fd: int) -> None:
        """`fdatasync`, or what the platform has that reaches the medium."""
        full = getattr(fcntl, "F_FULLFSYNC", None)
        if full is not None:  # pragma: no cover - macOS: fsync stops at the drive's cache there
            fcntl.fcntl(fd, full)
        else:
            getattr(os, "fdatasync", os.fsync)(fd)

    def close(self, fd: int) -> None:
        """`close`."""
        os.close(fd)

    def rename(self, source: str, target: str) -> None:
        """`rename`."""
        os.replace(source, target)

    def unlink(self, path: str) -> None:
        """`unlink`."""
        os.unlink(path)

    def names(self, directory: str) -> list[str]:
        """`readdir`."""
        return os.listdir(directory)

    def sync_directory(self, directory: str) -> None:
        """`fsync` of the directory, where the file system has such a thing."""
        fd = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(fd)
        except OSError as error:
            # Some network file systems answer so, and make names durable by themselves.
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):
                raise
        finally:
            os.close(fd)

    def reserve(self, path: str, size_bytes: int) -> int:
        """An unlinked file with its blocks allocated: freed even when this process is killed."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.unlink(path)
            os.posix_fallocate(fd, 0, size_bytes)
        except BaseException:
            os.close(fd)
            raise
        return fd


def lock(fd: int) -> bool:
    """Take the file's advisory lock without waiting; False if someone else has it.

    A courtesy, not a promise: where a file system has no locks, or false ones, the answer is
    True. Nothing but the refusal to compact a log in use depends on it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def write_all(disk: Disk, fd: int, data: bytes) -> None:
    """Append all of `data`, going on after a short write.

    Raises:
        OSError: the disk refused, or took nothing.
    """
    taken = disk.write(fd, data)
    while taken < len(data):
        more = disk.write(fd, data[taken:])
        if more <= 0:
            raise OSError(errno.EIO, f"the disk took {taken} of {len(data)} bytes and no more")
        taken += more


def close_quietly(disk: Disk, fd: int) -> None:
    """Close a descriptor that has already failed; what it says now adds nothing."""
    with contextlib.suppress(OSError):
        disk.close(fd)
