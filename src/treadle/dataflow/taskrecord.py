"""What the kernel holds of a task.

A `TaskRecord` is one slotted object: the machine's `Node` (identity, state, budget) and the
shell's part (function, arguments, futures, times). A slot that was never set reads as its
default, so that a plain task pays for what it uses. It also answers as the mapping that users'
hooks know: `record["status"]`, `"status" in record`, `record.get("status")`.
"""

from __future__ import annotations

import weakref
from datetime import datetime
from typing import TYPE_CHECKING, Any

from treadle.dataflow._node import Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from treadle.dataflow.dflow import DataFlowKernel
    from treadle.dataflow.futures import AppFuture

_DEFAULTS: dict[str, Any] = {
    "_future": None,
    "args": (),
    "bound": False,
    "checkpoint": False,
    "depends": (),
    "easy": False,
    "error": None,
    "exec_fu": None,
    "executor": None,
    "from_memo": None,
    "func": None,
    "gated": False,
    "ignore_for_cache": (),
    "joins": None,
    "stage": None,
    "t_invoked": None,
    "t_launched": None,
    "t_returned": None,
    "t_running": None,
    "t_try_returned": None,
}


class TaskRecord(Node):
    """One task of a kernel: read it; only the kernel writes it."""

    __slots__ = (
        "_future",
        "_history",
        "_kwargs",
        "args",
        "bound",
        "checkpoint",
        "depends",
        "dfk",
        "easy",
        "error",
        "exec_fu",
        "executor",
        "from_memo",
        "func",
        "func_name",
        "gated",
        "ignore_for_cache",
        "joins",
        "resource_specification",
        "stage",
        "t_invoked",
        "t_launched",
        "t_returned",
        "t_running",
        "t_try_returned",
    )

    #: The kernel it belongs to.
    dfk: DataFlowKernel
    #: What is called; None once the record has been dropped.
    func: Callable[..., Any]
    #: The name of the app.
    func_name: str
    #: Positional arguments, futures in them replaced by results once it is launched.
    args: tuple[Any, ...]
    #: Label of the executor it runs on.
    executor: str | None
    #: Its arguments need no user code to be bound, and are futures of ours at most.
    easy: bool
    #: The futures in its arguments have been replaced by their results.
    bound: bool
    #: Futures it waits for or waited for.
    depends: tuple[Any, ...]
    #: The executor's future of the current attempt, or the memo table's.
    exec_fu: Any
    #: Names of arguments that are no part of the memo key.
    ignore_for_cache: tuple[str, ...]
    #: True: the outcome came from the memo table; False: it was looked up in vain.
    from_memo: bool | None
    #: Its result is in a checkpoint.
    checkpoint: bool
    #: What a join app returned.
    joins: Any
    #: What the caller asked of the executor.
    resource_specification: dict[str, Any]
    #: The failure that the shell met while preparing, launching or judging, or was told of.
    error: Any
    #: It holds a place of `max_pending`.
    gated: bool
    #: Seconds since the epoch; the `time_*` properties show them as moments.
    t_invoked: float | None
    t_launched: float | None
    t_running: float | None
    t_try_returned: float | None
    t_returned: float | None
    #: The user's future: held while the task is open, known weakly after that.
    _future: Any
    _kwargs: dict[str, Any]
    _history: list[str]
    #: Pickled call, for executors that take bytes: made once, used by every attempt. Of a task that
    #: is handed over early, the call until it is taken, then None, then what it was told to end in.
    stage: Any

    def __getattr__(self, name: str) -> Any:
        # Reached only for a slot that was never set (or no attribute at all).
        if name == "resource_specification":
            return {}  # each time another one: executors are handed it, and may change it
        try:
            return _DEFAULTS[name]
        except KeyError:
            raise AttributeError(f"a TaskRecord has no field {name!r}") from None

    # --- fields that are made when asked for ------------------------------------------------------

    @property
    def app_fu(self) -> AppFuture[Any] | None:
        """The user's future; None if the task has ended and nobody holds it any more."""
        future = self._future
        return future() if isinstance(future, weakref.ref) else future

    @property
    def kwargs(self) -> dict[str, Any]:
        """Keyword arguments, futures in them replaced by results once it is launched."""
        try:
            return self._kwargs
        except AttributeError:
            return {}

    @kwargs.setter
    def kwargs(self, value: dict[str, Any]) -> None:
        self._kwargs = value

    @property
    def fail_history(self) -> list[str]:
        """The repr of every failure so far, oldest first."""
        try:
            return self._history
        except AttributeError:
            self._history = []
            return self._history

    @property
    def time_invoked(self) -> datetime | None:
        """When the app was called."""
        return _moment(self.t_invoked)

    @property
    def try_time_launched(self) -> datetime | None:
        """When the current attempt was handed to its executor."""
        return _moment(self.t_launched)

    @property
    def try_time_running(self) -> datetime | None:
        """When the current attempt began to run, once it has ended; None if nobody could tell."""
        return _moment(self.t_running)

    @property
    def try_time_returned(self) -> datetime | None:
        """When the current attempt ended."""
        return _moment(self.t_try_returned)

    @property
    def time_returned(self) -> datetime | None:
        """When the task ended."""
        return _moment(self.t_returned)

    def drop(self) -> None:
        """Let go of all that only a task that may still run needs."""
        self.func = None  # type: ignore[assignment]
        self.args = ()
        self.depends = ()
        self._kwargs = {}
        self.exec_fu = self.joins = self.stage = self.error = None
        if not isinstance(self._future, weakref.ref):
            self._future = weakref.ref(self._future)

    # --- as a mapping ---------------------------------------------------------------------------

    def __getitem__(self, key: str) -> Any:
        if key not in FIELDS:
            raise KeyError(key)
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        if key not in FIELDS:
            raise KeyError(f"{key!r} is no field of a TaskRecord; it has: {', '.join(FIELDS)}")
        setattr(self, key, value)

    def __contains__(self, key: object) -> bool:
        return key in FIELDS

    def __iter__(self) -> Iterator[str]:
        return iter(FIELDS)

    def get(self, key: str, default: Any = None) -> Any:
        """The field, or the default if there is no field of that name."""
        return getattr(self, key) if key in FIELDS else default

    def keys(self) -> tuple[str, ...]:
        """The names of all fields."""
        return FIELDS

    def __repr__(self) -> str:
        return f"<TaskRecord {self.id} {self.func_name} {self.status.name} attempt {self.try_id}>"


#: What `record[...]` knows.
FIELDS = (
    "app_fu",
    "args",
    "checkpoint",
    "depends",
    "dfk",
    "exec_fu",
    "executor",
    "fail_cost",
    "fail_count",
    "fail_history",
    "from_memo",
    "func",
    "func_name",
    "hashsum",
    "id",
    "ignore_for_cache",
    "join",
    "joins",
    "kwargs",
    "memoize",
    "resource_specification",
    "status",
    "time_invoked",
    "time_returned",
    "try_id",
    "try_time_launched",
    "try_time_returned",
    "try_time_running",
)


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds)
