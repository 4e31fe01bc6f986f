"""Handlers on loggers: attached, levelled and taken away again without a trace.

A handler that wants INFO needs its logger to let INFO pass; but then every handler further up
would see INFO too, and a program that never asked for it would print it. So while one of our
handlers is attached, the logger hands on to its parents only what it would have let pass before.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

#: The extra by which a record says which run it belongs to; see `of_run`.
RUN = "treadle.run"

_lock = threading.Lock()
_attached: dict[str, _Attachment] = {}


def attach(name: str, handler: logging.Handler) -> Callable[[], None]:
    """Add a handler to the logger `name` and let through what the handler wants.

    Returns:
        A function that takes the handler away, closes it, and leaves the logger as it was; it may
        be called more than once.
    """
    with _lock:
        attachment = _attached.get(name)
        if attachment is None:
            attachment = _attached[name] = _Attachment(logging.getLogger(name))
        attachment.add(handler)

    def undo() -> None:
        with _lock:
            current = _attached.get(name)
            if current is not None and current.remove(handler):
                del _attached[name]
        handler.close()

    return undo


class _Attachment:
    """One logger that has handlers of ours, and how it was before."""

    def __init__(self, logger: logging.Logger) -> None:
        self.logger = logger
        self.handlers: list[logging.Handler] = []
        self.level_before = logger.level
        self.propagated = logger.propagate
        self.forward = _Forward(self)
        if self.propagated and logger.parent is not None:
            logger.propagate = False
            logger.addHandler(self.forward)

    def add(self, handler: logging.Handler) -> None:
        self.handlers.append(handler)
        self.logger.addHandler(handler)
        self._set_level()

    def remove(self, handler: logging.Handler) -> bool:
        """Take one away; True if it was the last, and the logger is as it was."""
        if handler in self.handlers:
            self.handlers.remove(handler)
            self.logger.removeHandler(handler)
        if self.handlers:
            self._set_level()
            return False
        self.logger.removeHandler(self.forward)
        self.logger.propagate = self.propagated
        self.logger.setLevel(self.level_before)
        return True

    def _set_level(self) -> None:
        wanted = min(h.level for h in self.handlers)
        self.logger.setLevel(max(1, min(wanted, self.threshold())))

    def threshold(self) -> int:
        """The level at which the logger let records pass before we came."""
        if self.level_before:
            return self.level_before
        parent = self.logger.parent
        return parent.getEffectiveLevel() if parent is not None else logging.WARNING


class _Forward(logging.Handler):
    """Stands for propagation: hands on to the parents what they would have seen without us."""

    def __init__(self, attachment: _Attachment) -> None:
        super().__init__()
        self._attachment = attachment

    def handle(self, record: logging.LogRecord) -> bool:
        parent = self._attachment.logger.parent
        if parent is not None and record.levelno >= self._attachment.threshold():
            parent.callHandlers(record)
        return True


# --- records -----------------------------------------------------------------------------------


def of_run(run_dir: Path) -> Callable[[logging.LogRecord], bool]:
    """A filter for the log of one kernel among several.

    It lets pass the records that name this run in their extra `treadle.run`, and those that name
    none; records of other kernels stay in the logs of those.
    """
    mine = str(run_dir)

    def belongs(record: logging.LogRecord) -> bool:
        return str(getattr(record, RUN, mine)) == mine

    return belongs


#: What every record has; whatever else is in its dict was given as an extra.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JSONFormatter(logging.Formatter):
    """One JSON object a line: when, how grave, where, what, and the record's extras by name."""

    def format(self, record: logging.LogRecord) -> str:
        row: dict[str, Any] = {
            "time": self._time_of(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            "thread": record.threadName,
        }
        extras = {k: v for k, v in vars(record).items() if k not in _STANDARD}
        row |= {k: v for k, v in extras.items() if k not in row}
        if record.exc_info:
            row["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            row["stack"] = self.formatStack(record.stack_info)
        return json.dumps(_jsonable(row), default=repr, ensure_ascii=False)

    @staticmethod
    def _time_of(record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        return f"{seconds}.{int(record.created * 1e6) % 1_000_000:06d}Z"


def _jsonable(value: Any, depth: int = 8) -> Any:
    """Make keys strings and stop where extras are too deep, so that any record can be written."""
    if depth == 0:
        return repr(value)
    if isinstance(value, dict):
        return {str(k): _jsonable(v, depth - 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(v, depth - 1) for v in value]
    if isinstance(value, float) and value - value != 0:
        return repr(value)  # an infinity or a NaN is no JSON
    return value
