"""Disks that misbehave on request, and one that knows what a power cut would leave."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from treadle.store.disk import RealDisk

#: Told the name of a call and how many calls came before; an error number makes it fail.
Plan = Callable[[str, int], int | None]


class FaultDisk(RealDisk):
    """A real disk whose calls fail as planned.

    Attributes:
        calls: names of the calls so far.
        write_limit: bytes that one write takes at most.
    """

    def __init__(self, plan: Plan | None = None, *, write_limit: int | None = None) -> None:
        self.calls: list[str] = []
        self.writes: list[int] = []
        self.plan = plan
        self.write_limit = write_limit

    def _call(self, name: str) -> None:
        number = len(self.calls)
        self.calls.append(name)
        code = self.plan(name, number) if self.plan else None
        if code is not None:
            raise OSError(code, os.strerror(code))

    def create(self, path: str) -> int:
        self._call("create")
        return super().create(path)

    def write(self, fd: int, data: bytes) -> int:
        try:
            self._call("write")
        except OSError:
            super().write(fd, data[: len(data) // 2])  # an error may come after a part
            raise
        taken = super().write(fd, data[: self.write_limit])
        self.writes.append(taken)
        return taken

    def sync(self, fd: int) -> None:
        self._call("sync")

    def close(self, fd: int) -> None:
        self.calls.append("close")
        super().close(fd)

    def rename(self, source: str, target: str) -> None:
        self._call("rename")
        super().rename(source, target)

    def unlink(self, path: str) -> None:
        self._call("unlink")
        super().unlink(path)

    def sync_directory(self, directory: str) -> None:
        self._call("sync_directory")

    def reserve(self, path: str, size_bytes: int) -> int:
        self._call("reserve")
        return super().reserve(path, 1)


class SmallDisk(FaultDisk):
    """A disk with a number of free bytes; its reserve really takes and gives them."""

    def __init__(self, free: int) -> None:
        super().__init__()
        self.free = free
        self._reserved: dict[int, int] = {}

    def write(self, fd: int, data: bytes) -> int:
        if self.free <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = super().write(fd, data[: self.free])
        self.free -= taken
        return taken

    def reserve(self, path: str, size_bytes: int) -> int:
        if self.free < size_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fd = super().reserve(path, size_bytes)
        self.free -= size_bytes
        self._reserved[fd] = size_bytes
        return fd

    def unlink(self, path: str) -> None:
        self.free += os.path.getsize(path)
        super().unlink(path)

    def close(self, fd: int) -> None:
        super().close(fd)
        self.free += self._reserved.pop(fd, 0)


@dataclass
class _Inode:
    data: bytearray = field(default_factory=bytearray)
    synced: int = 0


@dataclass
class _Link:
    path: str
    inode: _Inode | None
    removes: str | None = None


class PowerDisk(RealDisk):
    """A real disk that remembers what was synced; `power_cut` writes out what would be left."""

    def __init__(self) -> None:
        self._names: dict[str, _Inode] = {}
        self._durable: dict[str, _Inode] = {}
        self._unsynced: list[_Link] = []
        self._open: dict[int, _Inode] = {}

    def adopt(self, directory: Path) -> None:
        """Take the files that are there as synced."""
        for path in directory.iterdir():
            data = bytearray(path.read_bytes())
            self._names[str(path)] = self._durable[str(path)] = _Inode(data, len(data))

    def create(self, path: str) -> int:
        fd = super().create(path)
        self._open[fd] = self._names[path] = _Inode()
        self._unsynced.append(_Link(path, self._names[path]))
        return fd

    def write(self, fd: int, data: bytes) -> int:
        taken = super().write(fd, data)
        self._open[fd].data += data[:taken]
        return taken

    def sync(self, fd: int) -> None:
        self._open[fd].synced = len(self._open[fd].data)

    def close(self, fd: int) -> None:
        super().close(fd)
        self._open.pop(fd, None)

    def rename(self, source: str, target: str) -> None:
        super().rename(source, target)
        self._names[target] = self._names.pop(source)
        self._unsynced.append(_Link(target, self._names[target], removes=source))

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self._names.pop(path, None)
        self._unsynced.append(_Link(path, None))

    def sync_directory(self, directory: str) -> None:
        self._durable = dict(self._names)
        self._unsynced.clear()

    def power_cut(self, target: Path, rng: random.Random) -> None:
        """Write to `target` one of the states in which the disk may come back."""
        left = dict(self._durable)
        for link in self._unsynced:
            if rng.random() < 0.5:
                continue
            if link.inode is None:
                left.pop(link.path, None)
            else:
                left[link.path] = link.inode
            if link.removes is not None:
                left.pop(link.removes, None)
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path, inode in left.items():
            file = target / Path(path).name
            file.write_bytes(_surviving(inode, rng))
            file.chmod(0o600)


def _surviving(inode: _Inode, rng: random.Random) -> bytes:
    """The synced bytes, and of the others none, some from the front, or some sectors."""
    synced, rest = bytes(inode.data[: inode.synced]), bytearray(inode.data[inode.synced :])
    how = rng.randrange(3)
    if how == 0 or not rest:
        return synced
    if how == 1:
        return synced + rest[: rng.randrange(len(rest) + 1)]
    for start in range(0, len(rest), 512):
        if rng.random() < 0.5:
            sector = len(rest[start : start + 512])
            rest[start : start + 512] = (
                bytes(sector) if rng.random() < 0.5 else rng.randbytes(sector)
            )
    return synced + bytes(rest)
