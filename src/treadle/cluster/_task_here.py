"""The task that runs in this process, if it is a slot: who it is, and what its code may ask for.

Code that waits for other tasks says so (`aside`): its turn is another's then, and comes back when
the wait is over. So tasks that wait for tasks never block a worker, at any depth. Elsewhere than in
a slot all of this does nothing, at the cost of one look at a global.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from treadle.cluster._connection import Connection
    from treadle.wire import TaskId


class TaskHere(NamedTuple):
    """The task that runs here.

    Attributes:
        key: what people see.
        attempt: which try it is, of all that the scheduler has handed out.
        name: of its function.
        worker: whose slot this is.
    """

    key: str
    attempt: int
    name: str
    worker: str
    id: TaskId


class Seat(Protocol):
    """What a slot does for the code of its tasks."""

    def current(self) -> TaskHere | None:
        """See the function."""

    def running(self) -> TaskId | None:
        """See the function."""

    def connection(self) -> Connection | None:
        """See the function."""

    def aside(self) -> AbstractContextManager[object]:
        """See the function."""

    def awaiting(self) -> AbstractContextManager[object]:
        """See the function."""

    def secede(self) -> None:
        """See the function."""

    def rejoin(self) -> None:
        """See the function."""

    def seem_idle(self) -> None:
        """See the function."""

    def at_end(self, fn: Callable[[], None]) -> None:
        """See the function."""

    def at_close(self, fn: Callable[[], None]) -> None:
        """See the function."""


#: Stands in the names of clients that tasks make, behind their worker's.
OF_TASK: Final = "/task-"

_NOTHING: Final = nullcontext()
_seat: Seat | None = None


#: This process was forked by a task.
_was_forked = False


def take(seat: Seat) -> None:
    """This process is a slot from now on."""
    global _seat
    _seat = seat


def leave() -> None:
    """This is a process that a task has forked: it is no slot."""
    global _seat, _was_forked
    _seat, _was_forked = None, True


def is_slot() -> bool:
    """Whether this process is a slot, and no process that a task has forked."""
    return _seat is not None


def was_forked() -> bool:
    """Whether this process was forked by a task."""
    return _was_forked


def current() -> TaskHere | None:
    """The task that runs in this process; None if there is none."""
    return None if _seat is None else _seat.current()


def running() -> TaskId | None:
    """The identifier of the task that runs in this process, as `current` has it; cheaper."""
    return None if _seat is None else _seat.running()


def connection() -> Connection | None:
    """Where the scheduler is that this slot's worker belongs to; None if this is no slot."""
    return None if _seat is None else _seat.connection()


def aside() -> AbstractContextManager[object]:
    """Within, this thread is blocked until others have done something: the turn is another's.

    It nests, and counts over all threads of a task. To leave it may take a while: a turn is waited
    for. So enter it only when there is something to wait for.
    """
    return _NOTHING if _seat is None else _seat.aside()


def awaiting() -> AbstractContextManager[object]:
    """As `aside`, round an `await`: the turn is another's while the task's event loop has nothing
    else to do."""
    return _NOTHING if _seat is None else _seat.awaiting()


def secede() -> None:
    """From now on the running task takes no turn."""
    if _seat is not None:
        _seat.secede()


def rejoin() -> None:
    """Take a turn again; waits for it."""
    if _seat is not None:
        _seat.rejoin()


def seem_idle() -> None:
    """The running task seems to wait for others, in a way that nobody knows of.

    It takes no turn until it says, by `aside`, that it has waited; or until its end.
    """
    if _seat is not None:
        _seat.seem_idle()


def at_end(fn: Callable[[], None]) -> None:
    """Have this called, once, when the task that runs now (a row of a bundle is one) has ended.

    It is called before the task's outcome is told, in the task's thread. Elsewhere it never is.
    """
    if _seat is not None:
        _seat.at_end(fn)


def at_close(fn: Callable[[], None]) -> None:
    """Have this called, once, before this process ends in peace. Elsewhere it never is."""
    if _seat is not None:
        _seat.at_close(fn)
