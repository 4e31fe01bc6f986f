"""What the benchmarks of processes ask of an engine; each is used as its own guide has it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

SLOTS = 2


class Engine:
    """An engine with two processes that run tasks."""

    name: ClassVar[str]
    title: ClassVar[str]
    #: What must be importable, and is imported first.
    module: ClassVar[str]
    #: A handle given as an argument is a dependency.
    dataflow: ClassVar[bool] = False
    #: It takes single tasks, and not only whole maps.
    submits: ClassVar[bool] = True
    #: The part of the tasks that it gets where a rate is measured: its run would take too long.
    share_of_tasks: ClassVar[float] = 1.0

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""
        found = importlib.util.find_spec(cls.module.partition(".")[0])
        return None if found else f"{cls.module} is not installed"

    def start(self, run_dir: str) -> None:
        """Make it ready for tasks."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        raise NotImplementedError

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """What to call for a task that runs the function; returns a handle."""
        raise NotImplementedError

    def result(self, handle: Any) -> Any:
        """The result of one task."""
        return handle.result()

    def results(self, handles: Sequence[Any]) -> list[Any]:
        """The results of many."""
        return [handle.result() for handle in handles]

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        """Results in order, in the engine's fastest way."""
        app = self.app(func)
        return self.results([app(item) for item in items])

    def share(self, value: Any) -> Any:
        """What to pass to many tasks in place of a large value."""
        return value

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        """One task that gets the results of all leaves as a list; returns its handle."""
        return app(self.results(leaves))
