"""The configuration of a kernel: plain Python, checked when it is written.

Everything wrong in it is reported at once, each with what would be allowed; nothing has been
started by then. `repr(config)` rebuilds it.
"""

from __future__ import annotations

import difflib
import inspect
import os
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treadle.dataflow._names import INTERNAL_LABEL
from treadle.errors import ConfigurationError
from treadle.executors.base import ParslExecutor
from treadle.executors.threads import ThreadPoolExecutor

if TYPE_CHECKING:
    from treadle.dataflow.dependency_resolvers import DependencyResolver
    from treadle.dataflow.memoization import CheckpointMode, Memoizer
    from treadle.dataflow.taskrecord import TaskRecord
    from treadle.log_config import LogConfig

CHECKPOINT_MODES = ("task_exit", "periodic", "dfk_exit", "manual")
EXIT_MODES = ("cleanup", "skip", "wait")
STRATEGIES = ("simple", "htex_auto_scale", "none", None)

_PERIOD = re.compile(r"\d+:[0-5]?\d:[0-5]?\d")

#: Shown by repr always; the others only where they differ from their defaults.
_ALWAYS_SHOWN = (
    "app_cache",
    "checkpoint_files",
    "checkpoint_mode",
    "checkpoint_period",
    "executors",
    "garbage_collect",
    "initialize_logging",
    "internal_tasks_max_threads",
    "max_idletime",
    "monitoring",
    "retries",
    "retry_handler",
    "run_dir",
    "strategy",
    "usage_tracking",
)


class Config:
    """What a kernel is to be. All options but `executors` are given by name.

    Args:
        executors: where tasks run; None: one `ThreadPoolExecutor()`. Labels must differ.
        app_cache: False switches memoization off for all apps.
        checkpoint_files: checkpoint directories to read results from.
        checkpoint_mode: when results of cached apps are written: 'task_exit' (with each task,
            before its future is done), 'periodic', 'dfk_exit', 'manual', or None: never.
        checkpoint_period: 'HH:MM:SS' between checkpoints in the mode 'periodic'.
        memoizer: a memoizer of your own, instead of the four options above.
        dependency_resolver: which containers are searched for futures; None: arguments and the
            items of `inputs` only.
        exit_mode: what `with treadle.load()` does at its end: 'cleanup', 'wait' (for all tasks,
            then cleanup), or 'skip' (nothing).
        garbage_collect: drop what is known of a task when it has ended.
        initialize_logging: True: a log file in the run directory; False: none; or a `LogConfig`.
        internal_tasks_max_threads: threads for joins and staging.
        max_idletime: seconds after which idle blocks are given back.
        max_pending: how many tasks may be open before an app call waits; None: any number.
        monitoring: not available yet; must be None.
        project_name: a name to send with usage data.
        retries: what the failures of one task may cost in all before it fails; each costs 1
            unless the retry handler says otherwise.
        retry_handler: `f(exception, task_record) -> cost` of a failure.
        run_dir: directory for the numbered directories of runs.
        std_autopath: `f(task_record, 'stdout' | 'stderr') -> path` for `AUTO_LOGNAME`.
        strategy: how blocks are scaled: 'simple', 'htex_auto_scale', 'none' or None.
        strategy_period: seconds between two looks at the blocks.
        usage_tracking: 0 (or False) to 3; nothing is sent unless an address is configured.

    Raises:
        ConfigurationError: names every option that cannot be, and what is allowed.
    """

    def __init__(
        self,
        executors: Iterable[ParslExecutor] | None = None,
        *,
        app_cache: bool = True,
        checkpoint_files: Sequence[str] | None = None,
        checkpoint_mode: CheckpointMode | None = None,
        checkpoint_period: str | None = None,
        memoizer: Memoizer | None = None,
        dependency_resolver: DependencyResolver | None = None,
        exit_mode: str = "cleanup",
        garbage_collect: bool = True,
        initialize_logging: bool | LogConfig = True,
        internal_tasks_max_threads: int = 10,
        max_idletime: float = 120.0,
        max_pending: int | None = None,
        monitoring: None = None,
        project_name: str | None = None,
        retries: float = 0,
        retry_handler: Callable[[BaseException, TaskRecord], float] | None = None,
        run_dir: str | os.PathLike[str] = "runinfo",
        std_autopath: Callable[[TaskRecord, str], Any] | None = None,
        strategy: str | None = "simple",
        strategy_period: float = 5,
        usage_tracking: int = False,
    ) -> None:
        self.app_cache = app_cache
        self.checkpoint_files = checkpoint_files
        self.checkpoint_mode = checkpoint_mode
        self.checkpoint_period = checkpoint_period
        self.memoizer = memoizer
        self.dependency_resolver = dependency_resolver
        self.exit_mode = exit_mode
        self.garbage_collect = garbage_collect
        self.initialize_logging = initialize_logging
        self.internal_tasks_max_threads = internal_tasks_max_threads
        self.max_idletime = max_idletime
        self.max_pending = max_pending
        self.monitoring = monitoring
        self.project_name = project_name
        self.retries = retries
        self.retry_handler = retry_handler
        self.run_dir = os.fspath(run_dir) if isinstance(run_dir, os.PathLike) else run_dir
        self.std_autopath = std_autopath
        self.strategy = strategy
        self.strategy_period = strategy_period
        self.usage_tracking = usage_tracking
        given = [ThreadPoolExecutor()] if executors is None else executors
        self._executors, wrong = _read_executors(given)
        wrong += list(_wrong_options(self))
        if wrong:
            raise ConfigurationError("; ".join(wrong))

    @property
    def executors(self) -> list[ParslExecutor]:
        """Where tasks run. Assigning checks anew."""
        return self._executors

    @executors.setter
    def executors(self, value: Iterable[ParslExecutor]) -> None:
        executors, wrong = _read_executors(value)
        if wrong:
            raise ConfigurationError("; ".join(wrong))
        self._executors = executors

    def __repr__(self) -> str:
        shown = []
        for name, parameter in sorted(inspect.signature(Config.__init__).parameters.items()):
            if name == "self":
                continue
            value = getattr(self, name)
            if name in _ALWAYS_SHOWN or value != parameter.default:
                shown.append(f"{name}={value!r}")
        line = f"Config({', '.join(shown)})"
        if len(line) <= 80:
            return line
        body = ",\n".join(textwrap.indent(argument, "    ") for argument in shown)
        return f"Config(\n{body}\n)"


