"""The pool that runs user code: callbacks, retry handlers, hashing, foreign executors.

User code may block for as long as it likes, even on a future that another job of this pool must
settle. So the pool grows: whenever its oldest job has waited 10 ms, a thread is added (more at
once the more there are); threads without work end after some seconds. Jobs that need an order
keep it themselves.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from treadle.dataflow._lazy import log_exception
from treadle.log import logger
from treadle.runtime.threads import start_daemon

if TYPE_CHECKING:
    from treadle.runtime.engine import Engine

_log = logger("runtime")

#: A job that waited this long gets a thread of its own.
PATIENCE_S = 0.01
#: A thread without work ends after this long.
IDLE_S = 5.0

#: How many threads are added at most when growth ends.
_LAST_HELP = 32

Job = Callable[[], object]


class Pool:
    """An elastic pool of daemon threads. Its jobs are called in the order given."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._jobs: deque[tuple[float, Job]] = deque()
        self._wake: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._idle = 0
        self._watched = False
        self._closed = False
        #: The engine looks after the growth; without it every job gets its thread at once.
        self._has_engine = True

    def submit(self, job: Job) -> None:
        """Run the job soon; what it raises is logged. Never blocks."""
        with self._lock:
            self._jobs.append((time.monotonic(), job))
            if self._idle >= len(self._jobs):
                self._wake.put(True)
                return
            if self._idle:
                self._wake.put(True)
            elif not self._threads or not self._has_engine:
                self._grow()
            watch, self._watched = not self._watched, True
        if watch:
            self._engine.call_later(PATIENCE_S, self._look)

    def statistics(self) -> dict[str, int]:
        """How many threads there are, how many of them idle, and how many jobs wait."""
        with self._lock:
            return {"threads": len(self._threads), "idle": self._idle, "waiting": len(self._jobs)}

    def lose_engine(self) -> None:
        """The engine has died or ends: nobody will look after the pool any more."""
        with self._lock:
            self._has_engine = False
            # Who waits now may wait for one that has not begun.
            for _ in range(min(len(self._jobs), _LAST_HELP)):
                self._grow()

    def close(self) -> None:
        """Let all threads end once there is no more work."""
        self.lose_engine()
        with self._lock:
            self._closed = True
            for _ in self._threads:
                self._wake.put(False)

    def join(self, timeout_s: float) -> None:
        """After `close`: wait until all work is done, but not for the thread that asks."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            threads = self._threads - {threading.current_thread()}
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                _log.warning("a callback, or another piece of user code, has not ended yet")
                return

    def _grow(self) -> None:
        try:
            thread = start_daemon(f"treadle-pool-{len(self._threads)}", self._run)
        except RuntimeError:
            return  # no more threads can be had now: the jobs wait for one to be free
        self._threads.add(thread)

    def _look(self) -> None:
        """On the engine thread: add threads if the oldest job has waited too long."""
        with self._lock:
            if not self._jobs or self._closed:
                self._watched = False
                return
            if time.monotonic() - self._jobs[0][0] >= PATIENCE_S:
                for _ in range(min(len(self._jobs), 1 + len(self._threads) // 4)):
                    self._grow()
        self._engine.call_later(PATIENCE_S, self._look)

    def _run(self) -> None:
        while True:
            with self._lock:
                job = self._jobs.popleft()[1] if self._jobs else None
                if job is None:
                    if self._closed:
                        self._threads.discard(threading.current_thread())
                        return
                    self._idle += 1
            if job is not None:
                _call(job)
                job = None  # what the job holds must not live until the next one comes
                continue
            woken = self._sleep()
            with self._lock:
                self._idle -= 1
                if not woken and not self._jobs:
                    self._threads.discard(threading.current_thread())
                    return

    def _sleep(self) -> bool:
        try:
            return self._wake.get(timeout=IDLE_S)
        except queue.Empty:
            return False


def _call(job: Job) -> None:
    try:
        job()
    except BaseException:  # noqa: BLE001 - user code may raise anything; the thread goes on
        log_exception(_log, "a job of the pool raised")
