"""The page that a slot shares with its agent: what it runs, and what it has not told yet.

The slot alone writes it. Words of 8 bytes come first, native order: those of the blame (see
`_packets`), then how much is held back. Behind them stand reports that a busy slot holds back for
a moment, to send several in one packet, or results of rows. So they are not lost with the slot,
and do not wait for a task that takes longer than it should: the agent reads them where they stand.
"""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any, Final

import msgspec
from msgspec import Raw

from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_BYTES,
    BLAME_ROW,
    BLAME_SINCE,
    Asked,
    FromSlot,
    Raised,
    Returned,
    decode_from_slot,
)

#: Reports that have left by the socket, since the beginning.
SENT: Final = 3
#: Reports held back: how many, and below that (32 bits) their bytes; in one word, for who reads it
#: must never see one without the other.
HELD: Final = 4
#: Rows held back, likewise; the first one's index, and when it began (ns).
ROWS, ROWS_FIRST, ROWS_SINCE = 5, 6, 7
_BYTES: Final = (1 << 32) - 1
#: Where reports or rows stand.
DATA: Final = 128
DATA_BYTES: Final = BLAME_BYTES - DATA
#: What precedes reports that leave: a list of so many (two bytes).
_LIST16 = b"\xdc"
_LIST32 = b"\xdd"
#: How a row's bytes begin, by their number.
_BIN8: Final = tuple(b"\xc4" + bytes((n,)) for n in range(256))

#: A map of the slot's keeps no descriptor that a task could close, where Python can do without.
_UNTRACKED: Final[dict[str, Any]] = {"trackfd": False} if sys.version_info >= (3, 13) else {}

_decode_rows = msgspec.msgpack.Decoder(list[Raw]).decode


class Page:
    """The slot's hand on its page."""

    __slots__ = ("memory", "words")

    def __init__(self, fd: int) -> None:
        #: Plain bytes, for what is held back.
        self.memory = mmap.mmap(fd, BLAME_BYTES, **_UNTRACKED)
        #: See the indices above.
        self.words = memoryview(self.memory)[:DATA].cast("Q")

    def hold(self, report: bytes) -> bool:
        """Keep an encoded report for later; False if there is no room."""
        words = self.words
        held: int = words[HELD]
        used = held & _BYTES
        size = len(report)
        if used + size > DATA_BYTES:
            return False
        self.memory[DATA + used : DATA + used + size] = report
        words[HELD] = held + (1 << 32) + size
        return True

    def held(self) -> bytes:
        """The packet of all reports held back."""
        held: int = self.words[HELD]
        size = held & _BYTES
        return _LIST16 + (held >> 32).to_bytes(2, "big") + self.memory[DATA : DATA + size]

    def held_count(self) -> int:
        """How many reports are held back."""
        held: int = self.words[HELD]
        return held >> 32

    def let_go(self, reports: int) -> None:
        """So many reports have left by the socket: nothing is held back.

        A slot that dies in the middle has told less than it has sent, so that is not seen twice.
        """
        words = self.words
        words[HELD] = 0
        words[ROWS] = 0
        words[SENT] += reports

    # --- rows ----------------------------------------------------------------------------------

    def open_rows(self, first: int, since: int) -> None:
        """Rows from this index on are held back from now on."""
        words = self.words
        words[ROWS_FIRST] = first
        words[ROWS_SINCE] = since

    def add_row(self, data: bytes) -> int:
        """Keep a row's result for later. Returns how many bytes are held then; 0: no room."""
        size = len(data)
        piece = (_BIN8[size] if size < 256 else b"\xc6" + size.to_bytes(4, "big")) + data
        words = self.words
        rows: int = words[ROWS]
        used = rows & _BYTES
        end = used + len(piece)
        if end > DATA_BYTES:
            return 0
        self.memory[DATA + used : DATA + end] = piece
        words[ROWS] = (rows - used) + (1 << 32) + end
        return end

    def rows(self) -> tuple[int, bytes]:
        """How many rows are held back, and their results as a list; of one row, its result."""
        rows: int = self.words[ROWS]
        count = rows >> 32
        return count, _join_rows(count, self.memory[DATA : DATA + (rows & _BYTES)])


def _join_rows(count: int, pieces: bytes) -> bytes:
    if count == 1:
        return pieces[2:] if pieces[0] == 0xC4 else pieces[5:]
    return _LIST32 + count.to_bytes(4, "big") + pieces


