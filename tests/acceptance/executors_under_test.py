"""The executors that the acceptance suite runs on, each the way somebody would write it."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import multiprocessing.forkserver
import threading
import time
from collections.abc import Callable
from typing import Any

from treadle import Config
from treadle.executors.base import ParslExecutor
from treadle.executors.cluster import ClusterExecutor
from treadle.executors.threads import ThreadPoolExecutor

# It stays for the rest of the run: no single test has left it behind.
multiprocessing.forkserver.ensure_running()


class ForeignThreads:
    """Written by someone who knows three methods and nothing else: no base class, no resources."""

    def __init__(self, label: str = "foreign", width: int = 2) -> None:
        self.label = label
        self._width = width
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._pool = concurrent.futures.ThreadPoolExecutor(self._width)

    def submit(self, func, *args, **kwargs):
        assert self._pool is not None
        return self._pool.submit(func, *args, **kwargs)

    def shutdown(self) -> None:
        assert self._pool is not None
        self._pool.shutdown()


class Inline(ParslExecutor):
    """Runs the task inside `submit`, and hands back a future that is done."""

    def __init__(self, label: str = "inline") -> None:
        self.label = label
        self.seen: list[dict[str, Any]] = []

    def start(self) -> None:
        pass

    def submit(self, func, resource_specification, *args, **kwargs):
        self.seen.append(resource_specification)
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(func(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future

    def shutdown(self, block: bool = True) -> None:
        pass


class Processes(ParslExecutor):
    """The standard library's process pool: calls leave the process, so the kernel pickles them."""

    pickles_tasks = True

    def __init__(self, label: str = "processes", width: int = 2) -> None:
        self.label = label
        self._width = width
        self._pool: concurrent.futures.ProcessPoolExecutor | None = None

    def start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pool = concurrent.futures.ProcessPoolExecutor(self._width, mp_context=context)

    def submit(self, func, resource_specification, *args, **kwargs):
        assert self._pool is not None
        return self._pool.submit(func, *args, **kwargs)

    def shutdown(self, block: bool = True) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=block, cancel_futures=not block)


EXECUTORS: dict[str, Callable[[], Any]] = {
    "threads": lambda: ThreadPoolExecutor("threads", max_threads=4),
    "foreign": ForeignThreads,
    "inline": Inline,
    "processes": Processes,
    "cluster": lambda: ClusterExecutor("cluster", slots=2),
}

#: Those whose tasks share memory with the test.
IN_PROCESS = ("threads", "foreign", "inline")


def config_on(name: str, run_dir: Any, **options: Any) -> Config:
    """A quiet configuration with one of them."""
    return Config([EXECUTORS[name]()], run_dir=run_dir, initialize_logging=False, **options)


def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a condition that nobody announces."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        threading.Event().wait(0.005)
