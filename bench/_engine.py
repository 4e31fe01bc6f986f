"""What the benchmarks ask of an engine: to start, to take a task, to end.

All run two tasks at a time. An engine that is not installed says so instead of starting.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from concurrent.futures import Future
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
    #: See `_runs.Kind`.
    share_of_tasks: ClassVar[float] = 1.0

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
