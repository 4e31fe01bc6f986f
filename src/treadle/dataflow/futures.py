"""The futures that users hold: of app calls, of parts of results, of values put.

`AppFuture` is a `concurrent.futures.Future`; `future[key]` and `future.name` are futures of a
part of the result, which become tasks only when somebody wants them.

A future is done when its outcome is known, wherever the result is. `result()` loads it in the
thread that asks; who adds a callback or awaits is called when it is on this machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future, InvalidStateError
from concurrent.futures._base import FINISHED
from typing import TYPE_CHECKING, Any, TypeVar, cast

from treadle.dataflow import _lazy
from treadle.dataflow._lazy import OPEN, Callbacks, LazyFuture
from treadle.dataflow._remote import LateError, Remote
from treadle.dataflow.states import States
from treadle.errors import TreadleError

if TYPE_CHECKING:
    from treadle.dataflow.taskrecord import TaskRecord

__all__ = ["AppFuture", "LazyFuture", "LiftedFuture", "PutFuture", "put"]

T = TypeVar("T")


class AppFuture(LazyFuture[T]):
    """The result of an app call, now or later.

    Pass it to other apps, wait for it (`result`, `await`, `concurrent.futures.wait`), select from
    it (`future["key"]`, `future.name`: futures too), or cancel it.
    """

    __slots__ = ("_files", "_record")

    #: Iteration by index would never end: every index gives another future.
    __iter__ = None
    __contains__ = None

    _record: TaskRecord | None
    _files: tuple[object, object, list[Any]] | None

    def __init__(self, record: TaskRecord | None = None) -> None:
        LazyFuture.__init__(self)
        self._record = record
        self._files = None

    @property
    def task_record(self) -> TaskRecord:
        """The kernel's record of the task; its arguments are dropped when the task has ended."""
        return cast("TaskRecord", self._record)

    @property
    def tid(self) -> int:
        """The number of the task in its kernel."""
        return self.task_record.id

    def task_status(self) -> str:
        """The name of the task's state, as in `States`; `pending` from the moment of the call."""
        return _shown(self.task_record.status)

    @property
    def out(self) -> T:
        """This future, seen by a type checker as its result.

        `add(inc(1).out, y=2)` type-checks where `add(inc(1), y=2)` would not; both run alike.
        """
        return cast("T", self)

    @property
    def stdout(self) -> Any:
        """What the app was told to write its standard output to (a DataFuture if it is staged)."""
        return None if self._files is None else self._files[0]

    @property
    def stderr(self) -> Any:
        """What the app was told to write its standard error to (a DataFuture if it is staged)."""
        return None if self._files is None else self._files[1]

    @property
    def outputs(self) -> list[Any]:
        """One DataFuture for each file in the app's `outputs`, in order."""
        return [] if self._files is None else self._files[2]

    def result(self, timeout: float | None = None) -> T:
        """Wait for the result, at most `timeout` seconds, and load it here if it is elsewhere.

        Raises:
            TimeoutError: it is not there yet.
            CancelledError: it was cancelled.
            ResultLost: it was elsewhere, is lost, and could not be computed again.
            SchedulerLost: it was elsewhere, and who knew where has ended.
            BaseException: whatever the call raised.
        """
        if self._state != FINISHED:
            if timeout is not None:
                until = time.monotonic() + timeout
                self._wait(timeout)
                timeout = max(0.0, until - time.monotonic())
            else:
                self._wait(None)
        error: Any = self._exception
        if error is not None:
            if type(error) is LateError:
                error = error.get()
            try:
                raise error
            finally:
                del self, error  # the traceback holds this frame, which would hold the future
        result = self._result
        if type(result) is Remote:
            return cast("T", result.get(timeout))
        return cast("T", result)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the exception (None: there is a result), at most `timeout` seconds."""
        if self._state != FINISHED:
            self._wait(timeout)
        error: Any = self._exception
        return error.get() if type(error) is LateError else cast("BaseException | None", error)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Call `fn(future)` once it is done and its value is on this machine.

        Callbacks of one future are called in the order added, by Treadle's own threads; what they
        raise is logged and harms nobody.
        """
        result = self._result
        if type(result) is Remote and not result.is_near and self._call_later(result, fn):
            return
        super().add_done_callback(fn)

    def _call_later(self, result: Remote, fn: Callable[[Any], object]) -> bool:
        """Have a callback that came late called when the value is here; False: others are called.

        Then it goes behind them, in the ordinary way.
        """
        late = _LateCallbacks()
        with _lazy.lock:
            known = self._callbacks
            if known is None:
                self._callbacks = known = late
            elif type(known) is not _LateCallbacks or known.runner is not None:
                return False
            cast("list[Any]", known.items).append(fn)
        if known is late:
            result.bring(self._run_late)
        return True

    def _run_late(self) -> None:
        """The value is on this machine: call back those that came late."""
        super()._call_back()

    def _call_back(self) -> None:
        result = self._result
        if type(result) is Remote and not result.is_near:
            result.bring(super()._call_back)
        else:
            super()._call_back()

    def cancel(self) -> bool:
        """Cancel the task: True if it is cancelled, False if it has ended or cannot be stopped.

        A task that waits is always cancelled; a running one where its executor can stop it. The
        future is settled at once; tasks that depend on it fail with `DependencyError`.
        """
        if self._state in OPEN and self._record is not None:
            self._record.dfk.cancel(self._record)
        return self.cancelled()

    def running(self) -> bool:
        """True while an attempt runs, where its executor tells; it may be cancelled even so."""
        attempt = None if self._record is None else self._record.exec_fu
        return self._state in OPEN and attempt is not None and bool(attempt.running())

    def set_running_or_notify_cancel(self) -> bool:
        """The kernel alone moves an AppFuture on.

        Raises:
            InvalidStateError: always.
        """
        raise InvalidStateError("an AppFuture is moved on and settled by its kernel alone")

    def set_result(self, result: Any) -> None:
        """See `set_running_or_notify_cancel`."""
        self.set_running_or_notify_cancel()

    def set_exception(self, exception: BaseException | None) -> None:
        """See `set_running_or_notify_cancel`."""
        self.set_running_or_notify_cancel()

    def __await__(self) -> Generator[Any, None, T]:
        import asyncio  # noqa: PLC0415 - 40 ms that only programs that await have paid already

        if not self.done() or _is_far(self):
            loop = asyncio.get_running_loop()
            waiter = loop.create_future()

            def wake() -> None:
                if not waiter.done():
                    waiter.set_result(None)

            self.add_listener(lambda f: _when_near(f, lambda: _call_in(loop, wake)))
            try:
                yield from waiter
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def __copy__(self) -> AppFuture[T]:
        return self

    def __deepcopy__(self, memo: object) -> AppFuture[T]:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        raise TypeError(
            "an AppFuture belongs to this process and cannot be pickled; pass it to an app as an "
            "argument of its own (or in a list with the deep dependency resolver), or pass result()"
        )

    def __getitem__(self, key: Any) -> AppFuture[Any]:
        return LiftedFuture(self, "item", key)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        if self._state == FINISHED and self._exception is None:
            result: Any = self._result
            if type(result) is Remote:
                if not result.is_loaded:
                    return LiftedFuture(self, "attribute", name)  # to look is not worth a transfer
                result = result.get()
            if not hasattr(result, name):
                kind = type(result).__name__
                raise AttributeError(f"the result, a {kind!r} object, has no attribute {name!r}")
        return LiftedFuture(self, "attribute", name)

    def __repr__(self) -> str:
        record = self._record
        if record is None:
            return super().__repr__()
        state = _shown(record.status)
        return f"<{type(self).__name__} task {record.id} {record.func_name} {state}>"


