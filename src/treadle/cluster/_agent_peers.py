"""Links to other workers and to clients, for data: found, opened, kept, lost.

Workers are dialled when something is to be asked of them; clients and other workers come to us. A
link that cannot be had is told to the machine as one that is lost: it looks elsewhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol
from zlib import crc32

from treadle import wire, worker
from treadle.cluster._agent_peer import PeerEar
from treadle.cluster._dial import dial
from treadle.cluster._link import this_party
from treadle.cluster._listener import Listener
from treadle.errors import HandshakeRefused

if TYPE_CHECKING:
    from treadle.cluster._agent_arrivals import Arrivals
    from treadle.cluster._agent_uplink import Uplink
    from treadle.cluster._link import Ear, Link
    from treadle.cluster._rundir import RunDirectory
    from treadle.cluster._security import Identity
    from treadle.cluster._settings import WorkerSettings
    from treadle.store.objects import ObjectStore
    from treadle.wire import Held, Message, Place

_log = logging.getLogger(__name__)

#: A worker that cannot be reached is tried again after so long, once: it may be starting anew.
_AGAIN_S: Final = 0.5


class Host(Protocol):
    """The worker whose peers these are."""

    settings: WorkerSettings
    loop: asyncio.AbstractEventLoop
    store: ObjectStore
    uplink: Uplink
    #: The name of this machine.
    own_host: str

    def step(self, event: object, source: str) -> None:
        """Something has come from there."""

    def note_rows(self, objects: Sequence[Held]) -> None:
        """These objects have come."""


class Peers:
    """All peers of one worker but the scheduler. A worker goes by its name, a client by
    'client/NAME'."""

    def __init__(
        self,
        host: Host,
        arrivals: Arrivals,
        run: str,
        directory: RunDirectory | None,
        identity: Identity | None,
    ) -> None:
        self.host = host
        self.arrivals = arrivals
        self._directory = directory
        self._identity = identity
        self._me = this_party("worker", host.settings.id, run)
        self._own_peer = f"worker/{host.settings.id}"
        self._listener: Listener | None = None
        #: The link that is used to ask a peer, and all that there are to it.
        self._ears: dict[str, PeerEar] = {}
        self._all: dict[PeerEar, None] = {}
        #: By which link a peer has asked for data.
        self._asked: dict[tuple[str, int], PeerEar] = {}
        #: What is to be sent to workers that are being dialled.
        self._waiting: dict[str, list[Message]] = {}
        self._places: dict[str, Place] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def listen(self) -> None:
        """Let peers come; tell the scheduler where."""
        settings = self.host.settings
        self._listener = Listener(me=self._me, accept=self._accept, loop=self.host.loop)
        if self._directory is not None:
            self._listener.listen_unix(
                self._directory.socket_path(f"worker-{crc32(settings.id.encode()):08x}")
            )
        if self._identity is not None:
            self._listener.listen_tls(
                self._identity,
                interface=settings.interface,
                hosts=settings.addresses,
                ports=settings.ports,
            )
        self.host.uplink.addresses = tuple(self._listener.addresses)

    async def close(self) -> None:
        """End all links."""
        self._closed = True
        if self._listener is not None:
            self._listener.close()
        for task in self._tasks:
            task.cancel()
        for ear in list(self._all):
            ear.link.close("this worker ends")
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- to them ---------------------------------------------------------------------------------

    def send(self, name: str, messages: list[Message]) -> None:
        """Say this to a peer. Orders of the machine: data goes by the link that it was asked by."""
        for message in messages:
            if isinstance(message, wire.GetData):
                self._ask(name, message)
                continue
            if isinstance(message, wire.Data | wire.Busy):
                ear = self._asked.pop((name, message.ask), None)
                if ear is not None and ear in self._all:
                    ear.answer(message)
                elif isinstance(message, wire.Data) and message.objects:
                    self.host.step(worker.Sent(name, message.ask), worker.SHELL)

    def _ask(self, name: str, message: wire.GetData) -> None:
        ear = self._ears.get(name)
        if ear is not None:
            ear.ask(message)
            return
        waiting = self._waiting.get(name)
        if waiting is not None:
            waiting.append(message)
            return
        self._waiting[name] = [message]
        task = self.host.loop.create_task(self._reach(name))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reach(self, name: str) -> None:
        """Dial a worker, and send it what waits."""
        try:
            try:
                await self._dial(name)
            except (OSError, HandshakeRefused):
                self._places.pop(name, None)
                await asyncio.sleep(_AGAIN_S)
                await self._dial(name)  # nothing to do if it has come to us meanwhile
        except (OSError, HandshakeRefused) as error:
            _log.warning("worker %s is not to be reached: %s", name, error)
            self._places.pop(name, None)
        waiting = self._waiting.pop(name)
        ear = self._ears.get(name)
        if ear is None:
            self.host.step(worker.LinkDown(name), worker.SHELL)
            return
        for message in waiting:
            if isinstance(message, wire.GetData):
                ear.ask(message)

    async def _dial(self, name: str) -> None:
        if name in self._ears:
            return
        place = self._places.get(name)
        if place is None:
            place = await self.host.uplink.locate(name)
            self._places[name] = place
        addresses = place.addresses
        if place.host != self.host.own_host:
            addresses = tuple(a for a in addresses if not a.startswith("unix:"))
        ear = PeerEar(self, name, is_client=False)
        link = await dial(
            addresses, me=self._me, expect=f"worker/{name}", ear=ear, identity=self._identity
        )
        if self._closed:
            link.close("this worker ends")
            return
        self._add(ear, link)

    # --- from them -------------------------------------------------------------------------------

    def _accept(self, link: Link) -> Ear | str:
        role, _, id = link.peer.partition("/")
        if self._closed:
            return "this worker is about to end"
        if role not in ("worker", "client") or link.peer == self._own_peer:
            return f"a worker has nothing to say to {link.peer[:60]!r}"
        name = id if role == "worker" else link.peer
        ear = PeerEar(self, name, is_client=role == "client")
        self._add(ear, link)
        return ear

    def _add(self, ear: PeerEar, link: Link) -> None:
        ear.link = link
        self._all[ear] = None
        self._ears[ear.name] = ear

    def asked(self, ear: PeerEar, message: wire.GetData) -> None:
        """A peer wants data."""
        self._asked[ear.name, message.ask] = ear
        self.host.step(message, ear.name)

    def lose(self, ear: PeerEar) -> None:
        """A link is lost, and with it what was asked for or sent by it."""
        if self._all.pop(ear, self) is self:
            return
        if self._ears.get(ear.name) is ear:
            del self._ears[ear.name]
            for other in self._all:
                if other.name == ear.name:
                    self._ears[ear.name] = other
        for key in [key for key, asked in self._asked.items() if asked is ear]:
            del self._asked[key]
        if not self._closed:
            self.host.step(worker.LinkDown(ear.name), worker.SHELL)
