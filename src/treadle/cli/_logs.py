"""`treadle logs`: what tasks have printed, read from the index that workers keep."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

import msgspec
from msgspec import Struct

from treadle.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse
    from io import FileIO

HELP: Final = "show what tasks have printed"
EXAMPLE: Final = """\
examples:
  treadle logs                         all of the newest run below ./runinfo
  treadle logs runinfo/004 --task 17   of the task of this number
  treadle logs --task simulate --stderr --follow"""

INDEX: Final = "index.jsonl"
_NUMBER: Final = re.compile(r"\d{3,}")
#: Bits of a task's identifier that are its number.
_NUMBER_MASK: Final = (1 << 40) - 1
#: How often files are looked at with `--follow`: they may be another machine's.
_LOOK_S: Final = 0.2
_CHUNK: Final = 1 << 20
_BLOCK: Final = 1 << 16


class Entry(Struct, frozen=True):
    """A line of the index: a task's output on one stream. `head`: bytes that are there from
    `offset` on; `dropped`: bytes behind them that are gone; the rest of `length` is there."""

    task: int | str
    name: str
    attempt: int
    stream: int
    file: str
    offset: int
    length: int
    head: int = -1
    dropped: int = 0

    @property
    def title(self) -> str:
        """Whose it is, for people."""
        stream = "stdout" if self.stream == 1 else "stderr"
        number = self.task & _NUMBER_MASK if isinstance(self.task, int) else self.task
        return f"==> {self.name} {number}, attempt {self.attempt}, {stream} <=="

    def is_of(self, wanted: str) -> bool:
        """Whether it is of the task of this number, key or name."""
        if wanted in (self.name, str(self.task)):
            return True
        if not isinstance(self.task, int):
            return False
        number = self.task & _NUMBER_MASK
        return wanted in (str(number), f"{self.name}-{self.task >> 40:x}-{number}")


_DECODER = msgspec.json.Decoder(Entry)


def declare(parser: argparse.ArgumentParser) -> None:
    """What it takes."""
    add = parser.add_argument
    add(
        "run_dir",
        metavar="RUN_DIR",
        nargs="?",
        default="runinfo",
        help="the folder of a run, or of runs: then the newest is meant (default: %(default)s)",
    )
    add("--task", metavar="ID|NAME", help="of this task, or of all tasks of this name, alone")
    streams = parser.add_mutually_exclusive_group()
    streams.add_argument("--stdout", action="store_true", help="standard output alone")
    streams.add_argument("--stderr", action="store_true", help="standard error alone")
    add("--follow", action="store_true", help="go on as tasks end, until interrupted")


def run(options: argparse.Namespace) -> int:
    """Show it."""
    folder = _folder_of(options.run_dir)
    streams = {1} if options.stdout else {2} if options.stderr else {1, 2}
    out = sys.stdout.buffer
    shown = 0
    for path, entry in _entries(folder, follow=options.follow):
        if entry.stream in streams and (options.task is None or entry.is_of(options.task)):
            out.write(f"{entry.title}\n".encode("utf-8", "replace"))
            _show(path, entry, out)
            out.flush()
            shown += 1
    if not shown and options.task is not None:
        raise ConfigurationError(
            f"no output of a task {options.task!r} is noted in {str(folder)!r}"
        )
    return 0


def _folder_of(text: str) -> Path:
    """The folder of one run.

    Raises:
        ConfigurationError: there is none.
    """
    folder = Path(text)
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no folder {text!r}; give that of a run, such as runinfo/000"
        )
    runs = [path for path in folder.iterdir() if _NUMBER.fullmatch(path.name) and path.is_dir()]
    return max(runs, key=lambda path: int(path.name), default=folder)


def _entries(folder: Path, *, follow: bool) -> Iterator[tuple[Path, Entry]]:
    """All entries of all workers of a run, each with the file it is about."""
    read: dict[Path, int] = {}
    while True:
        indexes = sorted(folder.rglob(INDEX))
        if not indexes and not follow:
            raise ConfigurationError(
                f"nothing below {str(folder)!r} was printed by a task of a cluster executor "
                f"(there is no {INDEX})"
            )
        for index in indexes:
            lines, read[index] = _new_lines(index, read.get(index, 0))
            for line in lines:
                try:
                    entry = _DECODER.decode(line)
                except msgspec.DecodeError:
                    continue  # torn by a full disk, or not ours
                yield index.with_name(os.path.basename(entry.file)), entry
        if not follow:
            return
        time.sleep(_LOOK_S)


def _new_lines(index: Path, known: int) -> tuple[list[bytes], int]:
    """The whole lines behind so many bytes, and how many bytes are known then."""
    with open(index, "rb") as file:
        file.seek(known)
        data = file.read()
    end = data.rfind(b"\n") + 1
    return data[:end].splitlines(), known + end


def _show(path: Path, entry: Entry, out: BinaryIO) -> None:
    """Write what a task has printed, and how much of it is gone."""
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        out.write(f"[{path.name}: {error.strerror}]\n".encode())
        return
    with file:
        head = entry.length if entry.head < 0 or not entry.dropped else entry.head
        last = _copy(file, entry.offset, entry.offset + head, out)
        if entry.dropped:
            out.write(f"\n[{entry.dropped:,} bytes were dropped here]\n".encode())
            last = _copy(file, entry.offset + head, entry.offset + entry.length, out, hole=True)
    if last not in (b"\n", b""):
        out.write(b"\n")


def _copy(file: FileIO, start: int, end: int, out: BinaryIO, *, hole: bool = False) -> bytes:
    """Copy a part of a file; of one that begins with a hole, what is behind that.

    Returns:
        The last byte.
    """
    if hole:
        start = _behind_hole(file, start, end)
    file.seek(start)
    last = b""
    while start < end and (data := file.read(min(_CHUNK, end - start))):
        start += len(data)
        out.write(data)
        last = data[-1:]
    return last


def _behind_hole(file: FileIO, start: int, end: int) -> int:
    """Where zeros end. The file system knows most of them, in whole blocks."""
    while start < end:
        if hasattr(os, "SEEK_DATA"):
            try:
                start = max(start, file.seek(start, os.SEEK_DATA))
            except OSError:  # nothing but a hole is left
                return end
        file.seek(start)
        data = file.read(min(_BLOCK, end - start))
        rest = data.lstrip(b"\0")
        start += len(data) - len(rest)
        if rest or not data:
            return start
    return end
