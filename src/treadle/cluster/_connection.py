"""Connection files: what a process must know to reach a scheduler. For its owner's eyes alone."""

from __future__ import annotations

import os
import stat

import msgspec
from msgspec import Struct

from treadle.errors import ConfigurationError


class Connection(Struct, frozen=True, kw_only=True):
    """How a run's scheduler is reached.

    `addresses`: 'unix:PATH' or 'tls://HOST:PORT', best first. `pid`, `host`: of the scheduler's
    process. `version`: its Treadle. `credential`: path of the credential (certificate, key) that
    this file's reader is to use on a network; '' if there is none.
    """

    run: str
    addresses: tuple[str, ...]
    pid: int
    host: str
    version: str
    credential: str = ""


_DECODER = msgspec.json.Decoder(Connection)


def write_connection(path: str, connection: Connection) -> None:
    """Write the file, readable to its owner alone; a reader sees all of it or nothing.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_private(path, msgspec.json.format(msgspec.json.encode(connection)) + b"\n")


def read_connection(path: str) -> Connection:
    """The connection that stands in this file.

    Raises:
        ConfigurationError: there is none, or others may have written it; the text has what to do.
    """
    data = read_private(path, what="connection file")
    try:
        return _DECODER.decode(data)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"{path!r} is no connection file: {error}") from None


def write_private(path: str, data: bytes) -> None:
    """Write a file of mode 0600 under this name, whole or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    temporary = f"{path}.{os.urandom(4).hex()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(fd, "wb") as file:
                file.write(data)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise ConfigurationError(f"{path!r} cannot be written: {error.strerror}") from error


def read_private(path: str, *, what: str) -> bytes:
    """What stands in a file that belongs to this user, and that nobody else may read or write.

    Raises:
        ConfigurationError: there is none, or others may; the text has what to do.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ConfigurationError(
            f"the {what} {path!r} cannot be read ({error.strerror}); is the scheduler running?"
        ) from error
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigurationError(f"the {what} {path!r} is no file")
        if found.st_uid != os.getuid():
            raise ConfigurationError(
                f"the {what} {path!r} belongs to user {found.st_uid}, this process runs as "
                f"{os.getuid()}"
            )
        if found.st_mode & 0o077:
            raise ConfigurationError(
                f"others may use the {what} {path!r} (mode {stat.S_IMODE(found.st_mode):04o}); "
                f"chmod 600 it if you trust what is in it"
            )
        return file.read()
