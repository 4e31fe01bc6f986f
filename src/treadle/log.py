"""Loggers: quiet unless something is wrong.

Treadle logs to children of the logger `treadle` and never configures logging by itself. So a
program that does not either sees nothing of a good run; what went wrong and has no other place to
be said (a callback that raised, a checkpoint that cannot be written, tasks that were still open at
the end) Python prints on stderr, as it does for any library.
"""

from __future__ import annotations

import logging


def logger(room: str) -> logging.Logger:
    """The logger of one room of Treadle, `treadle.<room>`."""
    return logging.getLogger(f"treadle.{room}")
