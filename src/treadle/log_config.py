"""Who hears what Treadle has to tell.

By default nobody: Treadle's loggers have no handler but a silent one, and nothing is written per
task. A run keeps a log of its own in its run directory, as `Config(initialize_logging=...)` says:
True for `FileLogging()`, False for none, or one of the `LogConfig` below, or one of your own.
A program that wants to see more, or elsewhere, calls `set_stream_logger` or `set_file_logger`.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from treadle.log_handlers import JSONFormatter, attach, of_run
from treadle.repr import RepresentationMixin

#: How a line of a log file looks.
DEFAULT_FORMAT = (
    "%(asctime)s.%(msecs)03d %(levelname)s %(name)s [%(processName)s-%(process)d %(threadName)s] "
    "%(message)s"
)
_STREAM_FORMAT = "%(asctime)s %(name)s:%(lineno)d [%(levelname)s]  %(message)s"
_DATE_FORMAT = "%Y-%m-%d %H:%M:%S"
#: Errors of done-callbacks of ordinary futures are told here.
_FUTURES = "concurrent.futures"

Undo = Callable[[], None]


class LogConfig(ABC):
    """How a run is logged; derive from it to log elsewhere."""

    @abstractmethod
    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Undo:
        """Begin to log one run.

        Args:
            log_dir: the run's directory; it exists.
            log_name: what to call the log, without an ending.

        Returns:
            A function that ends it and releases all it holds.
        """


class FileLogging(LogConfig, RepresentationMixin):
    """Lines of text in `<log_name>.log`.

    Args:
        format_string: the format of a line, in the words of `logging.Formatter`.
        level: the least grave level that is written.
    """

    def __init__(self, *, format_string: str = DEFAULT_FORMAT, level: int = logging.INFO) -> None:
        self.format_string = format_string
        self.level = level

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Undo:
        formatter = logging.Formatter(self.format_string, datefmt=_DATE_FORMAT)
        return _log_to_file(Path(log_dir), f"{log_name}.log", formatter, self.level)


class JSONLogging(LogConfig, RepresentationMixin):
    """One JSON object a line in `<log_name>.jsonlog`; extras of records are fields of their own.

    Args:
        level: the least grave level that is written.
    """

    def __init__(self, *, level: int = logging.INFO) -> None:
        self.level = level

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Undo:
        return _log_to_file(Path(log_dir), f"{log_name}.jsonlog", JSONFormatter(), self.level)


class NoopLogging(LogConfig, RepresentationMixin):
    """No log at all."""

    def __init__(self) -> None:
        pass

    def initialize_logging(self, *, log_dir: Path, log_name: str) -> Undo:
        return _nothing


def start_logging(option: bool | LogConfig, *, log_dir: Path, log_name: str = "treadle") -> Undo:
    """Log a run as `Config(initialize_logging=option)` says.

    Returns:
        A function that ends it.
    """
    if isinstance(option, bool):
        option = FileLogging() if option else NoopLogging()
    return option.initialize_logging(log_dir=log_dir, log_name=log_name)


def set_stream_logger(
    name: str = "treadle",
    level: int = logging.DEBUG,
    format_string: str | None = None,
    stream: Any = None,
) -> Undo:
    """Print what a logger says, on stderr or on the stream given.

    Args:
        name: the logger; `treadle` stands for all of Treadle.
        level: the least grave level that is printed.
        format_string: the format of a line, in the words of `logging.Formatter`.
        stream: anything with a `write`; stderr if left out.

    Returns:
        A function that takes the handler away again.
    """
    handler = logging.StreamHandler(stream)
    return _attach_all(name, handler, level, format_string or _STREAM_FORMAT)


def set_file_logger(
    filename: str,
    name: str = "treadle",
    level: int = logging.DEBUG,
    format_string: str | None = None,
) -> Undo:
    """Append what a logger says to a file.

    Args:
        filename: the file; its directory must exist.
        name: the logger; `treadle` stands for all of Treadle.
        level: the least grave level that is written.
        format_string: the format of a line, in the words of `logging.Formatter`.

    Returns:
        A function that takes the handler away again and closes the file.
    """
    handler = logging.FileHandler(filename, encoding="utf-8")
    return _attach_all(name, handler, level, format_string or DEFAULT_FORMAT)


def _nothing() -> None:
    """End what was never begun."""


def _log_to_file(log_dir: Path, name: str, formatter: logging.Formatter, level: int) -> Undo:
    handler = logging.FileHandler(log_dir / name, encoding="utf-8")
    handler.setFormatter(formatter)
    handler.setLevel(level)
    handler.addFilter(of_run(log_dir))
    return attach("treadle", handler)


def _attach_all(name: str, handler: logging.Handler, level: int, format_string: str) -> Undo:
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter(format_string, datefmt=_DATE_FORMAT))
    undo = attach(name, handler)
    futures = logging.getLogger(_FUTURES)
    futures.addHandler(handler)

    def undo_all() -> None:
        futures.removeHandler(handler)
        undo()

    return undo_all
