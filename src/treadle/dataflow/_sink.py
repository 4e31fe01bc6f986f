"""The kernel's port to executors that take references.

An ordinary executor gets values, one call at a time, by `submit`. One that also has a method
`open_sink` gets tasks whose arguments may name results of other tasks it was given: a whole graph
at once, results that stay where they were made, outcomes in batches. The kernel owns this port;
who implements it lives on a lower floor.

All methods of a sink may be called from any thread and never block. What it tells, it tells on the
engine thread, in the order in which it happened: the outcome of a task comes after those of all it
depends on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct


class RemoteValue(Protocol):
    """A result that may be elsewhere, or here in bytes. One object for each result; dropping the
    last reference to it does not release the result: that is said by `TaskSink.release`."""

    @property
    def nbytes(self) -> int:
        """Its size."""

    @property
    def is_near(self) -> bool:
        """Whether `load` needs no transfer from another machine."""

    def load(self, timeout: float | None = None, *, writable: bool = True) -> Any:
        """Its value, made anew at each call: in the thread of who wants it, since it runs code of
        the user's. The timeout covers a transfer, and a recompute if every copy was lost.

        Raises:
            TimeoutError: it is not here yet.
            ResultLost, SchedulerLost: it is gone.
            DeserializationError: it cannot be loaded in this process.
        """

    def bring(self, then: Callable[[], None]) -> None:
        """Have it brought to this machine; `then` is called on the engine thread when it is there
        or surely gone."""


class Try(Struct, frozen=True, gc=False):
    """An attempt that failed and was followed by another. `error`: made when asked for. `costs`: it
    spent a retry; the death of a process spends none."""

    text: str
    error: Callable[[], BaseException]
    costs: bool = True


class SinkOutcome(Struct, frozen=True, gc=False):
    """How a task ended, once. `value`: its result; None if it failed. `error`: makes the exception,
    in the thread of who wants it (it may run code of the user's); None if there is a result or it
    was `cancelled`. `text`: the repr of that exception. `blame`: the task whose failure it is, if
    it is another's, or whose result is missing: it may then be told before all that the task depends
    on has ended. `tries`: the failed attempts before, oldest first. `rows`: of a map, the same for so
    many rows from `id` on; `value` is then the list of their results, and parts of one map may come
    in any order. `dependency`: the app itself raised a `DependencyError`."""

    id: int
    value: RemoteValue | None = None
    error: Callable[[], BaseException] | None = None
    text: str = ""
    cancelled: bool = False
    blame: int | None = None
    tries: Sequence[Try] = ()
    rows: int = 1
    dependency: bool = False


class SinkTask(Struct, frozen=True, gc=False):
    """A task for a sink. `call`: what its `pack` returned. `dependencies`: the numbers of the tasks
    that `call` names. `options`: what its `options` returned. `rows`: of a map, packed arguments;
    row `i` is task `id + i`."""

    id: int
    name: str
    call: Any
    dependencies: tuple[int, ...] = ()
    options: Any = None
    rows: Sequence[bytes] | None = None


class TaskSink(Protocol):
    """Where tasks with references go."""

    def pack(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        number_of: Callable[[Any], int | None],
        writable: bool = False,
    ) -> Any:
        """The call as it travels; in the caller's thread, which runs code of the user's.

        Futures in it are references, for which `number_of` has a number, or `PutFuture`s, which are
        values that were named once: to be taken once, however many calls they are in.

        Args:
            number_of: the number of the task whose result an argument stands for; None if it
                stands for itself. Asked of each argument, keyword argument and item of `inputs`
                (and of what is inside of them, where the caller's resolver looks there too).
            writable: large arguments are the task's own to write to, not read-only.

        Raises:
            SerializationError: something in it cannot be pickled; the text has the path.
        """

    def pack_rows(self, rows: Sequence[tuple[Any, ...]]) -> list[bytes]:
        """Positional arguments of rows of a map, each on its own. Raises as `pack` does."""

    def options(self, specification: Mapping[str, Any], retries: float) -> Any:
        """What `SinkTask.options` is to be.

        Raises:
            InvalidResourceSpecification: it has keys or values that cannot be honoured.
        """

    def admit(self, tasks: Sequence[SinkTask]) -> None:
        """Take these tasks: what they depend on was admitted before, or is among them."""

    def release(self, ids: Sequence[int]) -> None:
        """Nobody wants these results any longer; said once of each task that was not cancelled,
        after it was told how it ended. Of a map: the identifier of an outcome stands for its rows."""

    def cancel(self, ids: Sequence[int]) -> None:
        """Stop these, whatever they do, and release them. No outcome of them is told after this. Of
        a map: its first identifier stands for all rows that have not been told."""


#: Told of outcomes, on the engine thread.
Listener = Callable[[Sequence[SinkOutcome]], None]
