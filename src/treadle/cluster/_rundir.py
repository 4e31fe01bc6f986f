"""The private directory of a run: its sockets, settings and credentials. Nobody else's.

It stands where the system keeps such things, is open to its owner alone, and is held by a lock for
as long as its process lives. One that nobody holds was left behind by a crash, and is swept away
by who comes next.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from typing import Final

from treadle.errors import ConfigurationError

#: Longest path of a Unix socket, in bytes.
SOCKET_PATH: Final = 107
#: Room that names in the directory have.
_NAME: Final = 24
_LOCK = "lock"


class RunDirectory:
    """A directory of a run's. Use `create`; without a lock it is another process's to hold."""

    def __init__(self, path: str, lock: int | None = None) -> None:
        self.path = path
        self._lock: int | None = lock

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
            lock = _hold(path)
            if lock is not None:
                return cls(path, lock)
        raise ConfigurationError(f"no directory can be made and held in {root!r}")

    def socket_path(self, name: str) -> str:
        """Where a socket of this name may stand."""
        return os.path.join(self.path, name)

    def is_there(self) -> bool:
        """It has not been taken away, as cleaners of temporary files do."""
        return os.path.isfile(os.path.join(self.path, _LOCK))

    def remove(self) -> None:
        """Take it away, with all that is in it."""
        if self._lock is None:
            return
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)
        self._lock = None

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
    """Lock the directory; None if somebody swept it away before that."""
    name = os.path.join(path, _LOCK)
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.stat(name).st_ino == os.fstat(lock).st_ino:
            return lock
    except OSError:
        pass
    os.close(lock)
    return None


def _sweep(root: str) -> None:
    """Take away the directories that nobody holds."""
    with suppress(OSError):
        for name in os.listdir(root):
            path = os.path.join(root, name)
            if not os.path.islink(path) and os.path.isdir(path):
                _take_away(path)


def _take_away(path: str) -> None:
    lock = os.path.join(path, _LOCK)
    try:
        held = os.open(lock, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        # Being made, or all but gone: its maker finds out, see `_hold`.
        with suppress(OSError):
            os.rmdir(path)
        return
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path, ignore_errors=True)
    except OSError:
        pass  # somebody lives there
    finally:
        os.close(held)
