"""How a kernel ends: by `cleanup`, as a context manager, with its program, in a forked child.

One rule: nothing is left behind and every open future ends. What may wait, waits only if the
program is not on its way out.
"""

from __future__ import annotations

import atexit
import time
from abc import abstractmethod
from typing import TYPE_CHECKING

from treadle.dataflow import _events as ev
from treadle.dataflow.states import FINAL_STATES
from treadle.errors import EngineCrashed, KernelForked, NoDataFlowKernelError
from treadle.log import logger

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from treadle.config import Config
    from treadle.dataflow._gate import Gate
    from treadle.dataflow._machine import Machine
    from treadle.dataflow._outcomes import Outcomes
    from treadle.dataflow._shell import Shell
    from treadle.dataflow.memoization import Memoizer
    from treadle.dataflow.taskrecord import TaskRecord
    from treadle.executors.base import ParslExecutor
    from treadle.jobs import JobStatusPoller
    from treadle.runtime.engine import Engine
    from treadle.usage_tracking import UsageTracker

_log = logger("dataflow")


class Ending:
    """The part of the kernel that ends it."""

    _began: float
    _config: Config
    _engine: Engine
    _extra: dict[str, str]
    _gate: Gate | None
    _lock: threading.Lock
    _machine: Machine
    _outcomes: Outcomes
    _refusal: BaseException | None
    _shell: Shell
    _stop_logging: Callable[[], None]
    _usage: UsageTracker
    executors: dict[str, ParslExecutor]
    job_status_poller: JobStatusPoller
    memoizer: Memoizer
    tasks: dict[int, TaskRecord]

    @abstractmethod
    def wait_for_current_tasks(self) -> None:
        """Wait until all tasks that are open now have ended."""

    @abstractmethod
    def _forget(self) -> None:
        """Be no longer the kernel that apps use."""

    def log_task_states(self) -> None:
        """Log how many tasks are in which state."""
        _log.info("Summary of tasks in DFK:", extra=self._extra)
        for state, count in self._machine.counts.items():
            name = f"States.{state.name}"
            _log.info("Tasks in state %s: %d", name, count, extra=self._extra)

    def cleanup(self) -> None:
        """End the kernel: finish what executors have, give up what they have not, leave nothing.

        Tasks that have not been handed to an executor fail with `NoDataFlowKernelError`.

        Raises:
            NoDataFlowKernelError: it has been cleaned up before.
        """
        if not self._close():
            raise NoDataFlowKernelError("this kernel has been cleaned up before")
        self._end(block=True)

    def atexit_cleanup(self) -> None:
        """At the interpreter's end: write what is to be written, wait for nothing."""
        if not self._is_forked() and self._close():
            # By the futures: the engine may not have seen the last calls yet.
            left = sum(r.status not in FINAL_STATES for r in list(self.tasks.values()))
            if left and self._shell.dead is None:
                _log.warning(
                    "the program ends with %d open tasks; wait for their futures, or use "
                    "`with treadle.load(Config(exit_mode='wait'))`",
                    left,
                    extra=self._extra,
                )
            self._end(block=False)

    def _close(self) -> bool:
        with self._lock:
            if self._refusal is not None:
                return False
            self._refusal = NoDataFlowKernelError(
                "this kernel has been cleaned up; call treadle.load() for a new one"
            )
        return True

    def _end(self, *, block: bool) -> None:
        atexit.unregister(self.atexit_cleanup)
        self._outcomes.closed = True
        if self._is_forked():  # all there is to end is the parent's
            self._forget()
            return
        if self._gate is not None:
            self._gate.close()
        interrupt: BaseException | None = None
        try:
            self._finish(block=block)
        except KeyboardInterrupt as error:
            # Ctrl-C while we wait: wait no more, but leave nothing behind.
            interrupt, block = error, False
            self._finish(block=False)
        try:
            self.memoizer.close()
        except BaseException:  # noqa: BLE001 - a plug-in must not keep the rest from ending
            _log.exception("the memoizer could not be closed", extra=self._extra)
        self.log_task_states()
        counts = {state.name: n for state, n in self._machine.counts.items() if n}
        self._usage.send_end(counts, time.monotonic() - self._began)
        self._give_back(block=block)
        if interrupt is not None:
            raise interrupt

    def _finish(self, *, block: bool) -> None:
        """Let executors finish what they have; give up all other tasks."""
        self._tell(ev.Closed())
        for executor in list(self.executors.values()):
            self._shut_down(executor, block=block)
        if block:
            self._shell.wait_until_settled()
        self._tell(ev.Closed(all=True))

    def _tell(self, event: ev.Closed) -> None:
        if self._shell.dead is None:
            try:
                self._shell.inbox.call(event)
            except EngineCrashed:
                _log.warning("the engine has ended before its kernel: all open tasks have failed")

    def _is_forked(self) -> bool:
        return isinstance(self._shell.dead, KernelForked)

    def _shut_down(self, executor: ParslExecutor, *, block: bool) -> None:
        route = self._shell.routes.get(executor.label)
        if route is None or not getattr(executor, "managed", True):
            return
        try:
            self.job_status_poller.release(executor, wait=block)
            route.shutdown(block=block)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - foreign code must not keep the others from ending
            _log.exception("executor %s did not shut down", executor.label, extra=self._extra)

    def _give_back(self, *, block: bool) -> None:
        if hasattr(self, "_shell"):
            self._engine.dismiss(self._shell.inbox)
        self._usage.close()
        self._engine.release(wait=block)
        self._stop_logging()
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        mode = self._config.exit_mode
        if mode == "skip" or self._refusal is not None:
            return
        if error is not None:
            # The program is on its way out: wait for nothing.
            if self._close():
                self._end(block=False)
            return
        if mode == "wait":
            self.wait_for_current_tasks()
        if self._close():
            self._end(block=True)
