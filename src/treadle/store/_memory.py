"""Memory that processes share: what the system is asked for.

Memory is a memfd, which has no name and is gone with its last process; another process of the same
user opens it as `/proc/PID/fd/FD`. Its size is sealed, so that nobody who has mapped it is shot by
somebody who cuts it. Where there is no memfd it is a file in a private directory.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import stat
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from treadle.wire import Spot

PAGE_BYTES: Final = mmap.PAGESIZE
#: Objects up to this size share segments, and their readers copy them; larger ones are mapped.
PACKED_BYTES: Final = 1 << 20

HAS_MEMFD = hasattr(os, "memfd_create")
#: Most pieces that one call of the system writes.
_MOST_PIECES = 1024
#: Not in `fcntl`: maps that may be written to stay, new ones are refused.
_F_SEAL_FUTURE_WRITE = 0x10
#: FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE
_PUNCH = 0x03

Access = Literal["read", "write", "private"]


def page_up(nbytes: int) -> int:
    """The number of bytes in whole pages, one at least."""
    return max(-(-nbytes // PAGE_BYTES), 1) * PAGE_BYTES


# --- making and finding --------------------------------------------------------------------------


def create(nbytes: int, directory: str = "") -> int:
    """The descriptor of new memory of this size, zero and not yet occupied.

    `directory`: where files stand that take the place of memfds; empty: memfds.
    """
    if directory:
        return _create_file(nbytes, directory)
    fd = os.memfd_create("treadle", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, nbytes)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _create_file(nbytes: int, directory: str) -> int:
    """A file that others find by our process and the number of its descriptor."""
    temporary = os.path.join(directory, f"{os.getpid()}-new")
    fd = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, nbytes)
        os.rename(temporary, path_of(os.getpid(), fd, directory))
    except BaseException:
        os.close(fd)
        os.unlink(temporary)
        raise
    return fd


def close(fd: int, directory: str = "") -> None:
    """Let go of memory that `create` made; it lives on where it is mapped."""
    if directory:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path_of(os.getpid(), fd, directory))
    os.close(fd)


def path_of(pid: int, fd: int, directory: str = "") -> str:
    """By which name a process finds the memory of another."""
    return os.path.join(directory, f"{pid}-{fd}") if directory else f"/proc/{pid}/fd/{fd}"


def find(spot: Spot, flags: int, directory: str = "") -> tuple[int, os.stat_result]:
    """Open the memory that a spot is in.

    Raises:
        OSError: it is there no longer, is other memory, or is smaller than the spot tells.
    """
    # Whoever names a pipe instead shall not make us wait.
    fd = os.open(path_of(spot.pid, spot.fd, directory), flags | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or (spot.inode and found.st_ino != spot.inode):
            raise OSError(errno.ESTALE, f"the memory is there no longer: {spot}")
        if found.st_size < spot.offset + spot.nbytes:
            raise OSError(errno.ESTALE, f"the memory has {found.st_size} bytes only: {spot}")
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def take_over(spot: Spot, directory: str = "") -> tuple[int, os.stat_result]:
    """Open memory that another process made; from now on it cannot shrink, nor change.

    Raises:
        OSError: it is not there, is smaller than the spot tells, or cannot be sealed.
    """
    fd, found = find(spot, os.O_RDWR, directory)
    try:
        if directory:
            os.link(path_of(spot.pid, spot.fd, directory), path_of(os.getpid(), fd, directory))
        else:
            seal(fd)
    except BaseException:
        os.close(fd)
        raise
    return fd, found


def seal(fd: int) -> None:
    """See to it that memory that another process made cannot shrink, nor change.

    Raises:
        OSError: it is no memory that can be sealed.
    """
    wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    have = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
    if have & wanted != wanted:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, wanted)
    if have & (fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL):
        return
    try:
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        # Its maker has not unmapped it yet: what it still writes harms its own values alone.
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _F_SEAL_FUTURE_WRITE)


# --- reading and writing -------------------------------------------------------------------------


def write_pieces(fd: int, pieces: Sequence[bytes | bytearray | memoryview], offset: int) -> None:
    """Write pieces one behind the other.

    Raises:
        OSError: as the system has it.
    """
    start = 0
    while start < len(pieces):
        group: list[Any] = list(pieces[start : start + _MOST_PIECES])
        start += len(group)
        while group:
            written = os.pwritev(fd, group, offset)
            offset += written
            while group and written >= len(group[0]):
                written -= len(group.pop(0))
            if written:  # one call writes 2 GiB at most
                group[0] = memoryview(group[0])[written:]


def read_into(fd: int, memory: bytearray | memoryview, offset: int) -> None:
    """Fill memory with what stands at an offset.

    Raises:
        OSError: as the system has it, or there is less.
    """
    view = memoryview(memory)
    while view:
        count = os.preadv(fd, [view], offset)
        if not count:
            raise OSError(errno.EIO, f"{len(view)} bytes are missing at {offset}")
        view, offset = view[count:], offset + count


def map_memory(
    fd: int, nbytes: int, *, offset: int = 0, access: Access = "read", populate: bool = False
) -> mmap.mmap:
    """Map memory; the map holds no descriptor of its own.

    `private`: what is written there is seen by nobody else. Maps are gone with their last reader.
    """
    prot = mmap.PROT_READ if access == "read" else mmap.PROT_READ | mmap.PROT_WRITE
    flags = mmap.MAP_PRIVATE if access == "private" else mmap.MAP_SHARED
    if populate:
        flags |= getattr(mmap, "MAP_POPULATE", 0)
    if sys.version_info >= (3, 13):
        return mmap.mmap(fd, nbytes, flags=flags, prot=prot, offset=offset, trackfd=False)
    # Before that a map keeps a copy of the descriptor, and a program that holds ten thousand arrays
    # has no descriptors left. So: a map of nothing, whose place the wanted one takes.
    import ctypes  # noqa: PLC0415 - only where a map is needed

    whole = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    address = ctypes.addressof(ctypes.c_char.from_buffer(whole))
    fixed = flags | 0x10  # MAP_FIXED
    if _libc().mmap(address, nbytes, prot, fixed, fd, offset) != address:
        code = ctypes.get_errno()
        whole.close()
        raise OSError(code, os.strerror(code))
    return whole


def forbid_writing(memory: mmap.mmap) -> None:
    """Make a map that was written to read-only, and one that children have as well."""
    import ctypes  # noqa: PLC0415 - only where a map is needed

    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    _libc().mprotect(address, len(memory), mmap.PROT_READ)
    if hasattr(mmap, "MADV_DOFORK"):
        memory.madvise(mmap.MADV_DOFORK)


def punch(fd: int, ranges: Sequence[tuple[int, int]]) -> None:
    """Give the memory, or the disk, of ranges (offset, bytes) back; what cannot be stays."""
    if sys.platform == "linux":
        for offset, nbytes in ranges:
            _libc().fallocate(fd, _PUNCH, offset, nbytes)


def warm_up() -> None:
    """Load what the first map needs: it takes a fifth of a millisecond."""
    _libc()


@cache
def _libc() -> Any:
    import ctypes  # noqa: PLC0415 - only where a map is needed

    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (
        *(ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int),
        *(ctypes.c_int, ctypes.c_int, ctypes.c_int64),
    )
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    if sys.platform == "linux":
        libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return libc


def raise_descriptor_limit() -> int:
    """Let this process open as many descriptors as it may; how many it might before.

    Children inherit the limit; a program that calls `select` wants the old one.
    """
    import resource  # noqa: PLC0415 - once in a process

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # macOS has a hard limit that it refuses
            return soft
    return soft
