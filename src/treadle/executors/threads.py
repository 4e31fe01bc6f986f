"""Tasks on threads of this process: no pickling, shared memory, one GIL.

The threads are daemons: a task that never ends does not keep the interpreter alive. What has not
begun can be cancelled. A running Python function cannot be stopped; a function that has an
attribute `cancel_running` (bash apps do) is stopped by it: it is called with the identity of the
thread that runs the function, does not wait, and returns whether there was something to stop.
"""

from __future__ import annotations

import queue
import threading
import time
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle.dataflow._lazy import LazyFuture
from treadle.errors import ConfigurationError, InvalidResourceSpecification
from treadle.executors.base import ParslExecutor
from treadle.repr import RepresentationMixin
from treadle.runtime.threads import start_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from treadle.data_provider.staging import Staging

#: How often the one who waits for the threads looks up.
_LOOK_UP_S = 1.0

_Work = tuple["Attempt", tuple[Any, ...], dict[str, Any]]


class Attempt(LazyFuture[Any]):
    """The future of a task on a thread; knows when the task began, and how to stop it."""

    __slots__ = ("_func", "_stopping", "_thread", "started")

    #: Seconds since the epoch; None until it runs.
    started: float | None
    #: The thread that runs it; None unless one does.
    _thread: int | None
    _func: Any
    #: Somebody is about to stop it: its thread must not go on to other work meanwhile.
    _stopping: bool

    def __init__(self, func: Any = None) -> None:
        LazyFuture.__init__(self)
        self.started = self._thread = None
        self._func = func
        self._stopping = False

    def cancel(self) -> bool:
        """Cancel it if it has not begun, or if what runs can be stopped."""
        return LazyFuture.cancel(self) or self._stop()

    def _stop(self) -> bool:
        # Not by getattr: objects that answer to any name have no such thing.
        stop = getattr(self._func, "__dict__", {}).get("cancel_running")
        if not callable(stop):
            return False
        with _stop_lock:
            self._stopping = True
            thread = self._thread
            if thread is None or not stop(thread):
                return False
        return self._finish(CANCELLED_AND_NOTIFIED, None, None)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """On one of the threads: call the function and settle the future."""
        self.started = time.time()
        self._thread = threading.get_ident()
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self._func(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - SystemExit too is the outcome of its task
            failure = _without_our_frame(error)
        self._thread = self._func = None
        if self._stopping:
            with _stop_lock:
                pass  # until who stops it is done with this thread
        self._finish(FINISHED, result, failure)
        del failure  # or it would hold this frame, which holds it


def _without_our_frame(error: BaseException) -> BaseException:
    """Let the trace begin in the app."""
    try:
        trace = error.__traceback__
        return error if trace is None else error.with_traceback(trace.tb_next or trace)
    except BaseException:  # noqa: BLE001 - a class of the user's may forbid it
        return error


#: Held while a running function is told to stop.
_stop_lock = threading.Lock()


class ThreadPoolExecutor(ParslExecutor, RepresentationMixin):
    """Runs tasks on threads of this process.

    Args:
        label: its name, unique within a kernel.
        max_threads: how many tasks run at once; threads start when first needed.
        thread_name_prefix: beginning of the threads' names; empty: made from the label.
        storage_access: staging providers; None: the default ones; []: none.
        working_dir: where relative staged files go.
        managed: the kernel starts it and shuts it down; if False, both are yours.
    """

    submits_quickly = True

    def __init__(
        self,
        label: str = "threads",
        max_threads: int = 2,
        thread_name_prefix: str | None = "",
        storage_access: list[Staging] | None = None,
        working_dir: str | None = None,
        managed: bool = True,
    ) -> None:
        if type(max_threads) is not int or max_threads < 1:
            raise ConfigurationError(
                f"ThreadPoolExecutor(max_threads={max_threads!r}): give a whole number of at "
                f"least 1"
            )
        self.label = label
        self.max_threads = max_threads
        self.thread_name_prefix = thread_name_prefix
        self.storage_access = storage_access
        self.working_dir = working_dir
        self.managed = managed
        self._queue: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._closed = False

    def start(self) -> None:
        """Be ready for work, also again after a shutdown; threads start when first needed."""
        with self._lock:
            if self._closed:
                self._queue = queue.SimpleQueue()
                self._threads = []
                self._exception = None
                self._closed = False

    def submit(
        self,
        func: Callable[..., Any],
        resource_specification: dict[str, Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> LazyFuture[Any]:
        """Run `func(*args, **kwargs)` on one of the threads.

        Raises:
            InvalidResourceSpecification: any; threads have no resources to give.
            RuntimeError: it has been shut down.
        """
        if resource_specification:
            raise InvalidResourceSpecification(
                resource_specification, "threads of one process take none", executor=self
            )
        if self._exception is not None:
            raise self._exception
        future = Attempt(func)
        self._known()[id(future)] = future
        self._queue.put((future, args, kwargs))
        if len(self._threads) < self.max_threads:
            try:
                self._add_thread()
            except BaseException:
                future.cancel()
                raise
        # Asked last: what came after the end of the queue is never taken.
        if self._closed and future.cancel():
            self._known().pop(id(future), None)
            raise RuntimeError(f"executor {self.label!r} has been shut down")
        return future

    def _add_thread(self) -> None:
        with self._lock:
            if len(self._threads) < self.max_threads and not self._closed:
                prefix = self.thread_name_prefix or f"ThreadPoolExecutor-{self.label}"
                name = f"{prefix}_{len(self._threads)}"
                try:
                    thread = start_daemon(name, partial(self._run, self._queue))
                except RuntimeError:  # no more threads can be had now: the others do the work
                    if not self._threads:
                        raise
                else:
                    self._threads.append(thread)

    def _run(self, work: queue.SimpleQueue[_Work | None]) -> None:
        forget = self._known().pop
        while (item := work.get()) is not None:
            future, args, kwargs = item
            # False: cancelled, or failed with the whole executor, before it could begin.
            if future._begin_run():
                future._run(args, kwargs)
            else:
                future._func = None
            forget(id(future), None)
            # What the task held must not live until the next one comes.
            del item, future, args, kwargs

    def cancel_queued(self) -> None:
        """Cancel all that has not begun."""
        for future in list(self._known().values()):
            future.cancel()

    def shutdown(self, block: bool = True) -> bool:
        """Take no more tasks; with `block`, wait for those that were submitted."""
        with self._lock:
            self._closed = True
            threads = list(self._threads)
            for _ in threads:
                self._queue.put(None)
        if block:
            for thread in threads:
                # Not in one go: a Ctrl-C that strikes just before a join begins wakes nobody.
                while thread.is_alive() and thread is not threading.current_thread():
                    thread.join(_LOOK_UP_S)
        return True
