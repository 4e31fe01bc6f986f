"""The dataflow kernel: the program's face of the machine, its shell and its executors."""

from __future__ import annotations

import atexit
import os
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, cast

from treadle.config import Config
from treadle.data_provider.data_manager import DataManager
from treadle.dataflow import _events as ev
from treadle.dataflow._ending import Ending
from treadle.dataflow._gate import Gate
from treadle.dataflow._hooks import Hooks
from treadle.dataflow._invariants import check
from treadle.dataflow._machine import Machine
from treadle.dataflow._names import INTERNAL_LABEL
from treadle.dataflow._outcomes import Outcomes
from treadle.dataflow._references import References, TasksAt
from treadle.dataflow._remote import Remote
from treadle.dataflow._routes import Route
from treadle.dataflow._rundir import make_run_directory
from treadle.dataflow._shell import Shell
from treadle.dataflow._submission import Submitter, default_autopath, select
from treadle.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER
from treadle.dataflow.futures import AppFuture, LiftedFuture, wait_until_done
from treadle.dataflow.memoization import BasicMemoizer, Memoizer
from treadle.dataflow.states import FINAL_STATES, States
from treadle.errors import (
    ConfigurationError,
    InternalError,
    NoDataFlowKernelError,
)
from treadle.executors.threads import ThreadPoolExecutor
from treadle.jobs import JobStatusPoller
from treadle.log import logger
from treadle.log_config import start_logging
from treadle.log_handlers import RUN
from treadle.runtime.engine import Engine
from treadle.usage_tracking import UsageTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Future

    from treadle.dataflow._bundles import Bundler
    from treadle.dataflow.taskrecord import TaskRecord
    from treadle.executors.base import ParslExecutor

_log = logger("dataflow")