class Listener:
    """The agent's eye on a page, and what it knows from there already. Never writes."""

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, BLAME_BYTES, mmap.MAP_SHARED, mmap.PROT_READ)
        self._words = memoryview(self._memory)[:DATA].cast("Q")
        #: Reports that came by the socket, and those known from either side.
        self._heard = 0
        self._known = 0
        #: Rows known from the page: attempt, the first one's identifier, how many.
        self._rows: tuple[int, int, int] | None = None

    @property
    def running(self) -> tuple[int, int, int]:
        """The attempt that runs (0: none), its row, and since when (monotonic, ns)."""
        words = self._words
        return words[BLAME_ATTEMPT], words[BLAME_ROW], words[BLAME_SINCE]

    @property
    def has_more(self) -> bool:
        """Whether more has been sent than heard: of what was sent only now that may not be known."""
        return self._words[SENT] > self._heard

    def hear(self, packet: bytes | bytearray | memoryview) -> list[FromSlot]:
        """What is new in a packet from *talk*.

        Raises:
            msgspec.ValidationError, msgspec.DecodeError: it is none.
        """
        reports: list[FromSlot] = decode_from_slot(packet)
        if self._known == self._heard and self._rows is None:
            self._heard = self._known = self._heard + len(reports)
            return reports
        new: list[FromSlot] = []
        for report in reports:
            self._heard += 1
            if self._heard <= self._known:
                continue
            rest = self._without_known_rows(report)
            if rest is not None:
                new.append(rest)
        self._known = max(self._known, self._heard)
        return new

    def look(self, first_id: int | str | None = None) -> list[FromSlot]:
        """What the slot holds back. All of *talk* must have been heard before.

        Args:
            first_id: the identifier of the bundle that it runs, if it runs one.
        """
        words = self._words
        before = tuple(words)
        held = self._memory[DATA : DATA + max(before[HELD] & _BYTES, before[ROWS] & _BYTES)]
        if before[SENT] != self._heard or tuple(words)[SENT] != before[SENT]:
            return []  # something is on its way
        try:
            return self._read_reports(before, held) + self._read_rows(before, held, first_id)
        except (msgspec.MsgspecError, IndexError):  # read while it was written
            return []

    def _read_reports(self, words: tuple[int, ...], held: bytes) -> list[FromSlot]:
        count = words[HELD] >> 32
        if not count:
            return []
        packet = _LIST16 + count.to_bytes(2, "big") + held[: words[HELD] & _BYTES]
        new = decode_from_slot(packet)[self._known - self._heard :]
        self._known = self._heard + count
        return new

    def _read_rows(
        self, words: tuple[int, ...], held: bytes, first_id: int | str | None
    ) -> list[FromSlot]:
        count, attempt = words[ROWS] >> 32, words[BLAME_ATTEMPT]
        if not count or not attempt or not isinstance(first_id, int):
            return []
        first = first_id + words[ROWS_FIRST]
        known = (
            self._rows[2] if self._rows is not None and self._rows[:2] == (attempt, first) else 0
        )
        if count <= known:
            return []
        data = _join_rows(count, held[: words[ROWS] & _BYTES])
        spent = max(0, words[BLAME_SINCE] - words[ROWS_SINCE]) / 1e9
        whole = Returned(first, attempt, len(data), "", spent, 0, data, count, False)
        self._rows = (attempt, first, count)
        return [_from_row(whole, known)]

    def _without_known_rows(self, report: FromSlot) -> FromSlot | None:
        if self._rows is None or not isinstance(report, (Returned, Raised, Asked)):
            return report
        attempt, first, known = self._rows
        if report.attempt == attempt and report.id == first and isinstance(report, Returned):
            self._rows = None
            return _from_row(report, known) if report.rows > known else None
        return report

    def close(self) -> None:
        """Let go of the page."""
        self._words.release()
        self._memory.close()


def _from_row(report: Returned, known: int) -> Returned:
    """A report of rows without the first few."""
    if not known:
        return report
    assert isinstance(report.id, int)
    assert report.data is not None
    rest = [bytes(raw) for raw in _decode_rows(report.data)[known:]]
    data = _join_rows(len(rest), b"".join(rest))
    return Returned(
        report.id + known,
        report.attempt,
        len(data),
        report.type,
        report.duration_s,
        report.memory_bytes,
        data,
        len(rest),
        report.last,
        report.printed,
    )


def make_page() -> int:
    """The descriptor of a new page."""
    fd = os.memfd_create("treadle-slot") if hasattr(os, "memfd_create") else _unlinked_file()
    os.ftruncate(fd, BLAME_BYTES)
    return fd


def _unlinked_file() -> int:
    import tempfile  # noqa: PLC0415 - where there is no memfd

    fd, path = tempfile.mkstemp()
    os.unlink(path)
    return fd
