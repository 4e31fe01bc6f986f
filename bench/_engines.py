"""The engines beside each other, by name."""

from __future__ import annotations

from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from _engine import WORKERS, App, Engine
from _parsl import Parsl, QuietParsl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


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


ENGINES: dict[str, type[Engine]] = {
    engine.name: engine for engine in (Treadle, Threads, Processes, Parsl, QuietParsl)
}
