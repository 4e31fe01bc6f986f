"""The engines beside each other: how each is started, given a task, and ended.

All run two tasks at a time. An engine that is not installed says so instead of starting.
"""

from __future__ import annotations

import importlib.util
import inspect
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, ClassVar

WORKERS = 2

App = Callable[..., Future[Any]]


class Engine:
    """One engine. `app` makes of a function what, called, returns a future."""

    name: ClassVar[str]
    title: ClassVar[str]
    module: ClassVar[str]
    #: A future given as an argument is a dependency.
    dataflow: ClassVar[bool] = False

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""
        found = importlib.util.find_spec(cls.module.partition(".")[0])
        return None if found else f"{cls.module} is not installed"

    def start(self, run_dir: str, *, checkpoint: bool = False) -> None:
        """Make it ready for tasks."""
        raise NotImplementedError

    def app(self, func: Callable[..., Any], *, cache: bool = False) -> App:
        """What to call for a task that runs the function."""
        raise NotImplementedError

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        """Results in order, in the shortest way that the engine has."""
        app = self.app(func)
        return [future.result() for future in [app(item) for item in items]]

    def stop(self) -> None:
        """End it."""
        raise NotImplementedError


class Treadle(Engine):
    name, title, module, dataflow = "treadle", "Treadle", "treadle", True

    def start(self, run_dir: str, *, checkpoint: bool = False) -> None:
        import treadle

        self._treadle = treadle
        self._kernel = treadle.load(
            treadle.Config(
                executors=[treadle.ThreadPoolExecutor(max_threads=WORKERS)],
                run_dir=run_dir,
                checkpoint_mode="task_exit" if checkpoint else None,
            )
        )

    def app(self, func: Callable[..., Any], *, cache: bool = False) -> App:
        made: App = self._treadle.python_app(func, cache=cache)
        return made

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        results: Iterable[Any] = self._treadle.python_app(func).map(items)
        return results

    def stop(self) -> None:
        self._kernel.cleanup()


class Threads(Engine):
    name, title, module = "threads", "ThreadPoolExecutor", "concurrent.futures.thread"
    _pool: Executor

    def start(self, run_dir: str, *, checkpoint: bool = False) -> None:
        self._pool = ThreadPoolExecutor(WORKERS)

    def app(self, func: Callable[..., Any], *, cache: bool = False) -> App:
        submit = self._pool.submit

        def call(*args: Any) -> Future[Any]:
            return submit(func, *args)

        return call

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        return self._pool.map(func, items)

    def stop(self) -> None:
        self._pool.shutdown()


class Processes(Threads):
    name, title = "processes", "ProcessPoolExecutor"
    module = "concurrent.futures.process"

    def start(self, run_dir: str, *, checkpoint: bool = False) -> None:
        self._pool = ProcessPoolExecutor(WORKERS)


class Parsl(Engine):
    """As it comes: with its log file."""

    name, title, module, dataflow = "parsl", "Parsl", "parsl", True
    logs: ClassVar[bool] = True

    def start(self, run_dir: str, *, checkpoint: bool = False) -> None:
        import parsl
        from parsl.executors import ThreadPoolExecutor as ParslThreads

        self._parsl = parsl
        self._kernel = parsl.load(
            parsl.Config(
                executors=[ParslThreads(max_threads=WORKERS)],
                run_dir=run_dir,
                initialize_logging=self.logs,
                **(_with_checkpoint(parsl.Config) if checkpoint else {}),
            )
        )

    def app(self, func: Callable[..., Any], *, cache: bool = False) -> App:
        made: App = self._parsl.python_app(func, cache=cache)
        return made

    def stop(self) -> None:
        self._kernel.cleanup()
        self._parsl.clear()


def _with_checkpoint(config: type) -> dict[str, Any]:
    """The option of a configuration of Parsl, which has moved between its releases."""
    if "checkpoint_mode" in inspect.signature(config).parameters:
        return {"checkpoint_mode": "task_exit"}
    from parsl.dataflow.memoization import BasicMemoizer

    return {"memoizer": BasicMemoizer(checkpoint_mode="task_exit")}


class QuietParsl(Parsl):
    """As its own guide for many short tasks has it: `initialize_logging=False`."""

    name, title, logs = "parsl-quiet", "Parsl, no log", False


ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Treadle, Threads, Processes, Parsl, QuietParsl)
}
