"""Back-pressure: at most so many tasks may be open before an app call waits."""

from __future__ import annotations

import threading
from collections import deque

from treadle.dataflow._lazy import pass_gate
from treadle.runtime.threads import is_ours


class Gate:
    """Counts open tasks against a limit. Threads of ours never wait: they are who makes room."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = 0
        self._closed = False
        self._lock = threading.Lock()
        #: A locked lock for each thread that waits, first come first served; who releases it has
        #: counted that thread in.
        self._queue: deque[threading.Lock] = deque()

    def enter(self, *, wait: bool = True) -> None:
        """Count one more task; on a user's thread, wait until there is room."""
        turn = threading.Lock()
        turn.acquire()
        try:
            with self._lock:
                if not wait or is_ours():
                    self._open += 1
                    return
                self._queue.append(turn)
                self._admit()
            pass_gate(turn, None)
        except BaseException:  # Ctrl-C
            with self._lock:
                if turn in self._queue:
                    self._queue.remove(turn)
                elif not turn.locked():
                    self._open -= 1
                    self._admit()
            raise

    def leave(self) -> None:
        """A task has ended."""
        with self._lock:
            self._open -= 1
            self._admit()

    def close(self) -> None:
        """Let everybody through: what they submit will be refused."""
        with self._lock:
            self._closed = True
            self._admit()

    def _admit(self) -> None:
        while self._queue and (self._open < self._limit or self._closed):
            self._open += 1
            self._queue.popleft().release()
