"""Turns: what links have to do when the current callback of their loop has ended.

All that is sent within one turn of a loop leaves at its end, each link's as one frame; what passes
between two links of the same process is delivered there too, so nobody is called back from within
his own call. One wake-up does it for all links of a loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    import asyncio

#: Deliveries in one go, before the loop may look at its sockets and clocks again.
_MOST = 256


class Outgoing(Protocol):
    """A link that has something to send."""

    def flush(self) -> None:
        """Send it now. Raises nothing."""


class Incoming(Protocol):
    """A link that has something to deliver within this process."""

    def deliver(self) -> None:
        """Deliver it now. Raises nothing."""


class Turns:
    """The turns of one loop. Use `turns_of`."""

    __slots__ = ("__weakref__", "_armed", "_incoming", "_outgoing", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._incoming: deque[Incoming] = deque()
        self._outgoing: list[Outgoing] = []
        self._armed = False

    def flush_later(self, link: Outgoing) -> None:
        """Have the link flushed when this turn ends."""
        self._outgoing.append(link)
        if not self._armed:
            self._armed = True
            self.loop.call_soon(self._run)

    def deliver_later(self, link: Incoming) -> None:
        """Have the link deliver when this turn ends, before anything is flushed."""
        self._incoming.append(link)
        if not self._armed:
            self._armed = True
            self.loop.call_soon(self._run)

    def at_once(self, call: Callable[[Any], None], what: Any) -> None:
        """Call with this, and do what links have to do then without another turn of the loop.

        For a callback of the loop that has heard one thing: what would gather more in this turn
        is mostly not there, and another look at all sockets costs more than it finds.
        """
        if self._armed:
            call(what)
            return
        self._armed = True
        try:
            call(what)
        finally:
            self._run()

    def _run(self) -> None:
        incoming, outgoing = self._incoming, self._outgoing
        left = _MOST
        try:
            while incoming and left:
                left -= 1
                incoming.popleft().deliver()
            while outgoing:
                outgoing.pop().flush()
        finally:
            if incoming or outgoing:
                self.loop.call_soon(self._run)
            else:
                self._armed = False


#: By the loop's identity: turns keep their loop alive, so no other has it meanwhile.
_ALL: WeakValueDictionary[int, Turns] = WeakValueDictionary()


def turns_of(loop: asyncio.AbstractEventLoop) -> Turns:
    """The turns of this loop; the same for all links."""
    turns = _ALL.get(id(loop))
    if turns is None:
        turns = _ALL[id(loop)] = Turns(loop)
    return turns
