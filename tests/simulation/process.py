"""A simulated process around a machine: it may be stopped, slow or dead, and its ticks late."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.world import World

#: So many ticks in one instant are a machine that spins.
_TICKS_IN_ONE_INSTANT = 1000


class Process:
    """Takes events one by one and gives each to the machine (`take`, in a subclass)."""

    machine: Any
    tick: Any

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.alive = True
        #: Above 0 while it is stopped: events wait, and come at once when it goes on.
        self.stopped = 0
        #: How long it takes over each event.
        self.cpu_s = 0.0
        #: How much later than asked for its ticks come.
        self.late_s = 0.0
        self._busy_until = 0.0
        self._inbox: deque[tuple[Any, str, Any]] = deque()
        self._pumping = False
        self._armed: float | None = None
        self._ticked_at = -1.0
        self._ticks = 0

    def take(self, event: Any, source: str, origin: Any) -> None:
        raise NotImplementedError

    def post(self, event: Any, source: str, origin: Any = None) -> None:
        """Something has arrived for this process."""
        if not self.alive:
            return
        if self.stopped or self._inbox or self.cpu_s:
            self._inbox.append((event, source, origin))
            if not self.stopped and not self._pumping:
                self._pump()
        else:
            self.take(event, source, origin)
            self.arm()

    def stop(self) -> None:
        self.stopped += 1

    def resume(self) -> None:
        if not self.stopped:
            return
        self.stopped -= 1
        if not self.stopped and self.alive and not self._pumping:
            self._pump()

    def _pump(self) -> None:
        self._pumping = False
        while self._inbox and self.alive and not self.stopped:
            if self.world.now < self._busy_until:
                self._pumping = True
                self.world.at(self._busy_until, self._pump)
                return
            self._busy_until = self.world.now + self.cpu_s
            self.take(*self._inbox.popleft())
            self.arm()

    def arm(self) -> None:
        """See to it that a tick comes when the machine wants one."""
        due = self.machine.wake_at
        if due is None or not self.alive or (self._armed is not None and self._armed <= due):
            return
        self._armed = due
        self.world.at(max(due, self.world.now) + self.late_s + 1e-6, self._due, due)

    def _due(self, due: float) -> None:
        if not self.alive or self._armed != due:
            return
        self._armed = None
        wanted = self.machine.wake_at
        if wanted is None:
            return
        if wanted > self.world.now:
            self.arm()
            return
        if self._ticked_at != self.world.now:
            self._ticked_at, self._ticks = self.world.now, 0
        self._ticks += 1
        if self._ticks > _TICKS_IN_ONE_INSTANT:
            self.world.fail("spin", f"{self.name} wants a tick again and again")
        self.post(self.tick, "shell")
        # A stopped process takes the tick later, and is asked again what it wants then.
