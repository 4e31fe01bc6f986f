"""The kernel's way to one executor: what it takes, and how it is told.

Looked up once, when the executor is added: whether its `submit` has a parameter
`resource_specification`, whether calls must be pickled, whether it may be called on the engine
thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle.dataflow._lazy import LazyFuture
from treadle.errors import InvalidResourceSpecification
from treadle.runtime.threads import Marked
from treadle.serialize import PackedCall, dumps_call

if TYPE_CHECKING:
    from treadle.dataflow._references import References
    from treadle.dataflow.taskrecord import TaskRecord


class Route:
    """How tasks reach one executor.

    Args:
        executor: anything with the methods of `ParslExecutor`.
        gated: app calls may have to wait for room, which those inside tasks must not.
    """

    __slots__ = (
        "_marks",
        "_names",
        "_submit",
        "_takes_specification",
        "executor",
        "loads",
        "pickles",
        "quick",
        "references",
        "track",
    )

    def __init__(self, executor: Any, *, gated: bool = False) -> None:
        self.executor = executor
        self._submit: Callable[..., Future[Any]] = executor.submit
        #: What `submit` calls its own parameters: an app's argument of such a name would be taken
        #: for one of them.
        self._names = parameters(executor.submit)
        self._takes_specification = "resource_specification" in self._names
        self.pickles = bool(getattr(executor, "pickles_tasks", False))
        #: Its way for tasks whose arguments may be results that stay where they are.
        self.references: References | None = None
        takes_references = hasattr(executor, "open_sink")
        #: To read the future of an attempt runs code of the user's.
        self.loads = self.pickles or takes_references
        self.quick = bool(getattr(executor, "submits_quickly", False)) and not takes_references
        self._marks = gated and not self.quick and not self.loads
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
            return _failed(self.executor.executor_exception)
        func, args, kwargs = record.func, record.args, record.kwargs
        specification = record.resource_specification
        if self.pickles:
            if record.stage is None:
                record.stage = PackedCall(dumps_call(func, args, kwargs))
            func, args, kwargs = record.stage, (), {}
        elif self._marks:
            func = Marked(func)
        elif self.references is not None:
            plain = for_process(func, kwargs, specification)
            if not plain[3]:  # else the executor is to see that its arguments are the task's own
                func, kwargs, specification, _ = plain
        if kwargs and not self._names.isdisjoint(kwargs):
            func, args, kwargs = partial(func, *args, **kwargs), (), {}
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
        if self.track is not None and not _has_last(self.track, future):
            self.track[id(future)] = future
            future.add_done_callback(self._forget)
        return future

    def shutdown(self, *, block: bool) -> None:
        """End the executor; without `block`, do not wait for what runs, where it has a choice."""
        executor = self.executor
        if not block:
            if callable(cancel := getattr(executor, "cancel_queued", None)):
                cancel()
            if "block" in parameters(executor.shutdown):
                executor.shutdown(block=False)
                return
        executor.shutdown()

    def _forget(self, future: Future[Any]) -> None:
        if self.track is not None:
            self.track.pop(id(future), None)


def for_process(
    func: Callable[..., Any], kwargs: dict[str, Any], specification: dict[str, Any]
) -> tuple[Callable[..., Any], dict[str, Any], dict[str, Any], bool]:
    """A call as an executor of other processes is to make it.

    It is the executor that ends what takes longer than its walltime, whatever it does then.

    Returns:
        The function, its keywords, what is asked of the executor, and whether large arguments are
        the task's own to write to.
    """
    runner: Runner | None = getattr(type(func), "__treadle_runner__", None)
    if runner is None:
        return func, kwargs, specification, False
    func, kwargs, walltime_s, writable = runner(func, kwargs)
    if walltime_s is not None:
        asked = specification.get("walltime")
        if isinstance(asked, (int, float)):
            walltime_s = min(asked, walltime_s)
        specification = {**specification, "walltime": walltime_s}
    return func, kwargs, specification, writable


#: Told a function that is one of ours round one of the user's, and keywords: the user's function,
#: its own keywords, the walltime of the call, and whether its arguments are its own to write to.
Runner = Callable[
    [Callable[..., Any], dict[str, Any]],
    tuple[Callable[..., Any], dict[str, Any], float | None, bool],
]


def parameters(function: Callable[..., Any]) -> frozenset[str]:
    """The names of the parameters of a method of an executor; none if it does not tell."""
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()


def _has_last(futures: dict[object, Future[Any]], future: Future[Any]) -> bool:
    """Whether the executor has just taken note of the future itself."""
    try:
        return next(reversed(futures.values()), None) is future
    except RuntimeError:  # another thread has just changed it
        return False


def _failed(error: BaseException | None) -> Future[Any]:
    # Not raised: raising one exception for many tasks makes its trace longer each time.
    future: LazyFuture[Any] = LazyFuture()
    future.set_exception(error or RuntimeError("the executor is in a bad state and says not why"))
    return future