class _LateCallbacks(Callbacks):
    """Those of a future that is done, while its value is on its way to this machine."""

    __slots__ = ()


def _is_far(future: LazyFuture[Any]) -> bool:
    """Whether the value of a future that is done must come from another machine."""
    result = future._result
    return type(result) is Remote and not result.is_near


def _when_near(future: LazyFuture[Any], then: Callable[[], None]) -> None:
    """Call a short function of ours when the value of a future that is done is on this machine."""
    result = future._result
    if type(result) is Remote:
        result.bring(then)
    else:
        then()


def wait_until_done(future: LazyFuture[Any]) -> None:
    """Wait for the end of a task, whatever it is."""
    try:
        if not future.done():
            future._wait(None)
    except CancelledError:
        return


def _select(result: Any, kind: str, key: Any) -> Any:
    return result[key] if kind == "item" else getattr(result, key)


def _shown(status: States) -> str:
    # `unsched`: the engine has not looked at it yet; for the caller it is known and waits.
    return States.pending.name if status is States.unsched else status.name


def _call_in(loop: Any, fn: Callable[[], None]) -> None:
    try:
        loop.call_soon_threadsafe(fn)
    except RuntimeError:
        pass  # that loop has been closed: nobody waits any more


class LiftedFuture(AppFuture[Any]):
    """`future[key]` or `future.name`: a selection that becomes a task when somebody wants it.

    Until it is waited for, passed on, or asked whether it is done, it is no task and costs
    nothing, so that a mistyped name, `hasattr` or a notebook's curiosity leave no trace.
    """

    __slots__ = ("_key", "_kind", "_parent")

    def __init__(self, parent: AppFuture[Any], kind: str, key: Any) -> None:
        AppFuture.__init__(self)
        self._parent: AppFuture[Any] | None = parent
        self._kind = kind
        self._key = key

    def _begin(self) -> None:
        """Become a task, once; what it selects from first, however long that chain is."""
        chain: list[LiftedFuture] = []
        future: AppFuture[Any] | None = self
        while isinstance(future, LiftedFuture) and future._record is None:
            chain.append(future)
            future = future._parent
        while chain:
            chain.pop()._become_task()

    def _become_task(self) -> None:
        with _lazy.lock:
            parent, self._parent = self._parent, None
        if parent is None:
            return
        try:
            parent.task_record.dfk.lift(self, parent, self._kind, self._key)
        except TreadleError as refusal:
            # The kernel is gone. What is known already can still be selected from, here and now.
            self._select_now(parent, refusal)

    def _select_now(self, parent: AppFuture[Any], refusal: TreadleError) -> None:
        result: Any = None
        error: BaseException | None = refusal
        if parent._state == FINISHED and parent._exception is None:
            try:
                result, error = _select(parent.result(), self._kind, self._key), None
            except BaseException as failure:  # noqa: BLE001 - code of the result's class
                error = failure
        elif parent._state == FINISHED:
            error = parent.exception()
        self._finish(FINISHED, result, error)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Futures of methods are not called; this names the likely mistake.

        Raises:
            TypeError: always.
        """
        import difflib  # noqa: PLC0415 - only on the way to an error

        what = f".{self._key}" if self._kind == "attribute" else f"[{self._key!r}]"
        near = difflib.get_close_matches(str(self._key), dir(AppFuture), 1)
        hint = f"did you mean .{near[0]}()?" if near else "call .result() first"
        raise TypeError(f"AppFuture{what} is the future of a part of the result; {hint}")

    @property
    def task_record(self) -> TaskRecord:
        """The record of the task that selects.

        Raises:
            TreadleError: it never became a task, because the kernel had been cleaned up.
        """
        self._begin()
        while self._record is None and self._state in OPEN:
            time.sleep(0)  # another thread is making it a task, which takes some microseconds
        if self._record is None:
            raise TreadleError("the kernel had been cleaned up: this selection became no task")
        return self._record

    def _synced(self) -> _lazy.Sync:
        self._begin()
        return super()._synced()

    def done(self) -> bool:
        """True once the part is known."""
        self._begin()
        return super().done()

    def add_done_callback(self, fn: Callable[[Future[Any]], object]) -> None:
        """See `LazyFuture.add_done_callback`."""
        self._begin()
        super().add_done_callback(fn)

    def add_listener(self, fn: Callable[[Any], None]) -> None:
        """See `LazyFuture.add_listener`."""
        self._begin()
        super().add_listener(fn)

    def cancel(self) -> bool:
        """Cancel the selection; the task it selects from goes on."""
        self._begin()
        return super().cancel()

    def __repr__(self) -> str:
        if self._record is not None:
            return super().__repr__()
        what = f".{self._key}" if self._kind == "attribute" else f"[{self._key!r}]"
        return f"<LiftedFuture {what} of {self._parent!r}>"


class PutFuture(AppFuture[T]):
    """A value that was named once by `treadle.put`; it is done, and belongs to no task."""

    __slots__ = ("digest",)

    def __init__(self, value: Any) -> None:
        AppFuture.__init__(self)
        self._result = value
        self._state = FINISHED
        #: The memo token of the value, made when first needed, and whether files in it count by
        #: content.
        self.digest: tuple[bool, bytes] | None = None

    @property
    def task_record(self) -> TaskRecord:
        """A value that was put has no task.

        Raises:
            TreadleError: always.
        """
        raise TreadleError("a value given to put() belongs to no task and has no record")

    def __getitem__(self, key: Any) -> AppFuture[Any]:
        return PutFuture(cast("Any", self._result)[key])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return PutFuture(getattr(self._result, name))

    def __repr__(self) -> str:
        return f"<PutFuture of a {type(self._result).__name__}>"


def put(value: T) -> AppFuture[T]:
    """Name a value once, to pass it to many calls: a future that is done.

    Its memo digest is computed once, however many cached calls get it (unless it holds functions
    or classes of the project, whose code may change). The value must not be changed afterwards.
    """
    return PutFuture(value)