class DataFlowKernel(Hooks, Ending):
    """Makes tasks of app calls, runs each when its dependencies are done, keeps what they leave.

    A task goes to an executor, one that its app names or any; its result goes into the future
    that the call returned. All methods are safe from any thread.

    Args:
        config: what the kernel is to be; None: two threads and all defaults.

    Attributes:
        tasks: the records of open tasks by number (of all, without `garbage_collect`).
        run_dir: the directory of this run.
        run_id: the identity of this run, unique for ever.
        memoizer: what remembers results.
        executors: by label, the kernel's own among them.
        job_status_poller: what looks after the blocks of executors.

    Raises:
        ConfigurationError: the run directory cannot be made, or an executor not be started.
        BadCheckpoint: a checkpoint that was asked for cannot be trusted.
    """

    def __init__(self, config: Config | None = None) -> None:
        self._config = config = _checked(config)
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._refusal: BaseException | None = None
        self.run_id = str(uuid.uuid4())
        self.run_dir = make_run_directory(config.run_dir)
        #: Tells the logs of several kernels apart.
        self._extra = {RUN: self.run_dir}
        self.tasks: dict[int, TaskRecord] = {}
        self.executors: dict[str, ParslExecutor] = {}
        self.memoizer = _memoizer_of(config)
        self._usage = UsageTracker(config.usage_tracking, project_name=config.project_name)
        self._engine = Engine.acquire()
        self._stop_logging = _nothing
        try:
            self._stop_logging = start_logging(
                config.initialize_logging, log_dir=_path(self.run_dir)
            )
            self._usage.send_start([*config.executors, self.memoizer])
            self._build(config)
            self.memoizer.start(run_dir=self.run_dir, config_run_dir=config.run_dir)
            self.add_executors(config.executors)
            internal = ThreadPoolExecutor(INTERNAL_LABEL, config.internal_tasks_max_threads)
            self._add(internal)
        except BaseException:
            self._refusal = NoDataFlowKernelError("this kernel could not be started")
            for executor in list(self.executors.values()):
                self._shut_down(executor, block=False)
            self._give_back(block=False)
            raise
        atexit.register(self.atexit_cleanup)
        _log.info("kernel %s runs in %s", self.run_id, self.run_dir, extra=self._extra)

    def _build(self, config: Config) -> None:
        """Put the machine, its shell and what makes tasks together."""
        gate = None if config.max_pending is None else Gate(config.max_pending)
        resolver = config.dependency_resolver or SHALLOW_DEPENDENCY_RESOLVER
        handler = config.retry_handler
        self._gate = gate
        self.job_status_poller = JobStatusPoller(
            strategy=config.strategy,
            strategy_period=config.strategy_period,
            max_idletime=config.max_idletime,
        )
        self._machine = Machine(retries=config.retries, judged=handler is not None)
        self._outcomes = Outcomes(
            self.tasks,
            collect=config.garbage_collect,
            leave=None if gate is None else gate.leave,
            stop=self._stop,
            let_go=self._let_go,
        )
        self._shell = Shell(
            machine=self._machine,
            engine=self._engine,
            memoizer=self.memoizer,
            resolver=resolver,
            retry_handler=handler,
            outcomes=self._outcomes,
            validate=self._check if os.environ.get("TREADLE_VALIDATE") else None,
        )
        self._submitter = Submitter(
            kernel=self,
            shell=self._shell,
            memoizer=self.memoizer,
            resolver=resolver,
            files=DataManager(
                submit=self.submit,
                staging_for=lambda label: getattr(self.executors[label], "storage_access", None),
                working_dir_for=lambda label: getattr(self.executors[label], "working_dir", None),
                internal_label=INTERNAL_LABEL,
                dfk=self,
            ),
            gate=gate,
            autopath=config.std_autopath or default_autopath(self.run_dir),
            memoize=config.app_cache,
        )

    @property
    def config(self) -> Config:
        """The configuration that the kernel uses."""
        return self._config

    @property
    def cleanup_called(self) -> bool:
        """Whether the kernel has been cleaned up, or is being."""
        return self._refusal is not None

    @property
    def task_count(self) -> int:
        """How many tasks there have been."""
        return self._submitter.count

    @property
    def task_state_counts(self) -> dict[States, int]:
        """How many tasks are in each state."""
        return dict(self._machine.counts)

    def add_executors(self, executors: Iterable[ParslExecutor]) -> None:
        """Start executors (but those with `managed=False`) and let apps use them.

        Raises:
            ConfigurationError: a label is used already.
            NoDataFlowKernelError: the kernel has been cleaned up.
        """
        if self._refusal is not None or self._shell.dead is not None:
            self._refuse()
        for executor in executors:
            self._add(executor)
            self._submitter.labels.append(executor.label)

    def _add(self, executor: ParslExecutor) -> None:
        label = executor.label
        if label in self.executors:
            raise ConfigurationError(f"an executor labelled {label!r} is there already")
        executor.run_dir = self.run_dir
        executor.run_id = self.run_id
        try:
            if getattr(executor, "managed", True):
                executor.start()
        except Exception as error:
            raise ConfigurationError(
                f"executor {label!r} cannot be started: {type(error).__name__}: {error}"
            ) from error
        route = Route(executor, gated=self._gate is not None)
        if hasattr(executor, "open_sink"):
            route.references = self._refer_to(executor)
        self.executors[label] = executor
        self._shell.routes[label] = route
        if getattr(executor, "managed", True):
            self.job_status_poller.add(executor)

    def _refer_to(self, executor: Any) -> References:
        """Let tasks of an executor refer to results that it holds."""
        config = self._config
        executor.kernel_tasks = TasksAt(executor.label, self._machine.open)
        return References(
            executor,
            shell=self._shell,
            machine=self._machine,
            engine=self._engine,
            resolver=config.dependency_resolver or SHALLOW_DEPENDENCY_RESOLVER,
            early=config.retry_handler is None,
            retries=config.retries,
            leave=_nobody if self._gate is None else self._gate.leave,
        )

    def _let_go(self, record: TaskRecord) -> None:
        references = self._shell.routes[cast("str", record.executor)].references
        if references is not None:
            references.let_go(record)

    # --- tasks ------------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., Any],
        app_args: Sequence[Any],
        executors: str | Sequence[str] = "all",
        cache: bool = False,
        ignore_for_cache: Sequence[str] | None = None,
        app_kwargs: Mapping[str, Any] = {},
        join: bool = False,
    ) -> AppFuture[Any]:
        """Add a task; apps do this when they are called.

        Args:
            func: what to call; for a join, what returns the futures to wait for.
            app_args: its positional arguments.
            executors: 'all', or labels; one of them is drawn.
            cache: look the result up, and remember it.
            ignore_for_cache: names of arguments that make no difference to the result.
            app_kwargs: its keyword arguments.
            join: the result is that of the futures which `func` returns.

        Returns:
            Its future. What is wrong with the call is the future's exception.

        Raises:
            NoDataFlowKernelError: the kernel has been cleaned up.
            KernelForked: this is a forked child of the kernel's process.
            EngineCrashed: the engine has ended by an error of its own.
        """
        if self._refusal is not None or self._shell.dead is not None:
            self._refuse()
        future: AppFuture[Any] = AppFuture()
        self._submitter.submit(
            future, func, app_args, executors, cache, ignore_for_cache, app_kwargs, join
        )
        return future

    def lift(self, future: LiftedFuture, parent: AppFuture[Any], kind: str, key: Any) -> None:
        """Make a task of the selection of a part of a result.

        Raises:
            NoDataFlowKernelError: the kernel has been cleaned up.
            KernelForked: this is a forked child of the kernel's process.
            EngineCrashed: the engine has ended by an error of its own.
        """
        if self._refusal is not None or self._shell.dead is not None:
            self._refuse()
        self._submitter.submit(
            future,
            select,
            (parent, kind, key),
            [_holder_of(parent)],
            False,
            None,
            {},
            False,
            waits_for_room=False,  # whoever looks at a future may hold locks of others
        )

    def bundler(
        self,
        func: Callable[..., Any],
        executors: str | Sequence[str],
        cache: bool,
        app_kwargs: Mapping[str, Any],
    ) -> Bundler | None:
        """What makes single tasks of many calls with these keyword arguments.

        Returns:
            None if nothing does: the calls are to be submitted one by one.

        Raises:
            NoDataFlowKernelError: the kernel has been cleaned up.
            KernelForked: this is a forked child of the kernel's process.
            EngineCrashed: the engine has ended by an error of its own.
        """
        if self._refusal is not None or self._shell.dead is not None:
            self._refuse()
        if cache and self._config.app_cache:
            return None
        return self._submitter.bundler(func, executors, app_kwargs)

    def _refuse(self) -> None:
        raise self._shell.dead or self._refusal or InternalError("refused for no reason")

    def cancel(self, task_record: TaskRecord) -> bool:
        """Cancel a task; see `AppFuture.cancel`."""
        if self._shell.dead is not None:
            return False
        self._shell.inbox.call(ev.CancelAsked(task_record))
        attempt = task_record.exec_fu
        if task_record.status not in FINAL_STATES and attempt is not None and attempt.cancel():
            self._shell.inbox.call(ev.CancelAsked(task_record, stopped=True))
        future = task_record.app_fu
        return future is not None and future.cancelled()

    def _stop(self, attempt: Future[Any]) -> None:
        """Stop an attempt whose task has ended; its executor may run any code to do so."""
        self._engine.pool.submit(attempt.cancel)

    def wait_for_current_tasks(self) -> None:
        """Wait until all tasks that are open now have ended."""
        for record in list(self.tasks.values()):
            if (future := record.app_fu) is not None:
                wait_until_done(future)
        # A task leaves the table just before its future is done.
        self._shell.inbox.flush()

    # --- checkpoints ----------------------------------------------------------------------------

    def checkpoint(self, tasks: Sequence[TaskRecord] | None = None) -> str:
        """Write results of cached apps that are not in a checkpoint yet.

        Args:
            tasks: whose; None: all.

        Returns:
            The directory of the checkpoint.
        """
        return self.memoizer.checkpoint(tasks)

    def load_checkpoints(self, checkpointDirs: Sequence[str]) -> Mapping[str, Future[Any]]:
        """Make the results in checkpoint directories known to the memo table.

        Returns:
            Memo keys and futures that have their results, loaded when asked for.

        Raises:
            BadCheckpoint: a directory has none, or must not be trusted.
        """
        return self.memoizer.load_checkpoints(checkpointDirs)

    def _forget(self) -> None:
        DataFlowKernelLoader.forget(self)

    def _check(self) -> None:
        check(self._machine)

    def __repr__(self) -> str:
        state = "cleaned up" if self._refusal is not None else "open"
        return f"<DataFlowKernel {self.run_dir} {state}, {len(self._machine.open)} open tasks>"


