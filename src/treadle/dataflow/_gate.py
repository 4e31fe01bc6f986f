"""Back-pressure: at most so many tasks may be open before an app call waits."""

from __future__ import annotations

import threading

from treadle.runtime.threads import is_ours


class Gate:
    """Counts open tasks against a limit. Threads of ours never wait: they are who makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._closed = False
        self._room = threading.Condition()

    def enter(self, *, wait: bool = True) -> None:
        """Count one more task; on a user's thread, wait until there is room."""
        with self._room:
            if wait and not is_ours():
                self._room.wait_for(lambda: self._open < self._limit or self._closed)
            self._open += 1

    def leave(self) -> None:
        """A task has ended."""
        with self._room:
            self._open -= 1
            if self._open < self._limit:
                self._room.notify()

    def close(self) -> None:
        """Let everybody through: what they submit will be refused."""
        with self._room:
            self._closed = True
            self._room.notify_all()
