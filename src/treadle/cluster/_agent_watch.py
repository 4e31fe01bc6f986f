"""Looks after tasks that take long: that none takes more memory than it may, or fills the disk.

Nothing tells of either, so they are looked at twice a second, on a helper thread, and only while
there is a task that has run for long enough to be told as begun.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from treadle import worker
from treadle.cluster._agent_memory import private_bytes
from treadle.wire import Failure

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from treadle.cluster._agent_output import Output
    from treadle.cluster._agent_slot import SlotEnd
    from treadle.wire import Run
    from treadle.worker import ShellEvent

_log = logging.getLogger(__name__)

#: How often it is looked.
LOOK_S: Final = 0.5


class _Runner(NamedTuple):
    """A slot that has run something for a while."""

    number: int
    pid: int
    attempt: int
    #: Most memory it may have; 0: any.
    limit: int


class Watch:
    """Watches slots.

    Args:
        most_bytes: private memory of a task that asks for none itself; 0: any.
        tell: is given what is to be told to the machine.
    """

    def __init__(
        self,
        slots: Mapping[int, SlotEnd],
        loop: asyncio.AbstractEventLoop,
        threads: ThreadPoolExecutor,
        output: Output,
        most_bytes: int,
        tell: Callable[[ShellEvent], None],
    ) -> None:
        self._slots = slots
        self._loop = loop
        self._threads = threads
        self._output = output
        self._most_bytes = most_bytes
        self._tell = tell
        self._awake = False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self) -> None:
        """A task has run for a while."""
        if not self._awake:
            self._awake = True
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Look no more."""
        self._awake = True
        if self._timer is not None:
            self._timer.cancel()

    def limit_of(self, run: Run) -> int:
        """Most private memory that this task may have; 0: any."""
        for name, amount in run.resources:
            if name == "memory":
                return int(amount)
        return self._most_bytes

    def _look(self) -> None:
        self._timer = None
        runners = []
        for slot in self._slots.values():
            run = slot.runs()[0]
            if run is not None and slot.pid and not slot.doomed:
                limit = self.limit_of(run)
                runners.append(_Runner(slot.number, slot.pid, run.attempt, limit))
        if not runners:
            self._awake = False  # who begins something long wakes us
            return
        self._threads.submit(self._measure, runners)

    def _measure(self, runners: list[_Runner]) -> None:
        """On a helper thread."""
        over = []
        try:
            for runner in runners:
                self._output.trim(runner.number)
                if runner.limit:
                    used = private_bytes(runner.pid)
                    if used > runner.limit:
                        over.append((runner, used))
        except Exception:  # noqa: BLE001 - a bug of ours; the next look may do better
            _log.exception("tasks cannot be looked after")
        try:
            self._loop.call_soon_threadsafe(self._judge, over)
        except RuntimeError:  # the loop is closed
            pass

    def _judge(self, over: list[tuple[_Runner, int]]) -> None:
        for runner, used in over:
            slot = self._slots.get(runner.number)
            if slot is None or slot.doomed:
                continue
            run, id, since_ns = slot.runs()
            if run is None or run.attempt != runner.attempt:  # it has ended meanwhile
                continue
            text = (
                f"it had {used >> 20} MiB of private memory, and may have {runner.limit >> 20} MiB;"
                f" ask for more (resource 'memory'), or let it take less"
            )
            slot.kill(ours=True)
            failure = Failure("memory", "TaskMemoryExceeded", text)
            spent = max(0.0, (time.monotonic_ns() - since_ns) / 1e9)
            raised = worker.Raised(runner.number, id, run.attempt, failure, spent, final=True)
            slot.fed.pop(run.attempt, None)
            self._tell(raised)
        if self._timer is None and self._awake:
            self._timer = self._loop.call_later(LOOK_S, self._look)
