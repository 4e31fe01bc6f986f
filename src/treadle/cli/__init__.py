"""The command line: `treadle COMMAND`, or `python -m treadle COMMAND`."""

from __future__ import annotations

from treadle.cli._main import main

__all__ = ["main"]
