"""What the tests of faults share: a kernel on two slots, its processes, and tasks that misbehave.

Rows of the catalogue of faults have numbers; a test of row 17 is called `test_fault_17_...`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

import treadle
from treadle.dataflow.dflow import DataFlowKernel
from treadle.executors import ClusterExecutor


class Cluster:
    """A kernel on a cluster of this machine, and its processes."""

    def __init__(
        self, kernel: DataFlowKernel, executor: ClusterExecutor, others: list[psutil.Process]
    ) -> None:
        self.kernel = kernel
        self.executor = executor
        #: Children that this program had before.
        self.others = others

    def call(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The future of a call of this function as an app."""
        app = treadle.python_app(func, data_flow_kernel=self.kernel)
        return app(*args, **kwargs)

    def children(self) -> list[psutil.Process]:
        """All processes that the kernel has started, and theirs."""
        return [p for p in psutil.Process().children(recursive=True) if p not in self.others]

    def named(self, verb: str) -> list[psutil.Process]:
        """Those started as `python -m treadle VERB`."""
        return [p for p in self.children() if verb in _words(p) and "-m" in _words(p)]

    @property
    def node(self) -> psutil.Process:
        """The scheduler, with the worker's agent in it."""
        (node,) = self.named("node")
        return node

    @property
    def zygote(self) -> psutil.Process:
        """What slots are forked from."""
        return self._zygotes()[0]

    def _zygotes(self) -> list[psutil.Process]:
        zygotes = self.named("zygote")
        return [p for p in zygotes if p.parent() not in zygotes]

    def slots(self) -> list[psutil.Process]:
        """The processes that run tasks, once there are any."""
        return [slot for zygote in self._zygotes() for slot in zygote.children()]

    def innocents(self, count: int = 20) -> None:
        """Others' tasks run as if nothing had happened."""
        futures = [self.call(twice, n) for n in range(count)]
        assert [f.result(timeout=15) for f in futures] == [2 * n for n in range(count)]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@contextmanager
def cluster(run_dir: Path, *, retries: int = 0, **options: Any) -> Iterator[Cluster]:
    """A kernel on a cluster executor with these options; all its processes end with it."""
    executor = ClusterExecutor(**{"slots": 2, **options})
    config = treadle.Config([executor], run_dir=run_dir, initialize_logging=False, retries=retries)
    others = psutil.Process().children(recursive=True)
    kernel = DataFlowKernel(config)
    started = Cluster(kernel, executor, others)
    try:
        yield started
    finally:
        processes = started.children()
        kernel.cleanup()
        _, alive = psutil.wait_procs(processes, timeout=10)
        assert alive == [], "processes outlived the kernel"


def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    """Wait for a condition that nobody announces."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def gone(process: psutil.Process) -> bool:
    """Whether it has ended; one that nobody has waited for has, too."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- tasks ---------------------------------------------------------------------------------------


def twice(value: int) -> int:
    return 2 * value


def my_pid(seconds: float = 0) -> int:
    time.sleep(seconds)
    return os.getpid()


def once_killed(path: str, signal_number: int = signal.SIGKILL) -> str:
    """Dies the first time, and returns the second."""
    if not os.path.exists(path):
        Path(path).touch()
        os.kill(os.getpid(), signal_number)
        time.sleep(30)
    return "again"


def wait_for(path: str, seconds: float = 20) -> str:
    """Returns when the file is there."""
    deadline = time.monotonic() + seconds
    while not os.path.exists(path):
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.005)
    return "there"


def announce(path: str, seconds: float) -> str:
    """Tells by a file that it runs, and sleeps."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(seconds)
    return "slept"
