"""Treadle: a dataflow engine for Python.

Functions and shell commands become apps; calling one returns a future; futures passed on are
dependencies; the kernel runs what is ready on what it has.

    import treadle

    @treadle.python_app
    def double(x: int) -> int:
        return 2 * x

    with treadle.load():
        print(double(double(10)).result())

Importing this is light: each name is loaded when it is first used, so that a worker's processes
pay for what they use alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle._version import VERSION

if TYPE_CHECKING:
    from treadle.app.app import bash_app, join_app, python_app
    from treadle.client import (
        Actor,
        Client,
        ClientFuture,
        Event,
        Lock,
        Queue,
        Semaphore,
        Variable,
        as_completed,
        current_task,
        fire_and_forget,
        get_client,
        rejoin,
        secede,
        wait,
    )
    from treadle.config import Config
    from treadle.data_provider.files import File
    from treadle.dataflow._names import AUTO_LOGNAME
    from treadle.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader
    from treadle.dataflow.futures import AppFuture, put
    from treadle.errors import Reschedule
    from treadle.executors.cluster import ClusterExecutor
    from treadle.executors.threads import ThreadPoolExecutor
    from treadle.log_config import set_file_logger, set_stream_logger

__version__ = VERSION

__all__ = [
    "AUTO_LOGNAME",
    "Actor",
    "AppFuture",
    "Client",
    "ClientFuture",
    "ClusterExecutor",
    "Config",
    "DataFlowKernel",
    "Event",
    "File",
    "Lock",
    "Queue",
    "Reschedule",
    "Semaphore",
    "ThreadPoolExecutor",
    "Variable",
    "as_completed",
    "bash_app",
    "clear",
    "current_task",
    "dfk",
    "fire_and_forget",
    "get_client",
    "join_app",
    "load",
    "put",
    "python_app",
    "rejoin",
    "secede",
    "set_file_logger",
    "set_stream_logger",
    "wait",
    "wait_for_current_tasks",
]

#: Names that are looked up when first used, and where they are.
_LATER = {
    "AUTO_LOGNAME": "treadle.dataflow._names",
    "Actor": "treadle.client",
    "AppFuture": "treadle.dataflow.futures",
    "Client": "treadle.client",
    "ClientFuture": "treadle.client",
    "ClusterExecutor": "treadle.executors.cluster",
    "Config": "treadle.config",
    "DataFlowKernel": "treadle.dataflow.dflow",
    "Event": "treadle.client",
    "File": "treadle.data_provider.files",
    "Lock": "treadle.client",
    "Queue": "treadle.client",
    "Reschedule": "treadle.errors",
    "Semaphore": "treadle.client",
    "ThreadPoolExecutor": "treadle.executors.threads",
    "Variable": "treadle.client",
    "as_completed": "treadle.client",
    "bash_app": "treadle.app.app",
    "current_task": "treadle.client",
    "fire_and_forget": "treadle.client",
    "get_client": "treadle.client",
    "join_app": "treadle.app.app",
    "put": "treadle.dataflow.futures",
    "python_app": "treadle.app.app",
    "rejoin": "treadle.client",
    "secede": "treadle.client",
    "set_file_logger": "treadle.log_config",
    "set_stream_logger": "treadle.log_config",
    "wait": "treadle.client",
}


def load(config: Config | None = None) -> DataFlowKernel:
    """Start a kernel and make it the one that apps use. It is a context manager.

    Raises:
        ConfigurationError: there is one already, or this one cannot be.
    """
    return _loader().load(config)


def dfk() -> DataFlowKernel:
    """The kernel that apps use.

    Raises:
        NoDataFlowKernelError: none is loaded.
    """
    return _loader().dfk()


def clear() -> None:
    """Forget the kernel, without ending it; another can be loaded."""
    _loader().clear()


def wait_for_current_tasks() -> None:
    """Wait until all tasks of the loaded kernel that are open now have ended."""
    _loader().wait_for_current_tasks()


def _loader() -> type[DataFlowKernelLoader]:
    from treadle.dataflow.dflow import DataFlowKernelLoader  # noqa: PLC0415 - see the head

    return DataFlowKernelLoader


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - see the head

    if name in _LATER:
        value = globals()[name] = getattr(import_module(_LATER[name]), name)
        return value
    if not name.startswith("_"):  # `treadle.errors`, as if it had been imported
        try:
            return import_module(f"treadle.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"treadle.{name}":
                raise
    raise AttributeError(f"module 'treadle' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
