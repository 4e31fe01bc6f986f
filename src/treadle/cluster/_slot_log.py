"""What tasks log is also in the log of their worker, whatever handlers they have set up.

A record goes where the task's own logging sends it (by default its standard error), and to the
agent besides. What a task does not log costs it nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from treadle.cluster._packets import Logged

#: Of one task: records that are passed on, and characters of each.
_MOST: Final = 1_000
_MOST_CHARS: Final = 4_000


class TaskLog:
    """Passes records on.

    Args:
        say: tells the agent, if a task's code runs.
        running: which attempt that is.
    """

    def __init__(self, say: Callable[[Logged], None], running: Callable[[], int]) -> None:
        self._say = say
        self._running = running
        self._formatter = logging.Formatter()
        self._attempt = 0
        self._count = 0
        self._mark = threading.local()

    def install(self) -> None:
        """From now on."""
        own = logging.Logger.callHandlers

        def call_handlers(logger: logging.Logger, record: logging.LogRecord) -> None:
            own(logger, record)
            self._pass_on(record)

        logging.Logger.callHandlers = call_handlers  # type: ignore[method-assign, assignment]

    def _pass_on(self, record: logging.LogRecord) -> None:
        attempt = self._running()
        if not attempt or getattr(self._mark, "is_busy", False):
            return
        if attempt != self._attempt:
            self._attempt, self._count = attempt, 0
        self._count += 1
        if self._count > _MOST:
            return
        self._mark.is_busy = True
        try:
            text = self._formatter.format(record)[:_MOST_CHARS]
            if self._count == _MOST:
                text += " [what this task logs after this is not passed on]"
            said = text.encode("utf-8", "replace").decode()
            self._say(Logged(record.levelno, str(record.name)[:200], said, record.created))
        except Exception:  # noqa: BLE001 - its text is user code; a log harms nobody
            return
        finally:
            self._mark.is_busy = False