def _nothing() -> None:
    """Stop a log that was not begun."""


def _nobody(count: int) -> None:
    """Tasks have ended, and nobody waits for room."""


def _holder_of(parent: AppFuture[Any]) -> str:
    """Where to select a part of a result: where the result is, unless that is here."""
    record = parent._record
    if record is None or not record.early or parent._exception is not None:
        return INTERNAL_LABEL
    result: object = parent._result
    if isinstance(result, Remote) and result.is_loaded:
        return INTERNAL_LABEL
    return cast("str", record.executor)


def _path(directory: str) -> Any:
    from pathlib import Path  # noqa: PLC0415

    return Path(directory)


def _checked(config: object) -> Config:
    if config is None:
        return Config()
    if not isinstance(config, Config):
        hint = f"; write Config(executors=[{config!r}])" if hasattr(config, "submit") else ""
        raise ConfigurationError(f"a kernel is made of a Config, not of {config!r}{hint}")
    return config


def _memoizer_of(config: Config) -> Memoizer:
    if config.memoizer is not None:
        return config.memoizer
    return BasicMemoizer(
        checkpoint_files=config.checkpoint_files,
        checkpoint_period=config.checkpoint_period,
        checkpoint_mode=config.checkpoint_mode,
        memoize=config.app_cache,
    )


