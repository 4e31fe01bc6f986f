"""Results as their client has them: here in bytes, or on a worker.

Two rules. Code of the user's runs in the thread that calls `load`, and nowhere else: whatever is
on the engine thread is bytes. And what `load` gives is the caller's alone: made anew each time,
in memory that nobody else sees change.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from treadle.dataflow._lazy import LazyFuture
from treadle.serialize import unpack

if TYPE_CHECKING:
    from treadle.wire import Done, TaskId

_LIST: msgspec.msgpack.Decoder[list[bytes]] = msgspec.msgpack.Decoder(list[bytes])

Buffer = bytes | bytearray | memoryview


class Bringer(Protocol):
    """Who fetches results: the session, on its engine."""

    @property
    def is_local(self) -> bool:
        """All workers are on this machine."""

    def call(self, fn: Callable[[], None]) -> None:
        """Have this called on the engine thread, now if this is it."""

    @property
    def dead(self) -> BaseException | None:
        """Why nothing works any more in this process."""

    def fetch(self, result: RemoteResult) -> None:
        """Fetch this; it is told `brought` or `gone`. On the engine thread."""


class InlineValue:
    """A result that came with its outcome."""

    __slots__ = ("_call", "data", "listed", "type")

    def __init__(
        self, data: bytes, call: Callable[[Callable[[], None]], None], listed: bool, type: str
    ) -> None:
        self.data = data
        self.type = type
        self._call = call
        #: It is a part of a map: its value is a list.
        self.listed = listed

    @property
    def nbytes(self) -> int:
        """Its size."""
        return len(self.data)

    @property
    def failure(self) -> BaseException | None:
        """It is not gone."""
        return None

    @property
    def is_near(self) -> bool:
        """It is here."""
        return True

    is_here = True

    def load(self, timeout: float | None = None, *, writable: bool = True) -> Any:
        """Its value; see `RemoteValue`."""
        return value_of(self.data, listed=self.listed, writable=writable)

    def pieces(self, timeout: float | None = None) -> Sequence[Buffer]:
        """The bytes of each row."""
        return rows_of(self.data)

    def bring(self, then: Callable[[], None]) -> None:
        """It is here already."""
        self._call(then)

    def found(self, done: Done) -> None:
        """It is known."""

    def lost(self) -> None:
        """Nothing is lost."""

    def gone(self, error: Callable[[], BaseException]) -> None:
        """It is not."""


class _State(Enum):
    there = "on a worker"
    again = "being computed again"
    gone = "gone"


class RemoteResult:
    """A result that is on a worker. All but `load` happens on the engine thread."""

    __slots__ = (
        "_at_home",
        "_bringer",
        "_brought",
        "_error",
        "_fetching",
        "_lock",
        "_parts",
        "_state",
        "_waiters",
        "holders",
        "id",
        "listed",
        "nbytes",
        "rows",
        "type",
    )

    def __init__(self, bringer: Bringer, done: Done, *, listed: bool = False) -> None:
        self.id: TaskId = done.id
        self.nbytes = done.nbytes
        self.type = done.type
        self.rows = done.rows
        #: Workers that should have it.
        self.holders: tuple[str, ...] = done.holders
        self.listed = listed
        self._bringer = bringer
        self._state = _State.there
        #: It has been brought, and nobody has taken it yet.
        self._brought: Buffer | None = None
        self._error: Callable[[], BaseException] | None = None
        self._fetching = False
        #: What was brought stays, and is loaded from as often as one likes.
        self._at_home = False
        #: Told when it is here or gone.
        self._waiters: list[Callable[[], None]] = []
        #: Computed again, it came in other parts.
        self._parts: dict[int, Any] | None = None
        self._lock = threading.Lock()

    # --- from any thread ---------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        """Whether it will never be there again."""
        return self._state is _State.gone

    @property
    def failure(self) -> BaseException | None:
        """Why it is gone; None: it is not. To make an exception may be code of the user's."""
        error = self._error
        return None if error is None else error()

    @property
    def is_near(self) -> bool:
        """Whether `load` needs no transfer from another machine."""
        return self._brought is not None or self._bringer.is_local

    def load(self, timeout: float | None = None, *, writable: bool = True) -> Any:
        """Its value; see `RemoteValue`.

        Raises:
            TimeoutError: it is not here yet.
            ResultLost, SchedulerLost: it is gone.
            DeserializationError: it cannot be loaded in this process.
        """
        until = None if timeout is None else time.monotonic() + timeout
        data = self._data(timeout)
        if data is not None:
            return value_of(data, listed=self.listed, writable=writable)
        parts = self._parts or {}
        lists = [parts[start].load(_left(until), writable=writable) for start in sorted(parts)]
        return [value for each in lists for value in each]

    def pieces(self, timeout: float | None = None) -> Sequence[Buffer]:
        """The bytes of each of its rows; raises as `load`."""
        until = None if timeout is None else time.monotonic() + timeout
        data = self._data(timeout)
        if data is not None:
            return rows_of(data)
        parts = self._parts or {}
        return [piece for start in sorted(parts) for piece in parts[start].pieces(_left(until))]

    def _data(self, timeout: float | None) -> Buffer | None:
        """Its bytes; None: it has been computed again, and came in other parts."""
        data = self._take()
        while data is None:
            if self._error is not None:
                raise self._error()
            if self._bringer.dead is not None:
                raise self._bringer.dead
            arrived: LazyFuture[None] = LazyFuture()
            self.bring(partial(_settle, arrived))
            arrived.result(timeout)
            if self._has_all_parts():
                return None
            # Another thread may have been faster: then it is fetched once more.
            data = self._take()
        return data

    def bring(self, then: Callable[[], None]) -> None:
        """Have it brought to this machine; `then` is called when it is here or surely gone."""
        self._bringer.call(lambda: self._bring(then))

    @property
    def is_here(self) -> bool:
        """Whether it can be loaded without anybody's help, always."""
        return self._at_home

    def stay(self) -> bool:
        """What was brought is not given away any more; False if nothing was. Nobody fetches now."""
        with self._lock:
            self._at_home = self._brought is not None
        return self._at_home

    def _take(self) -> Buffer | None:
        """What was brought, for one alone: it may write into it."""
        if self._brought is None:
            return None
        if self._at_home:
            return bytearray(self._brought)
        with self._lock:
            data, self._brought = self._brought, None
        return data

    # --- on the engine thread ----------------------------------------------------------------

    def _bring(self, then: Callable[[], None]) -> None:
        if self._brought is not None or self._state is _State.gone or self._has_all_parts():
            then()
            return
        self._waiters.append(then)
        self._fetch()

    def _fetch(self) -> None:
        if not self._fetching and self._waiters and self._state is _State.there:
            self._fetching = True
            self._bringer.fetch(self)

    @property
    def is_there(self) -> bool:
        """Whether a worker should have it: it is neither being computed again nor gone."""
        return self._state is _State.there

    def brought(self, data: Buffer) -> None:
        """Here it is."""
        self._fetching = False
        self._brought = data
        self._tell()

    def not_brought(self) -> None:
        """It could not be had from anybody, and is not known to be gone: wait for news of it."""
        self._fetching = False
        if self._state is _State.there:
            self._state = _State.again

    def found(self, done: Done) -> None:
        """It, or a part of it, is there (again)."""
        if self._state is _State.gone:
            return
        if done.id == self.id and done.rows == self.rows:
            self.holders = done.holders
            self.nbytes = done.nbytes
            self._state = _State.there
            if done.inline is not None and self._waiters:
                self.brought(done.inline)
            self._fetch()
        elif isinstance(done.id, int):
            if self._parts is None:
                self._parts = {}
            self._parts[done.id] = RemoteResult(self._bringer, done, listed=True)
            if done.inline is not None:
                self._parts[done.id]._brought = done.inline
            if self._has_all_parts():
                self._tell()

    def lost(self) -> None:
        """It is being computed again."""
        if self._state is _State.there:
            self._state = _State.again

    def gone(self, error: Callable[[], BaseException]) -> None:
        """It will never be there again; what has been brought is still good."""
        if self._state is not _State.gone:
            self._state = _State.gone
            self._error = error
            self._fetching = False
            self._tell()

    def _has_all_parts(self) -> bool:
        return self._parts is not None and sum(p.rows for p in self._parts.values()) >= self.rows

    def _tell(self) -> None:
        waiters, self._waiters = self._waiters, []
        for then in waiters:
            then()


def value_of(data: Buffer, *, listed: bool, writable: bool) -> Any:
    """The value in the bytes of a result. Runs code of the user's."""
    if not listed:
        return unpack(data, writable=writable)
    return [unpack(each, writable=writable) for each in rows_of(data)]


def rows_of(data: Buffer) -> Sequence[Buffer]:
    """The results in what a worker keeps of several rows: a list of them, or one as it is."""
    first = data[0] if len(data) else 0
    # What no list begins with: a pickle, and the head of a value with buffers.
    return [data] if first in (0x80, ord("T")) else _LIST.decode(data)


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())


def _settle(future: LazyFuture[None]) -> None:
    if not future.done():
        future.set_result(None)
