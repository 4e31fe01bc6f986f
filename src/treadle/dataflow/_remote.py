"""Results and errors that are not here yet: what stands in a future until somebody wants to see it.

Two rules. To *know* how a task ended loads nothing: a future holds a `Remote` in place of its
result, or a `LateError` in place of its exception, and is done. To *see* it runs code of the user's
(unpickling), so that happens in the thread of who asks, once, and never on the engine thread.

A `Remote` is also the lease of the result: as long as one of them lives (in a future, in the
arguments of a task that has not ended, in the future of a join that passed it on), the result is
kept where it is; its end appends the number to a queue, and the engine releases it at its leisure.
Garbage collection may strike anywhere, so that append is all: no lock, no wake-up, no message.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from treadle.dataflow import _lazy
from treadle.dataflow._lazy import pass_gate

if TYPE_CHECKING:
    from collections import deque

    from treadle.dataflow._sink import RemoteValue

#: In place of a value that has not been loaded.
_NOT_HERE: Any = object()

#: A loader that is nobody for so long was struck by Ctrl-C while it took its turn.
_PATIENCE_S = 0.5


class Remote:
    """A result that its cluster holds; the value is loaded when somebody asks for it.

    Args:
        value: how to get it; None once it is here.
        number: of the task whose result it is; None if it is made of several.
        home: tells the cluster that holds it, as other tasks' arguments name it there.
        gone: where the number is appended when nobody holds this any more.
    """

    __slots__ = ("_gate", "_gone", "_loader", "_value", "handle", "home", "number")

    def __init__(
        self,
        handle: RemoteValue,
        number: int | None = None,
        home: object = None,
        gone: deque[int] | None = None,
    ) -> None:
        self.handle: RemoteValue | None = handle
        self.number = number
        self.home = home
        self._gone = gone
        self._value = _NOT_HERE
        self._gate: threading.Lock | None = None
        self._loader: int | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether the value is here, as an object."""
        return self._value is not _NOT_HERE

    @property
    def is_near(self) -> bool:
        """Whether to load it needs no transfer."""
        handle = self.handle
        return handle is None or handle.is_near

    def get(self, timeout: float | None = None) -> Any:
        """The value, the same object each time. Raises what `RemoteValue.load` raises."""
        value = self._value
        return self._load(timeout) if value is _NOT_HERE else value

    def bring(self, then: Callable[[], None]) -> None:
        """Have it brought to this machine; `then` is called when it is there or surely gone."""
        handle = self.handle
        if handle is None:
            then()
        else:
            handle.bring(then)

    def _load(self, timeout: float | None) -> Any:
        until = None if timeout is None else time.monotonic() + timeout
        gate = self._gate or self._make_gate()
        me = threading.get_ident()
        # Who asks again while it loads, from inside of what it loads, must not wait for himself.
        mine = self._loader != me and (gate.acquire(False) or self._take_turn(gate, until))
        try:
            if mine:
                self._loader = me
            handle = self.handle
            if self._value is _NOT_HERE and handle is not None:
                if until is not None:
                    timeout = max(0.0, until - time.monotonic())
                value = handle.load(timeout)
                if self._value is _NOT_HERE:
                    self._value = value
                self.handle = None
            return self._value
        finally:
            if mine:
                self._loader = None
                gate.release()

    def _make_gate(self) -> threading.Lock:
        fresh = threading.Lock()
        with _lazy.lock:
            self._gate = gate = self._gate or fresh
        return gate

    def _take_turn(self, gate: threading.Lock, until: float | None) -> bool:
        """Wait for whoever loads it now; False: his turn never ends, nobody is there."""
        while True:
            left_s = None if until is None else max(0.0, until - time.monotonic())
            nap_s = _PATIENCE_S if left_s is None else min(left_s, _PATIENCE_S)
            if pass_gate(gate, nap_s):
                return True
            if until is not None and time.monotonic() >= until:
                raise TimeoutError
            if self._loader is None:
                return False

    def __del__(self) -> None:
        gone = self._gone
        if gone is not None:
            gone.append(self.number)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        where = "here" if self.is_loaded else "near" if self.is_near else "elsewhere"
        return f"<Remote result of task {self.number}, {where}>"


class Several:
    """A list of results of which some are elsewhere: what a join of several tasks results in.

    Args:
        parts: results, those that are elsewhere as `Remote`s.
    """

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    @property
    def nbytes(self) -> int:
        """See `RemoteValue`."""
        return sum(part.handle.nbytes for part in self._remote() if part.handle is not None)

    @property
    def is_near(self) -> bool:
        """See `RemoteValue`."""
        return all(part.is_near for part in self._remote())

    def load(self, timeout: float | None = None, *, writable: bool = True) -> list[Any]:
        """See `RemoteValue`."""
        until = None if timeout is None else time.monotonic() + timeout
        values = []
        for part in self._parts:
            if type(part) is Remote:
                left_s = None if until is None else max(0.0, until - time.monotonic())
                part = part.get(left_s)
            values.append(part)
        return values

    def bring(self, then: Callable[[], None]) -> None:
        """See `RemoteValue`."""
        bring_all(self._remote(), then)

    def _remote(self) -> list[Remote]:
        return [part for part in self._parts if type(part) is Remote]


def bring_all(remote: Sequence[Remote], then: Callable[[], None]) -> None:
    """Have all of these brought to this machine; `then` is called once, when they are."""
    far = [part for part in remote if not part.is_near]
    if not far:
        then()
        return
    left = [len(far)]

    def one_is_here() -> None:
        left[0] -= 1
        if not left[0]:
            then()

    for part in far:
        part.bring(one_is_here)


class LateError:
    """An exception that is made when somebody wants to see it.

    Args:
        make: makes it; what it raises is the exception.
        needs: others that `make` will ask for; they are made before, so that a failure that has
            gone down a chain of thousands of tasks is made without recursion.
    """

    __slots__ = ("_made", "_make", "_needs")

    def __init__(self, make: Callable[[], BaseException], needs: Sequence[LateError] = ()) -> None:
        self._make: Callable[[], BaseException] | None = make
        self._needs = needs
        self._made: BaseException | None = None

    def get(self) -> BaseException:
        """The exception, the same object each time."""
        stack = [self]
        while stack:
            missing = [error for error in stack[-1]._needs if error._made is None]
            if missing:
                stack += missing
            else:
                stack.pop()._get_made()
        return self._get_made()

    def _get_made(self) -> BaseException:
        make = self._make
        if self._made is None and make is not None:
            try:
                made = make()
            except Exception as failure:  # noqa: BLE001 - it stands for the one that cannot be made
                made = failure
            with _lazy.lock:
                if self._made is None:
                    self._made = made
            self._make, self._needs = None, ()
        assert self._made is not None
        return self._made

    def __repr__(self) -> str:
        return "<LateError>" if self._made is None else f"<LateError {type(self._made).__name__}>"


def seen(error: BaseException | LateError) -> BaseException:
    """The exception itself."""
    # Not isinstance: what a class of the user's says of itself may raise.
    if type(error) is LateError:
        return error.get()
    return cast("BaseException", error)
