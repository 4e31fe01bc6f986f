"""Parsl on its threads: as it comes, and as its guide for many short tasks has it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, ClassVar

from _engine import WORKERS, App, Engine

if TYPE_CHECKING:
    from collections.abc import Callable


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
