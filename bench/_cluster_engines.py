"""Treadle and its peers on processes, by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from _cluster_engine import SLOTS, Engine
from _cluster_peers import Dask, Frisky, Joblib, Loky, Ray


class Treadle(Engine):
    name, title, module, dataflow = "treadle", "Treadle", "treadle", True

    def start(self, run_dir: str) -> None:
        import treadle
        from treadle.executors import ClusterExecutor

        self._treadle = treadle
        self._kernel = treadle.load(
            treadle.Config(
                executors=[ClusterExecutor(slots=SLOTS)], run_dir=run_dir, initialize_logging=False
            )
        )

    def stop(self) -> None:
        self._kernel.cleanup()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self._treadle.python_app(func)
        return made

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        results: Iterable[Any] = self._treadle.python_app(func).map(items, window=100_000)
        return results

    def share(self, value: Any) -> Any:
        return self._treadle.put(value)

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        return app(inputs=leaves)


class Processes(Engine):
    name, title = "processes", "ProcessPoolExecutor"
    module = "concurrent.futures.process"

    def start(self, run_dir: str) -> None:
        self._pool = ProcessPoolExecutor(SLOTS)

    def stop(self) -> None:
        self._pool.shutdown()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        submit = self._pool.submit
        return lambda *args: submit(func, *args)

    def map(self, func: Callable[..., Any], items: Iterable[Any]) -> Iterable[Any]:
        # Large pieces: the pool's own advice for long iterables.
        return self._pool.map(func, items, chunksize=500)


class ParslProcesses(Engine):
    """Parsl's HighThroughputExecutor, quiet and with tasks fetched ahead."""

    name, title, module, dataflow = "parsl-htex", "Parsl HTEX", "parsl", True
    share_of_tasks = 0.05

    def start(self, run_dir: str) -> None:
        import parsl
        from parsl.providers import LocalProvider

        self._parsl = parsl
        executor = parsl.HighThroughputExecutor(
            label="htex",
            address="127.0.0.1",
            max_workers_per_node=SLOTS,
            prefetch_capacity=100,
            encrypted=False,
            poll_period=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1, worker_init=_path()),
        )
        self._kernel = parsl.load(self._config(executor, run_dir))

    def _config(self, executor: Any, run_dir: str) -> Any:
        return self._parsl.Config(executors=[executor], run_dir=run_dir, initialize_logging=False)

    def stop(self) -> None:
        self._kernel.cleanup()
        self._parsl.clear()

    def app(self, func: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self._parsl.python_app(func)
        return made

    def fan_in(self, app: Callable[..., Any], leaves: list[Any]) -> Any:
        return app(inputs=leaves)


class ParslThreads(ParslProcesses):
    """Parsl's threads: one process, one GIL; the cheapest way that Parsl has."""

    name, title = "parsl-threads", "Parsl threads"
    share_of_tasks = 0.5

    def start(self, run_dir: str) -> None:
        import parsl
        from parsl.executors import ThreadPoolExecutor

        self._parsl = parsl
        self._kernel = parsl.load(self._config(ThreadPoolExecutor(max_threads=SLOTS), run_dir))


def _path() -> str:
    return f"export PYTHONPATH={os.environ.get('PYTHONPATH', '')}"


def _all(*engines: type[Engine]) -> dict[str, type[Engine]]:
    return {engine.name: engine for engine in engines}


ENGINES = _all(Treadle, Processes, Loky, Joblib, ParslThreads, ParslProcesses, Dask, Ray, Frisky)
