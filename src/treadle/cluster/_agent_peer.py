"""One link to a peer, for data: what is asked for by it, comes by it, is sent by it.

Data counts as here when all of its bytes are; so the machine hears of `Data` only then. A client of
this machine is told where objects stand instead, and says when it has opened them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from treadle import wire, worker
from treadle.cluster._agent_arrivals import Arrival
from treadle.errors import WireError

if TYPE_CHECKING:
    from treadle.cluster._agent_peers import Peers
    from treadle.cluster._link import Link
    from treadle.wire import Chunk, Message

_log = logging.getLogger(__name__)


class PeerEar:
    """A link to a worker or a client, and what is under way on it. It is the link's ear."""

    def __init__(self, peers: Peers, name: str, *, is_client: bool) -> None:
        self._peers = peers
        self.name = name
        self.is_client = is_client
        self.link: Link
        #: Requests of ours that have not been answered.
        self._asks: set[int] = set()
        #: Data and gifts whose bytes are on their way here, by the number of their request.
        self._coming: dict[int, tuple[Arrival, wire.Data | wire.Give]] = {}
        #: Data that a client has been told the place of, and has not opened.
        self._told: set[int] = set()

    # --- from here -------------------------------------------------------------------------------

    def ask(self, message: wire.GetData) -> None:
        """Ask for objects."""
        self._asks.add(message.ask)
        self.link.send([message])

    def answer(self, message: wire.Data | wire.Busy) -> None:
        """Answer a request."""
        if isinstance(message, wire.Busy) or not message.objects:
            self.link.send([message])
            return
        ask = message.ask
        if self.is_client and self.link.same_machine:
            supply = self._peers.host.store.supply
            try:
                spots = tuple([supply((held.id, held.attempt)) for held in message.objects])
            except KeyError as error:
                self._lack(message, error)
                return
            self._told.add(ask)
            self.link.send([message, wire.Spots(ask, spots)])
            return
        self.link.send([message])
        self.link.send_chunks(self._frames(message), lambda: self._sent(ask))

    def _lack(self, message: wire.Data, error: KeyError) -> None:
        """The machine thinks that all are here: a bug of ours, that shall harm nobody else."""
        _log.error("an object is not in the store: %s", error)
        missing = (*message.missing, *(held.id for held in message.objects))
        self.link.send([wire.Data(message.ask, (), missing)])
        self._sent(message.ask)

    def _frames(self, message: wire.Data) -> Iterator[tuple[bytes, memoryview]]:
        store = self._peers.host.store
        for index, held in enumerate(message.objects):
            try:
                view = store.view((held.id, held.attempt))
            except KeyError:  # it took so long that the machine gave the transfer up
                self.link.close("it took the data too slowly")
                return
            yield from wire.chunks(message.ask, index, view)

    def _sent(self, ask: int) -> None:
        self._peers.host.step(worker.Sent(self.name, ask), worker.SHELL)

    # --- the link's ear --------------------------------------------------------------------------

    def heard(self, link: Link, messages: list[Message]) -> None:
        """A frame has come."""
        for message in messages:
            if isinstance(message, wire.GetData):
                self._peers.asked(self, message)
            elif isinstance(message, wire.Data):
                self._data(message)
            elif isinstance(message, wire.Busy):
                self._asks.discard(message.ask)
                self._peers.host.step(message, self.name)
            elif isinstance(message, wire.Give):
                self._given(message)
            elif isinstance(message, wire.Taken) and message.ask in self._told:
                self._told.remove(message.ask)
                self._sent(message.ask)

    def chunk(self, link: Link, chunk: Chunk) -> None:
        """A piece of an object has come."""
        coming = self._coming.get(chunk.ask)
        if coming is None:  # of what was not asked for, or had no room
            return
        arrival, message = coming
        try:
            arrival.take(chunk)
        except WireError as error:
            link.close(str(error))
            return
        if arrival.complete:
            del self._coming[chunk.ask]
            self._arrived(message)

    def lost(self, link: Link, why: str) -> None:
        """The link has ended."""
        for arrival, _ in self._coming.values():
            arrival.drop()
        self._coming.clear()
        self._peers.lose(self)

    # --- what comes in ---------------------------------------------------------------------------

    def _data(self, message: wire.Data) -> None:
        if message.ask not in self._asks:
            return
        self._asks.remove(message.ask)
        try:
            arrival = Arrival(self._peers.arrivals, message.objects)
        except (OSError, MemoryError) as error:
            _log.error("no room for data of %s: %s", self.name, error)
            missing = (*message.missing, *(held.id for held in message.objects))
            self._arrived(wire.Data(message.ask, (), missing))
            return
        self._expect(arrival, message)

    def _given(self, message: wire.Give) -> None:
        store, held = self._peers.host.store, message.object
        key = (held.id, held.attempt)
        try:
            if message.spot is not None and key not in store:
                if not self.link.same_machine:
                    raise OSError("a place in memory was given, and the memory is elsewhere")
                if message.spot.nbytes != held.nbytes:
                    raise OSError(f"{held.nbytes} bytes were given as {message.spot.nbytes}")
                store.adopt(key, message.spot)
            if message.spot is not None:
                self._arrived(message)
                return
            arrival = Arrival(self._peers.arrivals, (held,))
        except (OSError, MemoryError) as error:
            self.link.send([wire.Given(message.ask, str(error)[:1000] or repr(error))])
            return
        self._expect(arrival, message)

    def _expect(self, arrival: Arrival, message: wire.Data | wire.Give) -> None:
        if arrival.complete:
            self._arrived(message)
        elif message.ask in self._coming:
            arrival.drop()
            self.link.close(f"a second answer to request {message.ask}")
        else:
            self._coming[message.ask] = arrival, message

    def _arrived(self, message: wire.Data | wire.Give) -> None:
        if isinstance(message, wire.Data):
            self._peers.host.note_rows(message.objects)
            self._peers.host.step(message, self.name)
            return
        held = message.object
        stored = worker.Stored(held.id, held.attempt, held.nbytes, held.type)
        self._peers.host.step(stored, worker.SHELL)
        self.link.send([wire.Given(message.ask)])
