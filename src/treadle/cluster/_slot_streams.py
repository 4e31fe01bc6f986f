"""Descriptors 0, 1 and 2 of a slot, and `sys.stdout` and `sys.stderr` upon them.

Standard output and error are files that grow; what a task has printed is what they have grown by.
After each task the three are what they were, whatever was closed or put in their place.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any, Final

from treadle.cluster._slot_channel import out_of_reach

_NOTHING: Final = (0, 0)


class Streams:
    """The standard streams of this process."""

    def __init__(self, stdout: int, stderr: int) -> None:
        self._saved = (
            out_of_reach(os.open(os.devnull, os.O_RDWR)),
            out_of_reach(stdout),
            out_of_reach(stderr),
        )
        self._facts = tuple(_facts(fd) for fd in self._saved)
        for fd in range(3):
            os.dup2(self._saved[fd], fd)
        self._ends = [_end_of(1), _end_of(2)]
        self._places = [_mark(1), _mark(2)]
        self.renew()

    def renew(self) -> None:
        """Make Python's own streams anew."""
        sys.stdin = io.TextIOWrapper(
            open(0, "rb", closefd=False),  # noqa: SIM115 - it stays open
            encoding="utf-8",
            errors="replace",
        )
        self.out = sys.stdout = _text(1)
        self.err = sys.stderr = _text(2)
        for name in ("stdin", "stdout", "stderr"):
            setattr(sys, f"__{name}__", getattr(sys, name))

    def settle(self, *, thoroughly: bool) -> tuple[int, int]:
        """Put the streams back as they were. Returns by how many bytes the two files have grown.

        Args:
            thoroughly: also notice a replacement that stands where the file stood. Costs 3 us.
        """
        try:
            self.out.flush()
            self.err.flush()
        except (OSError, ValueError):  # closed by the task, or the disk is full
            self._put_back()
            self._flush_or_renew()
        if sys.stdout is not self.out or sys.stderr is not self.err:
            _flush_quietly(sys.stdout)
            _flush_quietly(sys.stderr)
            sys.stdout, sys.stderr = self.out, self.err
        places = self._places
        try:
            if (
                os.lseek(1, 0, os.SEEK_CUR) == places[0]
                and os.lseek(2, 0, os.SEEK_CUR) == places[1]
                and os.lseek(0, 0, os.SEEK_CUR) == 0
                and not thoroughly
            ):
                return _NOTHING
        except OSError:
            pass
        return self._measure()

    def _measure(self) -> tuple[int, int]:
        self._put_back()
        ends = self._ends
        out, err = _end_of(1), _end_of(2)
        # They shrink when the agent cuts what is too long.
        grown = max(0, out - ends[0]), max(0, err - ends[1])
        self._ends = [out, err]
        self._places = [_mark(1), _mark(2)]
        return grown

    def _put_back(self) -> None:
        for fd in range(3):
            try:
                if _facts(fd) == self._facts[fd]:
                    continue
            except OSError:
                pass
            os.dup2(self._saved[fd], fd)

    def _flush_or_renew(self) -> None:
        try:
            self.out.flush()
            self.err.flush()
        except (OSError, ValueError):
            self.renew()

    def warn(self, text: str) -> None:
        """A line on standard error, for who reads the task's output."""
        _flush_quietly(self.err)
        try:
            os.write(2, f"treadle: {text}\n".encode(errors="replace"))
        except OSError:
            pass


def _text(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        open(fd, "wb", closefd=False),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )


def _flush_quietly(stream: Any) -> None:
    try:
        stream.flush()
    except BaseException:  # noqa: BLE001 - a task may have put anything in its place
        pass


def _facts(fd: int) -> tuple[int, int]:
    facts = os.fstat(fd)
    return facts.st_dev, facts.st_ino


def _end_of(fd: int) -> int:
    """How long a file is; 0 for what is none."""
    try:
        return os.fstat(fd).st_size
    except OSError:
        return 0


def _mark(fd: int) -> int:
    """Where the file stands from now on. Not at 0, where most of what could replace it stands."""
    try:
        place = os.lseek(fd, 0, os.SEEK_CUR)
        # It is written at its end wherever it stands.
        return place or os.lseek(fd, 1, os.SEEK_SET)
    except OSError:
        return 0
