"""Memoization: a call that has run before is not run again, in this run or a later one.

`Memoizer` is what the kernel asks, and what a plug-in implements. `BasicMemoizer` is the one that
is there: keys of `treadle.dataflow.memo`, a table within a budget of bytes, and a checkpoint.

Two rules. A result is given again only for the same key, and as a copy: what a program does to
a result it got does not reach the next one who asks. And what goes wrong with storing a result
never harms the task that made it.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from treadle.dataflow.futures import PutFuture
from treadle.dataflow.memo import options
from treadle.dataflow.memo._checkpoints import (
    CHECKPOINT_NAME,
    Earlier,
    Index,
    LoadedResults,
    Log,
    Writer,
    checkpoint_directory,
)
from treadle.dataflow.memo._outputs import outputs_gone
from treadle.dataflow.memo._recent import RecentKeys
from treadle.dataflow.memo.key import KeyMaker, MemoKey
from treadle.dataflow.memo.log_history import LogHistory
from treadle.dataflow.memo.miss import History, MissReport, explain, gone_outputs
from treadle.dataflow.memo.outcomes import Outcomes
from treadle.dataflow.memo.registry import CATALOGUE, PLANS, id_for_memo
from treadle.dataflow.memo.table import ResultTable
from treadle.log import logger
from treadle.repr import RepresentationMixin
from treadle.store import CheckpointIndex, CheckpointLog, load_or_create_secret
from treadle.utils import get_all_checkpoints

if TYPE_CHECKING:
    from treadle.dataflow.taskrecord import TaskRecord

__all__ = [
    "BasicMemoizer",
    "MemoKey",
    "MemoStatistics",
    "Memoizer",
    "MissReport",
    "id_for_memo",
]

CheckpointMode = Literal["task_exit", "periodic", "dfk_exit", "manual"]

_log = logger("memoization")


class Memoizer(ABC):
    """Decides whether a call must run. Its methods are called from several threads at once.

    A plug-in implements the abstract methods and sets `task_record.hashsum` in `check_memo` or
    in `make_key`. What a method raises ends in the future of the task.
    """

    @abstractmethod
    def start(self, *, run_dir: str, config_run_dir: str) -> None:
        """The kernel starts; called once, before any task.

        Args:
            run_dir: of this run, `runinfo/NNN`.
            config_run_dir: of all runs, `runinfo`.
        """

    @abstractmethod
    def check_memo(self, task_record: TaskRecord) -> Future[Any] | None:
        """A done future if the outcome of the task is known, else None."""

    @abstractmethod
    def update_memo_result(self, task_record: TaskRecord, result: Any) -> None:
        """The task has succeeded; its future resolves after this returns."""

    @abstractmethod
    def update_memo_exception(self, task_record: TaskRecord, exc: BaseException) -> None:
        """The task has failed for good."""

    @abstractmethod
    def close(self) -> None:
        """The kernel ends; a second call does nothing."""

    def make_key(self, task_record: TaskRecord) -> str | None:
        """The key of a task whose arguments are known; None if it is not memoized."""
        return None

    def checkpoint(self, tasks: Sequence[TaskRecord] | None = None) -> str:
        """Write what is not yet in the checkpoint; its directory, or '' if there is none."""
        return ""

    def load_checkpoints(self, checkpoint_dirs: Sequence[str]) -> Mapping[str, Future[Any]]:
        """Use the results of these checkpoints; they are returned by key."""
        return {}

    def explain_miss(self, task_record: TaskRecord) -> MissReport | None:
        """Why the task was not found; None if it was, or was not looked up."""
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoStatistics:
    """What a memoizer has done so far."""

    #: Calls that were found, and that were not.
    hits: int
    misses: int
    #: Results in memory, their bytes, and how many had to make room.
    entries: int
    entry_bytes: int
    evicted: int
    #: Results acknowledged by the checkpoint, and those that could not be written to it.
    checkpointed: int
    not_checkpointed: int
    #: Results that cannot be pickled: kept as they are, in this run only.
    unpicklable: int
    #: Records that could not be loaded; their calls ran again.
    load_errors: int
    #: Why the checkpoint is not written any more; empty while all is well.
    degraded: str


def _puts_in(depends: Sequence[Future[Any]]) -> dict[int, PutFuture[Any]] | None:
    """The values among the arguments that were named by `put`, by id."""
    return {id(f.result()): f for f in depends if isinstance(f, PutFuture)} or None


class BasicMemoizer(Memoizer, RepresentationMixin):
    """Memoization by code and arguments, with a checkpoint.

    Args:
        checkpoint_files: checkpoint directories (or run directories) to load; by default all
            those of earlier runs, if there is a mode.
        checkpoint_period: for the mode 'periodic': `'HH:MM:SS'` or seconds; half an hour.
        checkpoint_mode: when results are written: 'task_exit' before the task's future resolves,
            'periodic', 'dfk_exit', 'manual' by `checkpoint()`, or None. All but None also write
            when the kernel ends.
        memoize: False turns all of it off.
        memo_failures: a call that failed gives the same exception again instead of running.
        durability: what a written result survives: 'process' the death of the process, 'power'
            also that of the machine.
        cache_bytes: budget of the table in memory.
        memo_files: `File` arguments count by their 'url', or by their 'content' where it is local.

    Raises:
        ConfigurationError: an option is not allowed; the text says what is.
    """

    def __init__(
        self,
        *,
        checkpoint_files: Sequence[str] | None = None,
        checkpoint_period: str | float | None = None,
        checkpoint_mode: CheckpointMode | None = None,
        memoize: bool = True,
        memo_failures: bool = False,
        durability: Literal["process", "power"] = "process",
        cache_bytes: int = 1 << 30,
        memo_files: Literal["url", "content"] = "url",
    ) -> None:
        options.check_checkpoint_files(checkpoint_files)
        options.check_choice("checkpoint_mode", checkpoint_mode, options.MODES)
        options.check_choice("durability", durability, options.DURABILITIES)
        options.check_choice("memo_files", memo_files, options.MEMO_FILES)
        options.check_choice("memoize", memoize, (True, False))
        options.check_choice("memo_failures", memo_failures, (True, False))
        options.check_bytes("cache_bytes", cache_bytes)
        self._period_s = options.period_in_seconds(checkpoint_period)
        self.checkpoint_files = checkpoint_files
        self.checkpoint_period = checkpoint_period
        self.checkpoint_mode = checkpoint_mode
        self.memoize = memoize
        self.memo_failures = memo_failures
        self.durability = durability
        self.cache_bytes = cache_bytes
        self.memo_files = memo_files
        self._keys = KeyMaker(CATALOGUE, PLANS, content=memo_files == "content")
        self._history = History()
        self._recent = RecentKeys()
        self._earlier = Earlier(self._open_index)
        self._log_history = LogHistory(self._earlier)
        self._run_dir = self._root = ""
        self._outcomes = self._make_outcomes()
        self._hits = self._misses = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._timer: threading.Thread | None = None
        self._closed = False

    def _make_outcomes(self) -> Outcomes:
        write = {None: "never", "task_exit": "at once"}.get(self.checkpoint_mode, "later")
        return Outcomes(
            table=ResultTable(self.cache_bytes),
            earlier=self._earlier,
            writer=Writer(self._open_log, os.path.join(self._run_dir, CHECKPOINT_NAME)),
            open_index=self._open_index,
            write=write,
            failures=self.memo_failures,
        )

    # --- the kernel's calls ----------------------------------------------------------------------

    def start(self, *, run_dir: str, config_run_dir: str) -> None:
        """Load the checkpoints of earlier runs; start the clock of the mode 'periodic'.

        Raises:
            BadCheckpoint: one of `checkpoint_files` cannot be used.
        """
        self._run_dir, self._root = os.path.abspath(run_dir), os.path.abspath(config_run_dir)
        self._keys.log_dir = os.path.join(self._run_dir, "task_logs", "")
        self._outcomes = self._make_outcomes()
        if not self.memoize:
            return
        if self.checkpoint_files is not None:
            self._earlier.load([checkpoint_directory(path) for path in self.checkpoint_files])
        elif self.checkpoint_mode is not None:
            own = os.path.join(self._run_dir, CHECKPOINT_NAME)
            found = [path for path in get_all_checkpoints(self._root) if path != own]
            self._earlier.load_what_can_be(found)
        if self.checkpoint_mode == "periodic":
            self._timer = threading.Thread(
                target=self._checkpoint_by_the_clock, name="treadle-checkpoint", daemon=True
            )
            self._timer.start()

    def make_key(self, task_record: TaskRecord) -> str | None:
        """The key of a cached app's call.

        Raises:
            MemoKeyError: an argument has no identity; the text names it.
        """
        if not self.memoize or not task_record.memoize:
            return None
        key = self._keys.make(
            task_record.func,
            task_record.args,
            task_record.kwargs,
            task_record.ignore_for_cache or (),
            _puts_in(task_record.depends) if task_record.depends else None,
        )
        self._recent.made(key)
        return key.digest

    def check_memo(self, task_record: TaskRecord) -> Future[Any] | None:
        """A done future with a copy of the result, if the same call has run before.

        A call whose output files are not there any more runs again.
        """
        if not self.memoize or not task_record.memoize:
            return None
        digest = task_record.hashsum
        if digest is None:
            digest = task_record.hashsum = self.make_key(task_record)
        if digest is None:
            return None
        found = self._outcomes.find(digest)
        gone: list[str] = []
        if found is not None and found.exception() is None:
            gone = outputs_gone(task_record.kwargs, self._keys.is_automatic)
        if found is None or gone:
            found = None
            self._recent.missed(digest, self._history.now(), gone)
        else:
            self._recent.hit(digest)
        with self._lock:
            self._hits += found is not None
            self._misses += found is None
        return found

    def update_memo_result(self, task_record: TaskRecord, result: Any) -> None:
        """Keep a result; in the mode 'task_exit' it is in the checkpoint when this returns."""
        if self.memoize and task_record.hashsum is not None:
            self._keep(task_record, result, failed=False)

    def update_memo_exception(self, task_record: TaskRecord, exc: BaseException) -> None:
        """Keep a failure, if failures are kept."""
        if not self.memoize or task_record.hashsum is None:
            return
        if (
            self.memo_failures
            and isinstance(exc, Exception)
            and not isinstance(exc, CancelledError)
        ):
            self._keep(task_record, exc, failed=True)
        else:
            self._recent.ended(task_record.hashsum)

    def checkpoint(self, tasks: Sequence[TaskRecord] | None = None) -> str:
        """Write the results that are not in the checkpoint yet.

        Args:
            tasks: only these tasks' results; all by default.

        Returns:
            The directory of the checkpoint, or '' if nothing has been written in this run.
        """
        wanted = None if tasks is None else {task.hashsum for task in tasks}
        self._outcomes.write_pending(wanted)
        if self.checkpoint_mode is None:
            self._outcomes.write_table(wanted)
        return self._outcomes.writer.directory

    def load_checkpoints(self, checkpoint_dirs: Sequence[str]) -> Mapping[str, Future[Any]]:
        """Use the results of these checkpoints, too.

        Args:
            checkpoint_dirs: checkpoint directories or run directories; later ones win.

        Returns:
            Done futures by key; each result is loaded when it is asked for.

        Raises:
            BadCheckpoint: one of them cannot be used.
        """
        directories = [checkpoint_directory(path) for path in checkpoint_dirs or ()]
        index = self._earlier.load(directories)
        self._log_history.forget()
        return LoadedResults(index, self._outcomes.load_or_fail)

    def explain_miss(self, task_record: TaskRecord) -> MissReport | None:
        """How a call that was not found differs from the nearest one that is known.

        Returns:
            None if the call was found, was not looked up, or was looked up long ago.
        """
        digest = task_record.hashsum
        missed = self._recent.miss(digest) if digest is not None else None
        if missed is None:
            return None
        key, mark, gone = missed
        if gone:
            return gone_outputs(key, gone)
        earlier = [*self._log_history.calls(key.app), *self._history.before(key.app, mark)]
        return explain(key, earlier)

    def statistics(self) -> MemoStatistics:
        """What was found, kept, written and lost so far."""
        outcomes = self._outcomes
        entries, entry_bytes, evicted = outcomes.table.statistics()
        degraded = outcomes.writer.degraded
        return MemoStatistics(
            hits=self._hits,
            misses=self._misses,
            entries=entries,
            entry_bytes=entry_bytes,
            evicted=evicted,
            checkpointed=outcomes.writer.written,
            not_checkpointed=outcomes.writer.failed,
            unpicklable=outcomes.unpicklable,
            load_errors=outcomes.load_errors,
            degraded="" if degraded is None else str(degraded),
        )

    def close(self) -> None:
        """Write what waits for a checkpoint, if there is a mode, and close the log."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._stop.set()
        if self._timer is not None and self._timer is not threading.current_thread():
            self._timer.join()
        self._outcomes.write_pending(None)
        self._outcomes.close()

    # --- helpers ---------------------------------------------------------------------------------

    def _keep(self, task_record: TaskRecord, value: Any, *, failed: bool) -> None:
        digest = task_record.hashsum
        assert digest is not None
        key = self._recent.ended(digest)
        if self._outcomes.keep(digest, key, value, failed=failed):
            task_record.checkpoint = True
        if key is not None:
            self._history.add(key.app, key)

    def _checkpoint_by_the_clock(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self._outcomes.write_pending(None)
            except Exception:  # noqa: BLE001 - the clock goes on, whatever it was
                _log.exception("a periodic checkpoint failed; the next one will try again")

    def _open_log(self) -> Log:
        secret = load_or_create_secret(self._root)
        return CheckpointLog(
            os.path.join(self._run_dir, CHECKPOINT_NAME),
            secret,
            run_id=os.path.basename(self._run_dir),
            durability=self.durability,
        )

    def _open_index(self, directories: list[str]) -> Index:
        return CheckpointIndex.open(directories)
