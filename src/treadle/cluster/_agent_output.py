"""What tasks print: a pair of files for each place of a slot, and an index of what is whose.

A slot writes to its files itself (its standard output and error are these), so nothing of a flood
passes through the agent. What a task has written is known by how much the files have grown; it is
noted in the index, and passed on to who wants to see it. Of what is too much the middle is given
back to the disk, while it still grows, too: a file may look larger than what it occupies.

The index has a line of JSON for each task and stream: task, name, attempt, stream (1 or 2), file,
offset, length, head (bytes that are there from `offset` on), dropped (bytes that follow the head
and are gone; the rest of `length` is there).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from treadle.cluster._agent_cut import Cut, cut_middle
from treadle.wire import Printed

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from treadle.cluster._agent_slot import SlotEnd
    from treadle.wire import Run, TaskId

_log = logging.getLogger(__name__)

INDEX: Final = "index.jsonl"
#: Most bytes of a task's output that are passed on: the beginning and the end of it.
ECHO_BYTES: Final = 64 * 1024
#: Entries that may wait to be written.
_MOST_WAITING: Final = 100_000
#: So long what is known may take to be written, at the end.
_SETTLE_S: Final = 0.5
_ENDINGS: Final = ("out", "err")


class Entry(NamedTuple):
    """What a task has printed on one stream."""

    run: Run
    id: TaskId
    stream: int
    file: str
    offset: int
    length: int
    #: What had to go of it while it grew.
    cut: Cut | None


class _Stream:
    """One file of a place. `known`: where what belongs to nobody yet begins."""

    __slots__ = ("cut", "known", "name", "path")

    def __init__(self, folder: str, name: str) -> None:
        self.name = name
        self.path = os.path.join(folder, name)
        self.known = 0
        self.cut: Cut | None = None

    def size(self) -> int:
        """Its end."""
        try:
            return os.stat(self.path).st_size
        except OSError:  # somebody has tidied up
            return self.known


class Output:
    """Files and index of one worker; nothing is kept without a folder.

    Args:
        most_bytes: of one task and stream.
        name_of: what a task is called; may be called from other threads.
        echo: is given what is to be shown to who runs the program; None: nobody wants to see it.
    """

    def __init__(
        self,
        folder: str,
        most_bytes: int,
        loop: asyncio.AbstractEventLoop,
        threads: ThreadPoolExecutor,
        *,
        name_of: Callable[[Run], str],
        echo: Callable[[list[Printed]], None] | None,
    ) -> None:
        self._folder = folder
        self._most_bytes = most_bytes
        self._loop = loop
        self._threads = threads
        self._name_of = name_of
        self._echo = echo
        #: By slot: its place and its files. They are appended to by one slot after the other.
        self._places: dict[int, tuple[int, tuple[_Stream, _Stream]]] = {}
        #: To be written to the index; and whether nobody is at it.
        self._waiting: list[Entry] = []
        self._settled = asyncio.Event()
        self._settled.set()
        self._unwritten = 0

    # --- on the loop -----------------------------------------------------------------------------

    def open(self, slot: int) -> tuple[int, int]:
        """The files of a slot that is to be started: of its output, and of its errors.

        Raises:
            OSError: they cannot be opened.
        """
        if not self._folder:
            return os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
        taken = {place for place, _ in self._places.values()}
        place = next(i for i in range(len(taken) + 1) if i not in taken)
        out, err = (_Stream(self._folder, f"slot-{place}.{ending}") for ending in _ENDINGS)
        fds: list[int] = []
        try:
            for stream in (out, err):
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                fds.append(os.open(stream.path, flags, 0o600))
                stream.known = os.fstat(fds[-1]).st_size
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise
        self._places[slot] = place, (out, err)
        return fds[0], fds[1]

    def close(self, slot: int) -> None:
        """A slot has ended."""
        self._places.pop(slot, None)

    def printed(self, slot: SlotEnd, run: Run, id: TaskId, grown: tuple[int, int]) -> None:
        """A task has ended, and its files have grown by so much."""
        place = self._places.get(slot.number)
        if place is None:
            return
        for number, (stream, length) in enumerate(zip(place[1], grown, strict=True), 1):
            if length > 0:
                self._note(run, id, number, stream, length)

    def died(self, slot: SlotEnd, run: Run, id: TaskId) -> None:
        """A slot has died in a task: what nobody has told of is that one's."""
        place = self._places.get(slot.number)
        if place is None:
            return
        for number, stream in enumerate(place[1], 1):
            length = stream.size() - stream.known
            if length > 0:
                self._note(run, id, number, stream, length)

    async def settle(self) -> None:
        """Have all written that is known; a moment at most."""
        try:
            async with asyncio.timeout(_SETTLE_S):
                await self._settled.wait()
        except TimeoutError:
            _log.warning("the index of outputs is not complete: the disk is slow")

    def _note(self, run: Run, id: TaskId, number: int, stream: _Stream, length: int) -> None:
        offset = stream.known
        cut, stream.cut = stream.cut, None
        if cut is not None and cut.offset != offset:  # of what has ended since
            cut = None
        if cut is not None and cut.shortened:
            offset, length = cut.offset, stream.size() - cut.offset
        stream.known = offset + length
        if len(self._waiting) >= _MOST_WAITING:
            self._unwritten += 1
            return
        self._waiting.append(Entry(run, id, number, stream.name, offset, length, cut))
        if self._settled.is_set():
            self._settled.clear()
            self._threads.submit(self._write)

    def _told(self, shown: list[Printed]) -> None:
        if shown and self._echo is not None:
            self._echo(shown)
        if self._waiting:
            self._threads.submit(self._write)
        else:
            self._settled.set()

    # --- on helper threads -----------------------------------------------------------------------

    def trim(self, slot: int) -> None:
        """See to it that what runs there does not fill the disk."""
        place = self._places.get(slot)
        if place is None:
            return
        for stream in place[1]:
            try:
                size = stream.size()
                if size - stream.known > self._most_bytes * 2:
                    stream.cut = cut_middle(
                        stream.path, stream.known, size, self._most_bytes, stream.cut, growing=True
                    )
            except OSError as error:
                _log.warning("%s cannot be shortened: %s", stream.name, error)

    def _write(self) -> None:
        """Write all entries that wait."""
        entries, self._waiting = self._waiting, []
        shown: list[Printed] = []
        lines = bytearray()
        for entry in entries:
            try:
                self._write_one(entry, lines, shown)
            except Exception as error:  # noqa: BLE001 - the next one's may be better
                _log.warning("output of task %r is lost: %s", entry.id, error)
        if self._unwritten:
            _log.warning("output of %d tasks is not in the index", self._unwritten)
            self._unwritten = 0
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            fd = os.open(os.path.join(self._folder, INDEX), flags, 0o600)
            try:
                os.write(fd, lines)
            finally:
                os.close(fd)
        except OSError as error:
            _log.warning("the index of outputs cannot be written: %s", error)
        try:
            self._loop.call_soon_threadsafe(self._told, shown)
        except RuntimeError:  # the loop is closed
            pass

    def _write_one(self, entry: Entry, lines: bytearray, shown: list[Printed]) -> None:
        path = os.path.join(self._folder, entry.file)
        offset, length = entry.offset, entry.length
        cut = entry.cut
        if length > self._most_bytes or cut is not None:
            cut = cut_middle(path, offset, offset + length, self._most_bytes, cut)
        head, dropped = (cut.head, cut.dropped) if cut is not None else (length, 0)
        name = self._name_of(entry.run)[:1024]
        line = {
            "task": entry.id,
            "name": name,
            "attempt": entry.run.attempt,
            "stream": entry.stream,
            "file": entry.file,
            "offset": offset,
            "length": length,
            "head": head,
            "dropped": dropped,
        }
        lines += msgspec.json.encode(line) + b"\n"
        if self._echo is None:
            return
        hole = cut.hole if cut is not None else 0
        with open(path, "rb", buffering=0) as file:
            half = ECHO_BYTES // 2
            first = _read(file.fileno(), offset, min(head, half if hole else ECHO_BYTES))
            rest = length - head - hole
            last = b""
            if hole or head > len(first):
                end = offset + length
                last = _read(file.fileno(), end - min(half, rest or head), min(half, rest or head))
                first = first[:half]
        texts = [(first, 0)]
        if last:
            texts.append((last, length + (dropped - hole) - len(first) - len(last)))
        for data, lost in texts:
            text = data.decode("utf-8", "replace")
            shown.append(Printed(entry.id, name, entry.stream, text, max(0, lost)))


def _read(fd: int, offset: int, count: int) -> bytes:
    return os.pread(fd, count, offset) if count > 0 else b""
