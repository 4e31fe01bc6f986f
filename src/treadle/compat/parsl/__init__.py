"""Parsl's interface on Treadle.

Three ways to use it, from the one that changes least:

- `python -m treadle.compat.parsl script.py` runs a program that imports `parsl`, untouched;
- `treadle.compat.parsl.install()` makes `import parsl` give Treadle from then on;
- `import treadle.compat.parsl as parsl` (and `from treadle.compat.parsl.config import Config`).

What Treadle does not have yet raises an error that says so; nothing is a stub. The differences
are listed in docs/howto/from-parsl.md.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from treadle.compat.parsl._finder import (
    TableFinder,
    attributes_of,
    install,
    install_from_environment,
    is_installed,
    uninstall,
)
from treadle.compat.parsl._table import PARSL_VERSION

if TYPE_CHECKING:
    # For type checkers; at run time each name is looked up when it is first asked for.
    from treadle.app.app import bash_app, join_app, python_app
    from treadle.compat.parsl._face import (
        AUTO_LOGNAME,
        clear,
        dfk,
        load,
        wait_for_current_tasks,
    )
    from treadle.compat.parsl._logging import set_file_logger, set_stream_logger
    from treadle.config import Config
    from treadle.data_provider.files import File
    from treadle.dataflow.dflow import DataFlowKernel
    from treadle.executors import ThreadPoolExecutor

__version__ = PARSL_VERSION

__all__ = [
    "python_app",
    "bash_app",
    "join_app",
    "Config",
    "DataFlowKernel",
    "File",
    "ThreadPoolExecutor",
    "AUTO_LOGNAME",
    "load",
    "clear",
    "dfk",
    "wait_for_current_tasks",
    "set_stream_logger",
    "set_file_logger",
    "install",
    "uninstall",
    "install_from_environment",
    "is_installed",
]

if not any(isinstance(f, TableFinder) and f.root == __name__ for f in sys.meta_path):
    # At the end: the files of this package come first.
    sys.meta_path.append(TableFinder(__name__))

if not TYPE_CHECKING:
    __getattr__, __dir__ = attributes_of(__name__, "")
