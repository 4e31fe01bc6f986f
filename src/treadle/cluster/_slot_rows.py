"""A bundle in a slot: the same function over rows of arguments.

Results of consecutive good rows leave together, about each millisecond; until then they stand in
the page. A row that raises, or has a large result, is told by itself.
"""

from __future__ import annotations

import pickle
import time
from collections.abc import Callable
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle.cluster._packets import (
    BLAME_ATTEMPT,
    BLAME_ROW,
    BLAME_SINCE,
    Raised,
    Returned,
    Task,
)
from treadle.cluster._slot_channel import HOLD_NS, Channel
from treadle.cluster._slot_words import name_of
from treadle.serialize import Packed, loads, pack, unpack

if TYPE_CHECKING:
    from treadle.cluster._slot_inputs import Inputs
    from treadle.wire import Failure, TaskId

#: A result of more bytes is told by itself.
_MOST_ROW: Final = 8 * 1024
#: With so many bytes, results leave though their time has not come.
_MOST_ROWS: Final = 24 * 1024
#: Failures of a bundle that could not be loaded, in one packet.
_AT_ONCE: Final = 100

_PLAIN: Final = frozenset({type(None), bool, int, float})
_PROTOCOL: Final = 5
_NONE: Final = pickle.dumps(None, _PROTOCOL)


class Runner(Protocol):
    """What a bundle needs of its slot."""

    channel: Channel
    in_task: bool
    is_child: bool

    @property
    def is_touched(self) -> Callable[[], bool]: ...
    def load_call(
        self, task: Task, inputs: Inputs | None
    ) -> tuple[Callable[..., Any], Any, Any]: ...
    def inputs_of(self, task: Task) -> Inputs | None: ...
    def run_coroutine(self, coroutine: Any) -> Any: ...
    def deliver(self, id: TaskId, attempt: int, packed: Packed) -> None: ...
    def failure_of(self, error: BaseException, task: Task) -> tuple[Failure, bool]: ...
    def mend(self, spent_ns: int) -> tuple[str, tuple[int, int]]: ...
    def leave_if_child(self, error: BaseException | None) -> None: ...


class Rows:
    """One bundle, on its way through a slot."""

    def __init__(self, slot: Runner, task: Task) -> None:
        assert isinstance(task.id, int), task.id
        self._slot = slot
        self._task = task
        self._first_id = task.id
        self._page = slot.channel.page
        self._words = self._page.words
        self._inputs = slot.inputs_of(task)
        self._kind = ""
        self._is_touched = slot.is_touched
        self._since = time.monotonic_ns()
        #: Whether rows of it change what others find: then all is put back after each.
        self._is_rude = False
        self._worn = ""

    def run(self) -> str:
        """Run all rows and tell how they ended. Returns why the slot is worn, or ''."""
        words, task, slot = self._words, self._task, self._slot
        slot.channel.flush()
        words[BLAME_ROW] = 0
        words[BLAME_SINCE] = time.monotonic_ns()
        words[BLAME_ATTEMPT] = task.attempt
        try:
            slot.in_task = True
            func, args, kwargs = slot.load_call(task, self._inputs)
            slot.in_task = False
        except BaseException as error:  # noqa: BLE001 - it is the outcome of all rows
            slot.in_task = False
            self._all_raised(error)
        else:
            self._page.open_rows(0, self._since)
            for row in range(len(task.rows)):
                try:
                    self._run_row(row, func, args, kwargs)
                except BaseException as error:  # noqa: BLE001 - it is the row's outcome
                    slot.in_task = False
                    self._raised(row, error)
            self._flush(len(task.rows))
        words[BLAME_ATTEMPT] = 0
        return self._worn

    def _run_row(self, row: int, func: Callable[..., Any], args: Any, kwargs: Any) -> None:
        now = time.monotonic_ns()
        words = self._words
        words[BLAME_ROW] = row
        words[BLAME_SINCE] = now
        if now - self._since > HOLD_NS:
            self._flush(row)
        slot = self._slot
        slot.in_task = True
        data = self._task.rows[row]
        inputs = self._inputs
        if inputs is None:
            value = func(*args, *loads(data), **kwargs)
        else:
            value = func(*args, *unpack(data, writable=True, persistent_load=inputs), **kwargs)
        if slot.is_child:
            slot.leave_if_child(None)
        kind = type(value)
        if kind is CoroutineType:
            value = slot.run_coroutine(value)
            kind = type(value)
        if kind in _PLAIN:
            data = _NONE if value is None else pickle.dumps(value, _PROTOCOL)
            self._kind = kind.__name__
        else:
            data = self._pack(row, value, func)
        slot.in_task = False
        if data:
            self._add(row, data)
        if self._is_rude or self._is_touched():
            self._is_rude = True
            self._flush(row + 1)

    def _pack(self, row: int, value: object, func: object) -> bytes:
        """The bytes of a result; none if they have left already, being many."""
        packed = pack(value, home=True, func=func)
        kind = name_of(type(value))
        if packed.nbytes <= _MOST_ROW:
            self._kind = kind
            return packed.to_bytes()
        self._slot.in_task = False
        self._flush(row)
        self._slot.deliver(self._first_id + row, self._task.attempt, packed)
        self._kind = kind
        self._tell(row, 1, packed.nbytes, None)
        self._page.open_rows(row + 1, self._since)
        return b""

    def _add(self, row: int, data: bytes) -> None:
        held = self._page.add_row(data)
        if not held:
            self._flush(row)
            held = self._page.add_row(data)
        if held > _MOST_ROWS:
            self._flush(row + 1)

    # --- telling -------------------------------------------------------------------------------

    def _flush(self, next_row: int) -> None:
        """Tell of the rows before this one that are held back."""
        count, data = self._page.rows()
        if count:
            self._tell(next_row - count, count, len(data), data)
        self._page.open_rows(next_row, self._since)

    def _tell(self, row: int, count: int, nbytes: int, data: bytes | None) -> None:
        spent, printed = self._settle()
        task = self._task
        last = row + count == len(task.rows)
        self._slot.channel.say(
            Returned(
                self._first_id + row,
                task.attempt,
                nbytes,
                self._kind,
                spent,
                0,
                data,
                count,
                last,
                printed,
            )
        )

    def _raised(self, row: int, error: BaseException) -> None:
        self._slot.leave_if_child(error)
        failure, final = self._slot.failure_of(error, self._task)
        self._flush(row)
        spent, printed = self._settle()
        task = self._task
        last = row + 1 == len(task.rows)
        self._slot.channel.say(
            Raised(self._first_id + row, task.attempt, failure, spent, final, last, printed)
        )
        self._page.open_rows(row + 1, self._since)

    def _all_raised(self, error: BaseException) -> None:
        self._slot.leave_if_child(error)
        failure, final = self._slot.failure_of(error, self._task)
        spent, printed = self._settle()
        task, count = self._task, len(self._task.rows)
        reports = [
            Raised(self._first_id + row, task.attempt, failure, spent, final, row + 1 == count)
            for row in range(count)
        ]
        reports[0] = Raised(
            self._first_id, task.attempt, failure, spent, final, count == 1, printed
        )
        for start in range(0, count, _AT_ONCE):
            self._slot.channel.say(*reports[start : start + _AT_ONCE])

    def _settle(self) -> tuple[float, tuple[int, int]]:
        """Put back what rows have changed. How long they took; what they printed."""
        now = time.monotonic_ns()
        spent, self._since = now - self._since, now
        worn, printed = self._slot.mend(spent)
        self._worn = self._worn or worn
        return spent / 1e9, printed
