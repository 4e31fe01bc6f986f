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
        #: A locked lock for each thread that waits, and for how many tasks, first come first
        #: served; who releases it has counted them in.
        self._queue: deque[tuple[threading.Lock, int]] = deque()

    @property
    def limit(self) -> int:
        """How many tasks may be open."""
        return self._limit

    def enter(self, count: int = 1, *, wait: bool = True) -> None:
        """Count more tasks, no more than the limit; on a user's thread, wait until there is room."""
        turn = threading.Lock()
        turn.acquire()
        place = (turn, count)
        try:
            with self._lock:
                if not wait or is_ours():
                    self._open += count
                    return
                self._queue.append(place)
                self._admit()
            pass_gate(turn, None)
        except BaseException:  # Ctrl-C
            with self._lock:
                if place in self._queue:
                    self._queue.remove(place)
                    self._admit()
                elif not turn.locked():
                    self._open -= count
                    self._admit()
            raise

    def leave(self, count: int = 1) -> None:
        """Tasks have ended."""
        with self._lock:
            self._open -= count
            self._admit()

    def close(self) -> None:
        """Let everybody through: what they submit will be refused."""
        with self._lock:
            self._closed = True
            self._admit()

    def _admit(self) -> None:
        queue = self._queue
        while queue and (self._open + queue[0][1] <= self._limit or self._closed):
            turn, count = queue.popleft()
            self._open += count
            turn.release()