def _read_executors(given: object) -> tuple[list[ParslExecutor], list[str]]:
    if isinstance(given, ParslExecutor):
        return [], [f"executors={given!r}: give a list of executors"]
    try:
        executors = list(given)  # type: ignore[call-overload]
    except TypeError:
        return [], [f"executors={given!r}: give a list of executors"]
    wrong = []
    labels: set[str] = set()
    for executor in executors:
        label = getattr(executor, "label", None)
        methods = ("start", "submit", "shutdown")
        can_all = all(callable(getattr(executor, method, None)) for method in methods)
        if not can_all or not isinstance(label, str):
            wrong.append(
                f"executors: {executor!r} is no executor (one has a label, start, submit and "
                f"shutdown; see treadle.executors.base.ParslExecutor)"
            )
        elif label == INTERNAL_LABEL:
            wrong.append(f"executors: the label {label!r} is the kernel's own")
        elif label in labels:
            wrong.append(f"Executors must have unique labels: {label!r} is there twice")
        else:
            labels.add(label)
    if not executors:
        wrong.append("executors=[]: give at least one, or None for threads")
    return executors, wrong


def _wrong_options(config: Any) -> Iterable[str]:
    """Say of each option that cannot be what is allowed."""
    for name in ("app_cache", "garbage_collect"):
        if not isinstance(value := getattr(config, name), bool):
            yield f"{name}={value!r}: True or False"
    yield from _wrong_choice("checkpoint_mode", config.checkpoint_mode, (*CHECKPOINT_MODES, None))
    yield from _wrong_choice("exit_mode", config.exit_mode, EXIT_MODES)
    yield from _wrong_choice("strategy", config.strategy, STRATEGIES)
    for name in ("retry_handler", "std_autopath"):
        if (value := getattr(config, name)) is not None and not callable(value):
            yield f"{name}={value!r}: a function, or None"
    for name in ("max_idletime", "strategy_period", "retries"):
        if not _is_number(value := getattr(config, name)) or not value >= 0:  # nor NaN
            yield f"{name}={value!r}: a number of at least 0"
    for name, empty in (("internal_tasks_max_threads", ""), ("max_pending", ", or None")):
        value = getattr(config, name)
        if empty and value is None:
            continue
        if type(value) is not int or value < 1:
            yield f"{name}={value!r}: a whole number of at least 1{empty}"
    if not isinstance(config.run_dir, str) or not config.run_dir:
        yield f"run_dir={config.run_dir!r}: the path of a directory"
    if config.project_name is not None and not isinstance(config.project_name, str):
        yield f"project_name={config.project_name!r}: a string, or None"
    if not isinstance(config.usage_tracking, int) or not 0 <= config.usage_tracking <= 3:
        yield f"usage_tracking={config.usage_tracking!r}: False, True, or a level from 0 to 3"
    if config.monitoring is not None:
        yield f"monitoring={config.monitoring!r}: this release has no monitoring; leave it None"
    yield from _wrong_memo(config)
    yield from _wrong_plugins(config)


