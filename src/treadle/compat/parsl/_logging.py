"""Parsl's two logging functions, and its logger."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from treadle.log_config import set_file_logger as _set_file_logger
from treadle.log_config import set_stream_logger as _set_stream_logger

# What a program logs to `parsl` goes where Treadle's own records go, as it does in Parsl.
logging.getLogger("parsl").parent = logging.getLogger("treadle")


def set_stream_logger(
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: Any = None,
) -> Callable[[], None]:
    """`treadle.log_config.set_stream_logger`, where the logger `parsl` stands for Treadle's."""
    return _set_stream_logger(_our_logger(name), level, format_string, stream)


def set_file_logger(
    filename: str,
    name: str = "parsl",
    level: int = logging.DEBUG,
    format_string: str | None = None,
) -> Callable[[], None]:
    """`treadle.log_config.set_file_logger`, where the logger `parsl` stands for Treadle's."""
    return _set_file_logger(filename, _our_logger(name), level, format_string)


def _our_logger(name: str) -> str:
    return "treadle" if name == "parsl" else name
