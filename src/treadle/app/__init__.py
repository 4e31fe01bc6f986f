"""Apps: Python functions and shell commands that run as tasks of a dataflow.

`app` has the decorators; `_base` is what the three kinds share, and `python`, `bash` and `join`
are the kinds. The rest is what runs where a task runs: streams, process groups, walltimes.
"""

from __future__ import annotations

from treadle.app.app import bash_app, join_app, python_app

__all__ = ["bash_app", "join_app", "python_app"]
