"""Loggers: quiet unless the program asks.

Treadle logs to children of the logger `treadle` and never configures logging by itself:
without a handler of the user's nothing is printed, not even warnings of the last resort.
"""

from __future__ import annotations

import logging

logging.getLogger("treadle").addHandler(logging.NullHandler())


def logger(room: str) -> logging.Logger:
    """The logger of one room of Treadle, `treadle.<room>`."""
    return logging.getLogger(f"treadle.{room}")
