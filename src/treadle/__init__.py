"""Treadle: a dataflow engine for Python.

Functions and shell commands become apps; calling one returns a future; futures passed on are
dependencies; the kernel runs what is ready on what it has.
"""

from __future__ import annotations

from treadle.app.app import bash_app, join_app, python_app
from treadle.config import Config
from treadle.data_provider.files import File
from treadle.dataflow._submission import AUTO_LOGNAME
from treadle.dataflow.dflow import DataFlowKernel, DataFlowKernelLoader
from treadle.dataflow.futures import AppFuture, put
from treadle.executors import ThreadPoolExecutor
from treadle.log_config import set_file_logger, set_stream_logger

__version__ = "0.1.0"

__all__ = [
    "AUTO_LOGNAME",
    "AppFuture",
    "Config",
    "DataFlowKernel",
    "File",
    "ThreadPoolExecutor",
    "bash_app",
    "clear",
    "dfk",
    "join_app",
    "load",
    "put",
    "python_app",
    "set_file_logger",
    "set_stream_logger",
    "wait_for_current_tasks",
]

load = DataFlowKernelLoader.load
dfk = DataFlowKernelLoader.dfk
clear = DataFlowKernelLoader.clear
wait_for_current_tasks = DataFlowKernelLoader.wait_for_current_tasks