class DataFlowKernelLoader:
    """The kernel that apps use unless they name another."""

    _dfk: ClassVar[DataFlowKernel | None] = None

    @classmethod
    def load(cls, config: Config | None = None) -> DataFlowKernel:
        """Start a kernel and make it the one that apps use.

        Raises:
            ConfigurationError: there is one already, or this one cannot be.
        """
        if cls._dfk is not None and not cls._dfk._is_forked():
            raise ConfigurationError(
                "Config has already been loaded; call treadle.dfk().cleanup() first, or give "
                "apps their kernel with data_flow_kernel="
            )
        cls._dfk = DataFlowKernel(config)
        return cls._dfk

    @classmethod
    def dfk(cls) -> DataFlowKernel:
        """The kernel that apps use.

        Raises:
            NoDataFlowKernelError: none is loaded.
        """
        if cls._dfk is None:
            raise NoDataFlowKernelError("Must first load config: call treadle.load()")
        return cls._dfk

    @classmethod
    def clear(cls) -> None:
        """Forget the kernel, without ending it; another can be loaded."""
        cls._dfk = None

    @classmethod
    def forget(cls, kernel: DataFlowKernel) -> None:
        """Forget the kernel if it is the one that apps use."""
        if cls._dfk is kernel:
            cls._dfk = None

    @classmethod
    def wait_for_current_tasks(cls) -> None:
        """Wait until all tasks of the kernel that are open now have ended."""
        cls.dfk().wait_for_current_tasks()
