"""The watch over one executor's blocks: a thread that looks, asks the machine, and does as told.

A look asks the provider how the blocks are, lets the executor handle failures, and scales. When the
provider does not answer, nothing is started and nothing is ended: what was known still counts. The
thread may wait for the provider's commands, and nobody but this executor waits with it.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from treadle.dataflow.job_error_handler import JobErrorHandler, worked
from treadle.log import logger
from treadle.providers import JobState, JobStatus
from treadle.runtime.threads import start_daemon
from treadle.scaling import Closing, Limits, Looked, ScaleIn, ScaleOut, Scaler, Started

if TYPE_CHECKING:
    from treadle.scaling import Command

_log = logger("jobs")

#: Between two looks of a kernel that waits for the last tasks: executors need not tell.
_CLOSING_NAP_S = 0.05
_SHORTEST_NAP_S = 0.01
#: Between two looks while a block is on trial, where asking is cheap.
_TRIAL_NAP_S = 1.0
#: Who was nudged asks again after this part of the polling interval, and not sooner than so long.
_HASTE = 6
_SOONEST_S = 0.2
#: How much longer the interval becomes at most while the provider does not answer.
_MOST_BACK_OFF = 10
#: How often we say that tasks are still waited for.
_REMINDER_S = 60.0
#: How long the thread may take to end: a look under way may be in a command of the provider's.
_JOIN_S = 10.0


class Watched(Protocol):
    """An executor with blocks."""

    label: str
    provider: Any
    bad_state_is_set: bool
    error_management_enabled: bool
    status_polling_interval: float
    _in_haste: bool

    def status(self) -> Mapping[str, JobStatus]:
        """How all blocks are, by id."""

    def scale_out(self, blocks: int) -> list[str]:
        """Start blocks."""

    def scale_in(self, blocks: int) -> object:
        """End blocks."""

    def handle_errors(self, error_handler: Any, status: Mapping[str, JobStatus]) -> object:
        """Look for failures."""


class Watch:
    """Looks after the blocks of one executor.

    Args:
        executor: whose blocks.
        scaler: who decides how many there are.
        handler: who judges failures.
        period_s: between two looks.
        clock: seconds, from any beginning.
    """

    def __init__(
        self,
        executor: Watched,
        scaler: Scaler,
        handler: JobErrorHandler,
        *,
        period_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._executor = executor
        self._scaler = scaler
        self._handler = handler
        self._period_s = period_s
        self._clock = clock
        self._statuses: dict[str, JobStatus] = {}
        self._asked_at: float | None = None
        #: Questions in a row that the provider did not answer.
        self._failures = 0
        self._ends_idle_ones = _takes(executor.scale_in, "max_idletime")
        self._wake = threading.Event()
        self._nudged = False
        self._released = False
        self._closing = False
        self._stopped = False
        self._thread: threading.Thread | None = None

    # --- from any thread --------------------------------------------------------------------------

    def start(self) -> None:
        """Look for the first time at once, on a thread of its own."""
        self._thread = start_daemon(f"treadle-jobs-{self._executor.label}", self._run)

    def nudge(self) -> None:
        """Look again, soon."""
        self._nudged = True
        self._wake.set()

    def finish(self, *, wait: bool) -> None:
        """End the blocks and the watch.

        Args:
            wait: for the tasks that are open; blocks are started for them as before.
        """
        if wait:
            self._closing = True
            self._wake.set()
            self._wait_until_idle()
        self._executor._in_haste = not wait
        self._stopped = True
        self._wake.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():  # nobody else shall hang with it
                jobs = getattr(self._executor, "blocks_to_job_id", {})
                text = "executor %s: its provider hangs; these jobs may still be there: %s"
                _log.warning(text, self._executor.label, list(jobs.values()))
                return
        self._end_blocks()

    def explain(self) -> str:
        """Why tasks may be waiting for blocks, in one sentence."""
        messages = {block_id: job.message for block_id, job in self._statuses.items()}
        return self._scaler.explain(self._clock(), messages)

    def _wait_until_idle(self) -> None:
        """Wait until there is no open task, or no sense in waiting. Ctrl-C may strike at any time."""
        reminder = self._clock() + _REMINDER_S
        while self._tasks() > 0 and not self._executor.bad_state_is_set:
            if self._thread is None or not self._thread.is_alive():
                return  # nobody starts a block any more
            if self._clock() >= reminder:
                reminder = self._clock() + _REMINDER_S
                _log.info(
                    "waiting for %d tasks of executor %s: %s",
                    self._tasks(),
                    self._executor.label,
                    self.explain(),
                )
            time.sleep(_CLOSING_NAP_S)

    # --- the thread -------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                self.look()
            except Exception:  # noqa: BLE001 - of executors and providers, which anybody may write
                _log.exception("executor %s: its blocks cannot be looked after", self._label())
            self._wake.wait(self._nap_s())

    def _label(self) -> object:
        return getattr(self._executor, "label", self._executor)

    def _nap_s(self) -> float:
        nap_s = self._period_s
        if self._scaler.history.unproven and self._interval_s() <= _TRIAL_NAP_S:
            nap_s = min(nap_s, _TRIAL_NAP_S)
        if self._scaler.wake_at is not None:
            nap_s = min(nap_s, self._scaler.wake_at - self._clock())
        return max(_SHORTEST_NAP_S, nap_s)

    def look(self) -> None:
        """Look once, and do what there is to do."""
        executor = self._executor
        if not executor.bad_state_is_set:
            if not self._poll():
                return
            if executor.error_management_enabled:
                executor.handle_errors(self._handler, dict(self._statuses))
        if executor.bad_state_is_set:
            if not self._released:  # they cost, and can do nothing any more
                self._released = True
                self._end_blocks()
            return
        now = self._clock()
        if self._closing:
            self._scaler.handle(Closing(), now=now)
        for command in self._scaler.handle(self._looked(), now=now):
            self._carry_out(command)

    def _poll(self) -> bool:
        """Ask how the blocks are, if it is time to; False: nobody knows."""
        interval_s = self._interval_s()
        if interval_s <= 0:
            return True  # not to be asked: those that were started are taken to run
        nudged, self._nudged = self._nudged, False
        wait_s = interval_s * min(2**self._failures, _MOST_BACK_OFF)
        if nudged and not self._failures:
            wait_s = min(wait_s, max(_SOONEST_S, interval_s / _HASTE))
        if self._asked_at is not None and self._clock() < self._asked_at + wait_s:
            self._nudged = nudged
            return not self._failures
        self._asked_at = self._clock()
        try:
            self._statuses = dict(self._executor.status())
        except Exception as error:  # noqa: BLE001 - of a provider, which anybody may write
            self._failures += 1
            if self._failures & (self._failures - 1) == 0:  # the 1st, 2nd, 4th, 8th ...
                _log.warning(
                    "executor %s: its blocks cannot be seen (%d times in a row): %s: %s",
                    self._executor.label,
                    self._failures,
                    type(error).__name__,
                    error,
                )
            return False
        self._failures = 0
        return True

    def _looked(self) -> Looked:
        states = {block_id: job.state for block_id, job in self._statuses.items()}
        return Looked(
            states,
            self._tasks(),
            _figure(self._executor, "workers_per_node", 1.0),
            _limits(self._executor.provider),
            int(_figure(self._executor, "leaving", 0.0)),
            worked(self._executor, states),
        )

    def _carry_out(self, command: Command) -> None:
        match command:
            case ScaleOut(blocks):
                self._scale_out(blocks)
            case ScaleIn(blocks, None):
                self._forget(self._executor.scale_in(blocks))
            case ScaleIn(blocks, max_idle_s) if self._ends_idle_ones:
                scale_in: Any = self._executor.scale_in
                self._forget(scale_in(blocks, max_idletime=max_idle_s))

    def _scale_out(self, blocks: int) -> None:
        started: list[str] = []
        try:
            started = list(self._executor.scale_out(blocks))
        finally:
            self._scaler.handle(Started(blocks, tuple(started)), now=self._clock())
        if self._interval_s() <= 0:
            self._statuses |= {i: JobStatus(JobState.RUNNING) for i in started}
        self._asked_at = None if len(started) < blocks else self._asked_at

    def _forget(self, ended: object) -> None:
        """Blocks were ended: look at the others with fresh eyes."""
        for block_id in ended if isinstance(ended, list) else ():
            if self._interval_s() <= 0:
                self._statuses.pop(block_id, None)
            elif block_id in self._statuses:
                self._statuses[block_id] = JobStatus(JobState.SCALED_IN)

    def _end_blocks(self) -> None:
        """End all blocks, by all means that the executor has."""
        if live := self._scaler.alive:
            self._call("scale_in", live)
        self._call("end_blocks")

    def _call(self, name: str, *args: int) -> None:
        """Call a method of the executor, if it has it, whatever it does."""
        try:
            if callable(method := getattr(self._executor, name, None)):
                method(*args)
        except Exception:  # noqa: BLE001 - of executors and providers, which anybody may write
            _log.exception("executor %s: its %s failed", self._executor.label, name)

    # --- what the executor says -------------------------------------------------------------------

    def _tasks(self) -> float:
        return _figure(self._executor, "outstanding", 0.0)

    def _interval_s(self) -> float:
        return _figure(self._executor, "status_polling_interval", 0.0)


def watch_over(executor: Any, *, strategy: str, period_s: float, max_idle_s: float) -> Watch:
    """Look after an executor's blocks from now on."""
    scaler = Scaler(strategy, max_idle_s=max_idle_s)
    watch = Watch(executor, scaler, JobErrorHandler(), period_s=period_s)
    executor._on_nudge = watch.nudge
    watch.start()
    return watch


def _figure(executor: object, name: str, default: float) -> float:
    """A number that an executor tells: as an attribute, or by a method."""
    value = getattr(executor, name, default)
    if callable(value):
        value = value()
    return float(value) if isinstance(value, (int, float)) else default


def _limits(provider: object) -> Limits:
    default = Limits()

    def whole(name: str, otherwise: int) -> int:
        value = getattr(provider, name, otherwise)
        return value if isinstance(value, int) else otherwise

    return Limits(
        init_blocks=whole("init_blocks", default.init_blocks),
        min_blocks=whole("min_blocks", default.min_blocks),
        max_blocks=whole("max_blocks", default.max_blocks),
        parallelism=_figure(provider, "parallelism", default.parallelism),
        nodes=whole("nodes_per_block", default.nodes),
    )


def _takes(function: Callable[..., object], name: str) -> bool:
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
