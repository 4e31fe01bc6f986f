"""From an app call to a task: its record, its files, its streams, what it waits for.

This runs in the caller's thread. What is wrong with a call ends in the call's own future.
"""

from __future__ import annotations

import itertools
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle.data_provider.prepare import prepare_files, unstaged_outputs
from treadle.dataflow import _events as ev
from treadle.dataflow._binding import gather, is_easy
from treadle.dataflow._bundles import MOST_ROWS, Bundle, Bundler, has_files
from treadle.dataflow._names import AUTO_LOGNAME
from treadle.dataflow._outcomes import show
from treadle.dataflow._shell import Shell, follow, succeeded
from treadle.dataflow.futures import AppFuture
from treadle.dataflow.taskrecord import TaskRecord
from treadle.errors import ConfigurationError, TaskCallError, UnknownExecutor

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.data_provider.data_manager import DataManager
    from treadle.dataflow._gate import Gate
    from treadle.dataflow._node import Node
    from treadle.dataflow.dependency_resolvers import DependencyResolver
    from treadle.dataflow.dflow import DataFlowKernel
    from treadle.dataflow.memoization import Memoizer

_SPECIAL = frozenset(("stdout", "stderr", "inputs", "outputs", "parsl_resource_specification"))

#: Shared by all tasks that ask nothing of their executor; never written to.
_NONE_ASKED: dict[str, Any] = {}

AutoPath = Callable[[TaskRecord, str], Any]


