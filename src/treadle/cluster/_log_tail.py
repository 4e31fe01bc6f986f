"""The newest lines that this process has logged, for those who ask from elsewhere."""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

#: How many lines are kept, and how much of each.
_LINES: Final = 2_000
_MOST_CHARS: Final = 4_000
#: Loggers of a worker alone, and of a scheduler alone: a node hosts both.
_WORKERS: Final = ("treadle.cluster._agent", "treadle.cluster._zygote", "treadle.store")
_SCHEDULERS: Final = ("treadle.cluster._server", "treadle.cluster._host", "treadle.scheduler")


class LogTail(logging.Handler):
    """Keeps what is logged. A record is made into text at once: what it names may change."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        #: [logger, level, text], oldest first.
        self.lines: deque[tuple[str, str, str]] = deque(maxlen=_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        """A record has been logged."""
        try:
            text = self.format(record)[:_MOST_CHARS]
        except Exception:  # noqa: BLE001 - as any handler: what cannot be shown harms nobody
            self.handleError(record)
            return
        self.lines.append((record.name, record.levelname, text))


_tail: LogTail | None = None


def keep(format: str) -> None:
    """From now on what this process logs is kept."""
    global _tail
    if _tail is None:
        _tail = LogTail(logging.Formatter(format))
        logging.getLogger().addHandler(_tail)


def newest(most: int = 0, *, of_worker: bool) -> list[list[str]]:
    """The newest [level, line] of the worker that lives here, or of the scheduler; oldest first.

    Args:
        most: how many; 0: all that are kept.
    """
    if _tail is None:
        return []
    others = _SCHEDULERS if of_worker else _WORKERS
    found = [
        [level, text] for name, level, text in list(_tail.lines) if not name.startswith(others)
    ]
    return found[-most:] if most else found
