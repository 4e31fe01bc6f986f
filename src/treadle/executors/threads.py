"""Tasks on threads of this process: no pickling, shared memory, one GIL.

The threads are daemons: a task that never ends does not keep the interpreter alive. A running
Python function cannot be stopped; what has not begun can be cancelled.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

from treadle.dataflow._lazy import LazyFuture
from treadle.errors import ConfigurationError, InvalidResourceSpecification
from treadle.executors.base import ParslExecutor
from treadle.repr import RepresentationMixin
from treadle.runtime.threads import start_daemon

if TYPE_CHECKING:
    from collections.abc import Callable

    from treadle.data_provider.staging import Staging

_Work = tuple[LazyFuture[Any], "Callable[..., Any]", tuple[Any, ...], dict[str, Any]]


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
        """Nothing to do: threads start when first needed."""

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
        if self._closed:
            raise RuntimeError(f"executor {self.label!r} has been shut down")
        future: LazyFuture[Any] = LazyFuture()
        self._known()[id(future)] = future
        self._queue.put((future, func, args, kwargs))
        if len(self._threads) < self.max_threads:
            self._add_thread()
        return future

    def _add_thread(self) -> None:
        with self._lock:
            if len(self._threads) < self.max_threads:
                prefix = self.thread_name_prefix or f"ThreadPoolExecutor-{self.label}"
                name = f"{prefix}_{len(self._threads)}"
                self._threads.append(start_daemon(name, self._run))

    def _run(self) -> None:
        take, forget = self._queue.get, self._known().pop
        while True:
            work = take()
            if work is None:
                return
            future, func, args, kwargs = work
            if future.set_running_or_notify_cancel():
                _run_one(future, func, args, kwargs)
            forget(id(future), None)
            # What the task held must not live until the next one comes.
            del work, future, func, args, kwargs

    def cancel_queued(self) -> None:
        """Cancel all that has not begun."""
        for future in list(self._known().values()):
            future.cancel()

    def shutdown(self, block: bool = True) -> bool:
        """Take no more tasks; with `block`, wait for those that were submitted."""
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._queue.put(None)
        if block:
            for thread in self._threads:
                if thread is not threading.current_thread():
                    thread.join()
        return True


def _run_one(
    future: LazyFuture[Any],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> None:
    try:
        result = func(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - SystemExit too is the outcome of its task
        # Without the executor's own frame: the trace begins in the app.
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next or error.__traceback__
        future._finish("FINISHED", None, error)
        del error
    else:
        future._finish("FINISHED", result, None)
