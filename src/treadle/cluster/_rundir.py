"""The private directory of a run: its sockets, settings and credentials. Nobody else's.

It stands where the system keeps such things, is open to its owner alone, and is locked for as long
as its process lives. One that nobody holds was left behind by a crash, and is swept away by who
comes next. The lock is on the directory itself: cleaners of temporary files respect that.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
from contextlib import suppress
from typing import Final

from treadle.errors import ConfigurationError

#: Longest path of a Unix socket, in bytes.
SOCKET_PATH: Final = 107
#: Room that names in the directory have.
_NAME: Final = 24
#: What a directory of ours is called.
_OURS = re.compile(r".*-[0-9a-f]{8}")


class RunDirectory:
    """A directory of a run's. Use `create`; without a lock it is another process's to hold."""

    def __init__(self, path: str, held: int | None = None) -> None:
        self.path = path
        self._held = held

    @classmethod
    def create(cls, prefix: str = "run", *, root: str | None = None) -> RunDirectory:
        """A new directory, held until `remove` or the end of this process.

        Raises:
            ConfigurationError: there is no place for it that is safe; the text has what to do.
        """
        root = root or _root()
        _check_private(root)
        _sweep(root)
        for _ in range(100):
            path = os.path.join(root, f"{prefix}-{os.urandom(4).hex()}")
            if len(os.fsencode(path)) > SOCKET_PATH - _NAME:
                raise ConfigurationError(
                    f"the path {path!r} is too long for sockets ({SOCKET_PATH} bytes is all that "
                    f"systems allow, {_NAME} of them are for names in it); set XDG_RUNTIME_DIR to "
                    f"a shorter directory, or unset it"
                )
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                continue
            except OSError as error:
                raise ConfigurationError(f"{path!r} cannot be made: {error.strerror}") from error
            held = _hold(path)
            if held is not None:
                return cls(path, held)
        raise ConfigurationError(f"no directory can be made and held in {root!r}")

    def socket_path(self, name: str) -> str:
        """Where a socket of this name may stand."""
        return os.path.join(self.path, name)

    def is_there(self) -> bool:
        """It has not been taken away, as cleaners of temporary files do."""
        if self._held is None:
            return os.path.isdir(self.path)
        return _is_at(self.path, self._held)

    def remove(self) -> None:
        """Take it away, with all that is in it, if this process holds it."""
        if self._held is None:
            return
        if self.is_there():
            shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._held)
        self._held = None

    def __enter__(self) -> RunDirectory:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


# --- details -----------------------------------------------------------------------------------


def _root() -> str:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and os.path.isabs(runtime) and os.access(runtime, os.W_OK | os.X_OK):
        return os.path.join(runtime, "treadle")
    return f"/tmp/treadle-{os.getuid()}"


def _check_private(root: str) -> None:
    """Make the directory of all runs if there is none; it must be ours alone."""
    try:
        os.mkdir(root, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise ConfigurationError(
            f"{root!r} cannot be made ({error.strerror}); set XDG_RUNTIME_DIR to a directory that "
            f"you may write to"
        ) from error
    found = os.lstat(root)
    wrong = None
    if stat.S_ISLNK(found.st_mode):
        wrong = "it is a symbolic link"
    elif not stat.S_ISDIR(found.st_mode):
        wrong = "it is no directory"
    elif found.st_uid != os.getuid():
        wrong = f"it belongs to user {found.st_uid}, this process runs as {os.getuid()}"
    elif found.st_mode & 0o077:
        wrong = f"others may enter it (mode {stat.S_IMODE(found.st_mode):04o}, 0700 is needed)"
    if wrong is not None:
        raise ConfigurationError(
            f"{root!r} is not safe to use: {wrong}; remove it, or set XDG_RUNTIME_DIR to a "
            f"directory of your own"
        )


def _hold(path: str) -> int | None:
    """Lock a directory; None if somebody else has, or has swept it away."""
    try:
        held = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, held):
            return held
    except OSError:
        pass
    os.close(held)
    return None


def _is_at(path: str, held: int) -> bool:
    try:
        return os.path.samestat(os.lstat(path), os.fstat(held))
    except OSError:
        return False


def _sweep(root: str) -> None:
    """Take away the directories that nobody holds. One that is being made finds that out itself."""
    with suppress(OSError):
        for name in filter(_OURS.fullmatch, os.listdir(root)):
            path = os.path.join(root, name)
            held = _hold(path)
            if held is not None:
                shutil.rmtree(path, ignore_errors=True)
                os.close(held)
