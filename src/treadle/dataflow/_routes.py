"""The kernel's way to one executor: what it takes, and how it is told.

Looked up once, when the executor is added: whether its `submit` has a parameter
`resource_specification`, whether calls must be pickled, whether it may be called on the engine
thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from treadle.errors import InvalidResourceSpecification
from treadle.serialize import PackedCall, dumps_call

if TYPE_CHECKING:
    from treadle.dataflow.taskrecord import TaskRecord


class Route:
    """How tasks reach one executor."""

    __slots__ = ("_submit", "_takes_specification", "executor", "pickles", "quick", "track")

    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self._submit: Callable[..., Future[Any]] = executor.submit
        self._takes_specification = takes_specification(executor.submit)
        self.pickles = bool(getattr(executor, "pickles_tasks", False))
        self.quick = bool(getattr(executor, "submits_quickly", False))
        #: The executor's own `tasks`, where it leaves the filling to us.
        self.track: dict[object, Future[Any]] | None = None
        if not self.quick and callable(known := getattr(executor, "_known", None)):
            self.track = known()

    def submit(self, record: TaskRecord) -> Future[Any]:
        """Hand an attempt to the executor.

        Raises:
            BaseException: the attempt cannot be made; this is its outcome.
        """
        if getattr(self.executor, "bad_state_is_set", False):
            raise self.executor.executor_exception
        func, args, kwargs = record.func, record.args, record.kwargs
        if self.pickles:
            if record.stage is None:
                record.stage = PackedCall(dumps_call(func, args, kwargs))
            func, args, kwargs = record.stage, (), {}
        specification = record.resource_specification
        if self._takes_specification:
            future = self._submit(func, specification, *args, **kwargs)
        elif specification:
            raise InvalidResourceSpecification(
                specification, "its submit() takes none", executor=self.executor
            )
        else:
            future = self._submit(func, *args, **kwargs)
        if not isinstance(future, Future):
            raise TypeError(
                f"executor {self.executor.label!r}: submit() must return a "
                f"concurrent.futures.Future, not {type(future).__name__}"
            )
        if self.track is not None:
            self.track[id(future)] = future
            future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        if self.track is not None:
            self.track.pop(id(future), None)


def takes_specification(submit: Callable[..., Any]) -> bool:
    """Whether an executor's `submit` has a parameter named `resource_specification`."""
    try:
        return "resource_specification" in inspect.signature(submit).parameters
    except (TypeError, ValueError):
        return False
