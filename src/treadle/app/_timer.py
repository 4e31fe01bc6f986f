"""One thread for all deadlines.

Two rules. The thread exists only while something has a deadline, and a little longer. And what it
calls is short and never waits, or the next deadline would be late.
"""

from __future__ import annotations

import heapq
import os
import threading
import time
from collections.abc import Callable

from treadle.log import logger

#: How long the thread stays when nothing has a deadline: starting one costs some 50 us.
LINGER_S = 0.1
#: Below this many entries, dead ones are not worth clearing away.
_FEW = 64


class Alarm:
    """One deadline; `cancel` before it is reached and nothing happens."""

    __slots__ = ("_timer", "act", "at")

    def __init__(self, timer: Timer, at: float, act: Callable[[], object]) -> None:
        self._timer = timer
        self.at = at
        self.act: Callable[[], object] | None = act

    def __lt__(self, other: Alarm) -> bool:
        return self.at < other.at

    def cancel(self) -> None:
        """Forget it; what has begun is not stopped."""
        self._timer.forget(self)


class Timer:
    """Calls functions when their time has come, on one daemon thread."""

    def __init__(self) -> None:
        # Taken as a lock, not as a condition: that is one step, which an exception left for the
        # thread (a walltime around this one, Ctrl-C) cannot leave half done.
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._alarms: list[Alarm] = []
        self._cancelled = 0
        self._thread: threading.Thread | None = None

    def call_later(self, delay_s: float, act: Callable[[], object]) -> Alarm:
        """Call `act` in so many seconds; it must be short, and what it raises is only logged."""
        alarm = Alarm(self, time.monotonic() + delay_s, act)
        with self._lock:
            heapq.heappush(self._alarms, alarm)
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="treadle-walltime", daemon=True)
                thread.start()
                self._thread = thread
            elif self._alarms[0] is alarm:
                self._changed.notify()
        return alarm

    def forget(self, alarm: Alarm) -> None:
        """Cancel an alarm; a second time does nothing."""
        with self._lock:
            if alarm.act is None:
                return
            alarm.act = None
            self._cancelled += 1
            # A million short calls with a walltime of an hour must not be held for an hour.
            if self._cancelled > _FEW and self._cancelled * 2 > len(self._alarms):
                self._alarms = [a for a in self._alarms if a.act is not None]
                heapq.heapify(self._alarms)
                self._cancelled = 0

    def _run(self) -> None:
        while (due := self._next_due()) is not None:
            try:
                due()
            except Exception:  # noqa: BLE001 - one bad action must not end all deadlines
                logger("app").exception("an alarm's action failed")

    def _next_due(self) -> Callable[[], object] | None:
        """Wait for the next action that is due; None when the thread is not needed any more."""
        with self._lock:
            while True:
                while self._alarms and self._alarms[0].act is None:
                    heapq.heappop(self._alarms)
                    self._cancelled -= 1
                if not self._alarms:
                    if not self._changed.wait_for(lambda: self._alarms, timeout=LINGER_S):
                        self._thread = None
                        return None
                    continue
                wait_s = self._alarms[0].at - time.monotonic()
                if wait_s > 0:
                    # A wait that is too long for the system is cut: we only look again.
                    self._changed.wait(min(wait_s, threading.TIMEOUT_MAX))
                    continue
                alarm = heapq.heappop(self._alarms)
                act, alarm.act = alarm.act, None
                if act is not None:
                    return act


_timer = Timer()


def call_later(delay_s: float, act: Callable[[], object]) -> Alarm:
    """Call `act` in so many seconds, on the one thread that does so for the whole process."""
    return _timer.call_later(delay_s, act)


def _forget_parent() -> None:
    """In a forked child: the thread is not here, and its lock may be held for ever."""
    global _timer
    _timer = Timer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_parent)