class Submitter:
    """Makes tasks of the calls of one kernel."""

    def __init__(
        self,
        *,
        kernel: DataFlowKernel,
        shell: Shell,
        memoizer: Memoizer,
        resolver: DependencyResolver,
        files: DataManager,
        gate: Gate | None,
        autopath: AutoPath,
        memoize: bool,
    ) -> None:
        self._kernel = kernel
        self._shell = shell
        self._memoizer = memoizer
        self._resolver = resolver
        self._files = files
        self._gate = gate
        self._autopath = autopath
        self._memoize = memoize
        self._numbers = itertools.count()
        #: Labels that 'all' chooses from.
        self.labels: list[str] = []

    @property
    def count(self) -> int:
        """How many tasks there have been."""
        # `count` shows its next number in its repr and nowhere else.
        return int(repr(self._numbers)[6:-1])

    def submit(
        self,
        future: AppFuture[Any],
        func: Callable[..., Any],
        args: Sequence[Any],
        executors: str | Sequence[str],
        cache: bool,
        ignore: Sequence[str] | None,
        kwargs: Mapping[str, Any],
        join: bool,
        *,
        waits_for_room: bool = True,
    ) -> None:
        """Start a task whose outcome goes into the future."""
        record = TaskRecord(next(self._numbers), memoize=cache and self._memoize, join=join)
        record.t_invoked = time.time()
        record.dfk = self._kernel
        record._future = future
        record.func = func
        record.func_name = getattr(func, "__name__", None) or type(func).__name__
        record.args = tuple(args)
        record.depends = ()
        record.exec_fu = None
        record.error = None
        record.bound = False
        record.gated = self._gate is not None
        # Set even if there are none: to ask for a slot that was never set costs a microsecond.
        record._kwargs = dict(kwargs) if kwargs else {}
        record.resource_specification = _NONE_ASKED
        if cache:
            record.ignore_for_cache = tuple(ignore or ())
        future._record = record
        if self._gate is not None:
            self._gate.enter(wait=waits_for_room)
        try:
            record.executor = label = self._choose(executors)
            waits = self._read_call(record, label)
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) and _in_main_thread():
                if self._gate is not None:
                    self._gate.leave()
                raise
            record.error = error
            record.fail_history.append(show(error))
            waits = None
            if record.kwargs.get("outputs"):
                # Who asks for the files is to hear of the error too.
                future._files = (None, None, unstaged_outputs(record.kwargs, future, record.id))
        self._take_on(record, waits)

    def bundler(
        self, func: Callable[..., Any], executors: str | Sequence[str], kwargs: Mapping[str, Any]
    ) -> Bundler | None:
        """What makes bundles of calls with these keyword arguments; None if nothing does.

        What is wrong with the call is no concern of this: the first task will say so.
        """
        like = TaskRecord(-1)  # what the record of each bundle is like
        like.dfk, like.func, like.kwargs = self._kernel, func, dict(kwargs)
        like.func_name = getattr(func, "__name__", None) or type(func).__name__
        try:
            like.executor = label = self._choose(executors)
            references = self._shell.routes[label].references
            if references is None or has_files(kwargs):
                return None
            self._read_special(like, like.kwargs)
            waits = gather((), like.kwargs, self._resolver)
            if not references.stage(like, waits):
                return None
        except Exception:  # noqa: BLE001 - see above
            return None
        like.depends = tuple(waits)
        return Bundler(
            references=references,
            resolver=self._resolver,
            number=self._take_numbers,
            begin=partial(self._begin_bundle, like, waits),
            task=like.stage,
            most=MOST_ROWS if self._gate is None else min(MOST_ROWS, self._gate.limit),
        )

    def _take_numbers(self, count: int) -> int:
        # In one go: nothing else runs while `deque` counts. It keeps the last number only.
        last: int = deque(itertools.islice(self._numbers, count), maxlen=1)[0]
        return last - count + 1

    def _begin_bundle(self, like: TaskRecord, waits: list[Future[Any]], record: Bundle) -> None:
        record.t_invoked = time.time()
        record.dfk = self._kernel
        record.func, record.func_name = like.func, like.func_name
        record.args, record._kwargs = (), like.kwargs
        record.depends = like.depends
        record.exec_fu = record.error = None
        record.bound = record.easy = False
        record.executor = like.executor
        record.resource_specification = like.resource_specification
        record.gated = self._gate is not None
        if self._gate is not None:
            self._gate.enter(record.total)
        self._take_on(record, waits)

    def _take_on(self, record: TaskRecord, waits: list[Future[Any]] | None) -> None:
        """Hand the task to the machine; one that was struck by Ctrl-C before that leaves nothing."""
        try:
            self._kernel.tasks[record.id] = record
            self._post(record, waits)
        except BaseException:
            # Ctrl-C: nobody will hold the future, and nobody may wait for it for ever.
            self._kernel.tasks.pop(record.id, None)
            if self._gate is not None and record.gated:
                record.gated = False
                self._gate.leave(record.rows)
            raise

    def _choose(self, executors: str | Sequence[str]) -> str:
        if executors == "all":
            labels: Sequence[str] = self.labels
            if len(labels) == 1:
                return labels[0]
        elif isinstance(executors, str):
            raise ConfigurationError(
                f"executors={executors!r}: 'all', or a list of labels such as [{executors!r}]"
            )
        else:
            labels = executors
        if not labels:
            raise ConfigurationError("executors=[]: 'all', or at least one label")
        label = labels[0] if len(labels) == 1 else random.choice(labels)
        if label not in self._shell.routes:
            raise UnknownExecutor(label, self.labels)
        return label

    def _read_call(self, record: TaskRecord, label: str) -> list[Future[Any]]:
        """Find the files, streams, resources and futures of a call."""
        kwargs = record.kwargs
        if kwargs and not _SPECIAL.isdisjoint(kwargs):
            self._read_special(record, kwargs)
        future = record._future
        staged = prepare_files(
            self._files, record.args, kwargs, record.func, label, future, record.id
        )
        if staged is not None:
            record.args, record.func = staged.args, staged.func
            record.kwargs = kwargs = staged.kwargs
            out, err = staged.stdout, staged.stderr
            if out is None:
                out = kwargs.get("stdout")
            if err is None:
                err = kwargs.get("stderr")
            future._files = (out, err, staged.outputs)
        elif "stdout" in kwargs or "stderr" in kwargs:
            future._files = (kwargs.get("stdout"), kwargs.get("stderr"), [])
        waits = gather(record.args, kwargs, self._resolver)
        if waits:
            if future in waits:
                raise TaskCallError(f"app {record.func_name} waits for its own future")
            record.depends = tuple(waits)
            record.easy = is_easy(waits, self._resolver)
        else:
            record.bound = record.easy = True
            if record.memoize:
                record.hashsum = self._memoizer.make_key(record)
        references = self._shell.routes[label].references
        if references is not None and not record.memoize and not record.join:
            references.stage(record, waits)
        return waits

    def _read_special(self, record: TaskRecord, kwargs: dict[str, Any]) -> None:
        resources = kwargs.get("parsl_resource_specification")
        if resources:
            if not isinstance(resources, Mapping):
                raise TaskCallError(
                    f"app {record.func_name}: parsl_resource_specification must be a dict such "
                    f"as {{'cores': 1}}, not {resources!r}"
                )
            record.resource_specification = dict(resources)
        for stream in ("stdout", "stderr"):
            if stream in kwargs and _is_auto(kwargs[stream]):
                kwargs[stream] = self._autopath(record, stream)
                record.ignore_for_cache = (*record.ignore_for_cache, stream)

    def _post(self, record: TaskRecord, waits: list[Future[Any]] | None) -> None:
        inbox = self._shell.inbox
        if not waits:
            inbox.post(ev.Submitted(record, broken=waits is None))
            return
        nodes: list[Node] = []
        others: list[Future[Any]] = []
        failed = 0
        for future in waits:
            known = future._record if isinstance(future, AppFuture) else None
            if known is not None and known.dfk is self._kernel:
                nodes.append(known)
            elif not future.done():
                others.append(future)
            elif not succeeded(future):
                failed += 1
        inbox.post(ev.Submitted(record, nodes, len(others), failed))
        for future in others:
            try:
                follow(future, partial(self._shell.dependency_done, record))
            except Exception as error:  # noqa: BLE001 - a future of somebody else's class
                record.error = error
                inbox.post(ev.DependencyEnded(record, ok=False))


def _is_auto(value: object) -> bool:
    return type(value) is int and value == AUTO_LOGNAME


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def default_autopath(run_dir: str) -> AutoPath:
    """Where `AUTO_LOGNAME` sends streams: a thousand... ten thousand tasks to a directory."""

    def autopath(record: TaskRecord, stream: str) -> str:
        label = record.kwargs.get("label")
        tail = "" if label is None else f"_{label}"
        return os.path.join(
            run_dir,
            "task_logs",
            f"{record.id // 10_000:04}",
            f"task_{record.id:04}_{record.func_name}{tail}.{stream}",
        )

    return autopath


def select(parent: Any, kind: str, key: Any) -> Any:
    """The part of a result that `future[key]` or `future.name` stands for."""
    return parent[key] if kind == "item" else getattr(parent, key)
