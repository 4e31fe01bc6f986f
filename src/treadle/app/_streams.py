"""Where a command's output goes: `stdout=` and `stderr=` of a bash app."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from treadle.data_provider.files import File
from treadle.errors import BadStdStreamFile


@dataclass(frozen=True, slots=True)
class Target:
    """A file that a stream is written to."""

    path: str
    mode: str


def read_target(stream: str, spec: object) -> Target | None:
    """Read what a call gave as `stdout` or `stderr`; None means that it is not captured.

    Raises:
        BadStdStreamFile: it is none of the forms that can be given.
    """
    if spec is None:
        return None
    if isinstance(spec, tuple):
        if len(spec) != 2:
            raise BadStdStreamFile(
                f"{stream}={spec!r}: a tuple must be a path and a mode, such as ('out.txt', 'w')"
            )
        return Target(_path_of(stream, spec, spec[0]), _mode_of(stream, spec, spec[1]))
    # A File is staged out when the task is done, so it holds this attempt's output alone.
    return Target(_path_of(stream, spec, spec), "w" if isinstance(spec, File) else "a+")


def _path_of(stream: str, spec: object, path: object) -> str:
    if isinstance(path, (str, os.PathLike)):
        try:
            return os.fsdecode(os.fspath(path))
        except ValueError as error:  # a File that is elsewhere
            raise BadStdStreamFile(f"{stream}={spec!r}: {error}") from error
    raise BadStdStreamFile(
        f"{stream}={spec!r}: expected a path, a (path, mode) tuple, a File, "
        "treadle.AUTO_LOGNAME or None"
    )


def _mode_of(stream: str, spec: object, mode: object) -> str:
    if isinstance(mode, str) and set(mode) & set("wax+"):
        return mode
    raise BadStdStreamFile(
        f"{stream}={spec!r}: the mode must be one that writes, such as 'w' or 'a', not {mode!r}"
    )


@contextmanager
def opened(stdout: object, stderr: object) -> Iterator[tuple[BinaryIO | None, BinaryIO | None]]:
    """Open the files of a command's streams, with the folders they are in.

    Where both name one file it is opened once, so that neither overwrites what the other wrote.

    Raises:
        BadStdStreamFile: one of them cannot be written; the text says which and why.
    """
    out, err = read_target("stdout", stdout), read_target("stderr", stderr)
    with ExitStack() as stack:
        out_file = stack.enter_context(_open("stdout", out)) if out else None
        if out and err and os.path.realpath(out.path) == os.path.realpath(err.path):
            yield out_file, out_file
        else:
            yield out_file, stack.enter_context(_open("stderr", err)) if err else None


def _open(stream: str, target: Target) -> BinaryIO:
    try:
        folder = os.path.dirname(target.path)
        if folder:
            os.makedirs(folder, exist_ok=True)
        # Only the command writes to it, so bytes will do whatever the mode says.
        mode = target.mode.replace("t", "").replace("b", "") + "b"
        file: Any = open(target.path, mode, buffering=0)  # noqa: SIM115 - the caller closes it
    except (OSError, ValueError) as error:
        raise BadStdStreamFile(
            f"{stream} cannot be written to {target.path!r} (mode {target.mode!r}): {error}"
        ) from error
    else:
        opened_file: BinaryIO = file
        return opened_file


def echo(stderr: BinaryIO | None, command: str) -> None:
    """Write the command that follows into its captured stderr."""
    if stderr is not None:
        text = f"--> executable follows <--\n{command}\n--> end executable <--\n"
        stderr.write(text.encode(errors="surrogateescape"))


def tail(path: str, *, lines: int = 10, limit_bytes: int = 2000) -> str:
    """The last lines of a file, for the text of an error; nothing if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - limit_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
