"""The link to the scheduler: what is the shell's own is done here, all else is the machine's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from msgspec.structs import replace

from treadle import wire, worker

if TYPE_CHECKING:
    from treadle.cluster._agent_feeding import Pantry
    from treadle.cluster._link import Link
    from treadle.wire import Chunk, Message, Place

_log = logging.getLogger(__name__)

#: Messages that are not the machine's alone.
_OWN: Final = frozenset((wire.Code, wire.World, wire.Located, wire.Reset, wire.Inquiry))
#: So long the scheduler may take to say where a worker is.
_LOCATE_S: Final = 5.0


class Machine(Protocol):
    """Who is told."""

    loop: asyncio.AbstractEventLoop

    def step(self, event: object, source: str) -> None:
        """Something has come from there."""

    def before_registering(self) -> None:
        """What is not told yet, and must be in the registration, is told now."""


class Uplink:
    """The link to the scheduler, or none just now. It is the link's ear."""

    def __init__(self, machine: Machine, pantry: Pantry) -> None:
        self._machine = machine
        self._pantry = pantry
        self._link: Link | None = None
        self._begun = False
        #: The next registration says where this worker is reached.
        self._registers = False
        self._asks = 0
        self._places: dict[int, asyncio.Future[dict[str, Place]]] = {}
        #: Where this worker is reached.
        self.addresses: tuple[str, ...] = ()
        #: Given what clients ask of this worker itself.
        self.on_inquiry: Callable[[wire.Inquiry], None] = lambda message: None
        #: Told when the link is lost, and why.
        self.on_lost: Callable[[str], None] = lambda why: None

    @property
    def linked(self) -> bool:
        """There is a link."""
        return self._link is not None

    def begin(self) -> None:
        """The worker is ready to register."""
        self._begun = True
        if self._link is not None:
            self._up()

    def connect(self, link: Link) -> None:
        """This is the link from now on."""
        old, self._link = self._link, link
        if old is not None:
            old.close("there is another link")
            self._down()
        link.ear = self
        if self._begun:
            self._up()

    def close(self) -> None:
        """End it."""
        link, self._link = self._link, None
        if link is not None:
            link.close("this worker ends")
        self._forget_asks()

    def send(self, messages: Sequence[Message]) -> None:
        """Say this to the scheduler, if there is a link; the machine tells all anew if not."""
        link = self._link
        if link is None:
            return
        if self._registers:
            messages = [self._with_addresses(message) for message in messages]
        link.send(messages)

    async def locate(self, worker: str) -> Place:
        """Where a worker is reached.

        Raises:
            ConnectionError: the scheduler does not know, or cannot be asked.
        """
        if self._link is None:
            raise ConnectionError("there is no link to the scheduler, to ask where it is")
        self._asks += 1
        ask = self._asks
        future = self._places[ask] = self._machine.loop.create_future()
        self._link.send([wire.Locate(ask, (worker,))])
        try:
            async with asyncio.timeout(_LOCATE_S):
                place: Place | None = (await future).get(worker)
        except TimeoutError:
            raise ConnectionError("the scheduler does not say where it is") from None
        finally:
            self._places.pop(ask, None)
        if place is None or not place.addresses:
            raise ConnectionError("the scheduler does not know where it is")
        return place

    # --- the link's ear --------------------------------------------------------------------------

    def heard(self, link: Link, messages: list[Message]) -> None:
        """A frame has come."""
        if link is not self._link:
            return
        for message in messages:
            if type(message) in _OWN:
                messages = self._sort_out(messages)
                break
        if messages:
            self._machine.step(messages, worker.SCHEDULER)

    def chunk(self, link: Link, chunk: Chunk) -> None:
        """Data has come, which a scheduler does not send."""
        link.close("a scheduler sends no data")

    def lost(self, link: Link, why: str) -> None:
        """The link has ended."""
        if link is self._link:
            self._link = None
            self._down()
            self.on_lost(why)

    def unsent(self, link: Link, message: Message, why: str) -> None:
        """A message cannot be sent: what it is about fails, so that nobody waits for it."""
        _log.error("a %s cannot be sent: %s", type(message).__name__, why)
        failure = wire.Failure("internal", "WireError", why[:1000])
        if isinstance(message, wire.Failed):
            link.send([replace(message, failure=failure)])
        elif isinstance(message, wire.Finished):
            link.send([replace(message, type="", inline=None)])
        elif not isinstance(message, wire.Printed):
            link.close(f"a {type(message).__name__} cannot be sent: {why}")

    # --- details ---------------------------------------------------------------------------------

    def _up(self) -> None:
        self._machine.before_registering()
        self._registers = True
        self._machine.step(worker.LinkUp(), worker.SHELL)

    def _down(self) -> None:
        self._forget_asks()
        if self._begun:
            self._machine.step(worker.LinkDown(worker.SCHEDULER), worker.SHELL)

    def _forget_asks(self) -> None:
        for future in self._places.values():
            if not future.done():
                future.set_exception(ConnectionError("the link to the scheduler is lost"))
        self._places.clear()

    def _sort_out(self, messages: list[Message]) -> list[Message]:
        rest: list[Message] = []
        for message in messages:
            if isinstance(message, wire.Code):
                self._pantry.learn(message)
            elif isinstance(message, wire.World):
                self._pantry.settle(message)
            elif isinstance(message, wire.Inquiry):
                self.on_inquiry(message)
            elif isinstance(message, wire.Located):
                future = self._places.get(message.ask)
                if future is not None and not future.done():
                    future.set_result({place.worker: place for place in message.places})
            else:
                if isinstance(message, wire.Reset):
                    self._machine.before_registering()
                    self._registers = True
                rest.append(message)
        return rest

    def _with_addresses(self, message: Message) -> Message:
        if not isinstance(message, wire.Register):
            return message
        self._registers = False
        return replace(message, addresses=self.addresses)