def _wrong_memo(config: Any) -> Iterable[str]:
    files = config.checkpoint_files
    if files is not None and (
        isinstance(files, (str, bytes))
        or not isinstance(files, Sequence)
        or not all(isinstance(f, (str, os.PathLike)) for f in files)
    ):
        yield (
            f"checkpoint_files={files!r}: a list of checkpoint directories, such as "
            f"['runinfo/000/checkpoint'] (treadle.utils.get_all_checkpoints() finds them), or None"
        )
    period = config.checkpoint_period
    if period is not None:
        if not isinstance(period, str) or not _PERIOD.fullmatch(period):
            yield f"checkpoint_period={period!r}: 'HH:MM:SS', or None"
        elif config.checkpoint_mode != "periodic":
            yield (
                f"checkpoint_period={period!r} goes with checkpoint_mode='periodic', not "
                f"{config.checkpoint_mode!r}"
            )
    if config.checkpoint_mode is not None and not config.app_cache:
        yield "checkpoint_mode needs app_cache=True: only remembered results can be written"
    if config.memoizer is not None:
        clashing = [
            name
            for name in ("checkpoint_files", "checkpoint_mode", "checkpoint_period")
            if getattr(config, name) is not None
        ] + ([] if config.app_cache else ["app_cache"])
        if clashing:
            yield f"memoizer goes without {', '.join(clashing)}: they are the memoizer's own then"


def _wrong_plugins(config: Any) -> Iterable[str]:
    memoizer = config.memoizer
    if memoizer is not None and not callable(getattr(memoizer, "check_memo", None)):
        yield f"memoizer={memoizer!r}: a Memoizer, or None"
    resolver = config.dependency_resolver
    if resolver is not None and not callable(getattr(resolver, "traverse_to_gather", None)):
        yield f"dependency_resolver={resolver!r}: a DependencyResolver, or None"
    logging = config.initialize_logging
    if not isinstance(logging, bool) and not hasattr(logging, "initialize_logging"):
        yield f"initialize_logging={logging!r}: True, False, or a LogConfig"


def _wrong_choice(name: str, value: object, allowed: Sequence[object]) -> Iterable[str]:
    # Only strings are compared: the comparison of anything else is somebody's code.
    comparable = value is None or isinstance(value, str)
    if comparable and value in allowed:
        return
    near = difflib.get_close_matches(str(value), [c for c in allowed if isinstance(c, str)], 1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    yield f"{name}={value!r}: one of {', '.join(map(repr, allowed))}{hint}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
