"""Links from a client to workers: results come by them, and data goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle import wire
from treadle.cluster._dial import dial
from treadle.cluster._fetches import AGAIN_S, Asking, Fetch, Open
from treadle.cluster._upload_memory import Plain
from treadle.errors import HandshakeRefused, ResultLost

if TYPE_CHECKING:
    import asyncio

    from treadle.cluster._link import Link
    from treadle.cluster._results import RemoteResult
    from treadle.cluster._security import Identity
    from treadle.cluster._upload import Parcel

#: How often a parcel is offered again to a worker that the scheduler still counts on.
_OFFERS: Final = 20
#: How often the scheduler is asked who has a result that nobody gives.
_TRIES: Final = 60


class Desk(Protocol):
    """What the holders need of their session."""

    loop: asyncio.AbstractEventLoop

    def ask(self, make: Callable[[int], wire.Message], answered: Callable[[Any], None]) -> None:
        """Ask the scheduler; the answer, or None if none will come."""

    def me(self) -> wire.Party:
        """Who this is, in handshakes."""


class Gift:
    """A parcel for a worker."""

    __slots__ = ("attempt", "offers", "parcel")

    def __init__(self, parcel: Parcel, attempt: int) -> None:
        self.parcel = parcel
        self.attempt = attempt
        self.offers = 0


class Holder:
    """One worker: the link to it, once it is needed, and all that goes by it."""

    def __init__(self, holders: Holders, name: str) -> None:
        self.name = name
        self.link: Link | None = None
        self._holders = holders
        self._locating = False
        self._closed = False
        self.asking = Asking(name, holders.open_spot, holders.failed, holders.desk.loop.call_later)
        #: To be given, and given without an answer.
        self._gifts: list[Gift] = []
        self._given: dict[int, Gift] = {}
        self._ask = 0

    def fetch(self, fetch: Fetch) -> None:
        """Fetch this from here."""
        self.asking.add(fetch)
        self._link_up()

    def give(self, gifts: Sequence[Gift]) -> None:
        """Give it these."""
        self._gifts += gifts
        self._link_up()
        self._give_all()

    def close(self) -> None:
        """The session ends."""
        self._closed = True
        if self.link is not None:
            self.link.close("the client ends")

    # --- the link ----------------------------------------------------------------------------

    def _link_up(self) -> None:
        if self.link is None and not self._locating and not self._closed:
            self._locating = True
            self._holders.desk.ask(lambda ask: wire.Locate(ask, (self.name,)), self._located)

    def _located(self, answer: wire.Located | None) -> None:
        places = () if answer is None else answer.places
        addresses = next((p.addresses for p in places if p.worker == self.name), ())
        if not addresses or self._closed:
            self._cannot()
            return
        self._holders.spawn(self._dial(addresses))

    async def _dial(self, addresses: Sequence[str]) -> None:
        holders = self._holders
        try:
            link = await dial(
                addresses,
                me=holders.desk.me(),
                expect=f"worker/{self.name}",
                ear=self,
                identity=holders.identity,
            )
        except (ConnectionError, HandshakeRefused, OSError):
            self._cannot()
            return
        self._locating = False
        if self._closed:
            link.close("the client ends")
            return
        self.link = self.asking.link = link
        self.asking.pump()
        self._give_all()

    def _cannot(self) -> None:
        self._locating = False
        self.asking.lost()
        self._offer_again()

    def _offer_again(self) -> None:
        """Gifts wait a little: the scheduler tells soon if this worker is gone."""
        gifts = [*self._given.values(), *self._gifts]
        self._given.clear()
        self._gifts.clear()
        loop = self._holders.desk.loop
        for gift in gifts:
            gift.offers += 1
            if gift.offers < _OFFERS and not self._closed:
                loop.call_later(AGAIN_S * min(gift.offers, 10), self._offer, gift)

    def _offer(self, gift: Gift) -> None:
        if self._holders.is_wanted(gift.parcel) and not self._closed:
            self.give([gift])

    def _give_all(self) -> None:
        link = self.link
        if link is None:
            return
        gifts, self._gifts = self._gifts, []
        for gift in gifts:
            parcel = gift.parcel
            if not self._holders.is_wanted(parcel):
                continue
            self._ask += 1
            ask = self._ask
            self._given[ask] = gift
            held = wire.Held(parcel.id, gift.attempt, parcel.nbytes, parcel.type)
            if link.same_machine and parcel.shared.spot is not None:
                link.send([wire.Give(ask, held, parcel.shared.spot)])
            else:
                link.send([wire.Give(ask, held)])
                link.send_chunks(wire.chunks(ask, 0, self._holders.view_of(parcel)), lambda: None)

    # --- as the ear of the link --------------------------------------------------------------

    def heard(self, link: Link, messages: list[wire.Message]) -> None:
        """See `Ear`."""
        asking = self.asking
        for message in messages:
            if isinstance(message, wire.Data):
                asking.data(message)
            elif isinstance(message, wire.Spots):
                asking.spots(message)
            elif isinstance(message, wire.Busy):
                asking.rebuffed(message)
            elif isinstance(message, wire.Given):
                gift = self._given.pop(message.ask, None)
                if gift is not None and message.error:
                    gift.offers += 1
                    if gift.offers < _OFFERS:
                        loop = self._holders.desk.loop
                        loop.call_later(AGAIN_S * gift.offers, self._offer, gift)

    def chunk(self, link: Link, chunk: wire.Chunk) -> None:
        """See `Ear`."""
        self.asking.chunk(chunk)

    def lost(self, link: Link, why: str) -> None:
        """See `Ear`."""
        if link is self.link:
            self.link = None
            self.asking.lost()
            self._offer_again()


class Holders:
    """All workers that a client speaks with.

    Args:
        desk: the session.
        open_spot: maps memory of this machine, private to the caller.
        is_wanted: whether a parcel is still to be given.
    """

    def __init__(
        self,
        desk: Desk,
        open_spot: Open,
        is_wanted: Callable[[Parcel], bool],
        identity: Identity | None = None,
    ) -> None:
        self.desk = desk
        self.open_spot = open_spot
        self.is_wanted = is_wanted
        self.identity = identity
        self._by_name: dict[str, Holder] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._closed = False

    def named(self, name: str) -> Holder:
        """The worker of this name."""
        holder = self._by_name.get(name)
        if holder is None:
            holder = self._by_name[name] = Holder(self, name)
        return holder

    def fetch(self, result: RemoteResult) -> None:
        """Fetch a result from whoever has it."""
        self.failed(Fetch(result))

    def give(self, items: Iterable[tuple[Parcel, int, Sequence[str]]]) -> None:
        """Give parcels, each as an attempt to some workers."""
        gifts: dict[str, list[Gift]] = {}
        for parcel, attempt, workers in items:
            for name in workers:
                gifts.setdefault(name, []).append(Gift(parcel, attempt))
        for name, mine in gifts.items():
            self.named(name).give(mine)

    def view_of(self, parcel: Parcel) -> memoryview:
        """The bytes of a parcel."""
        shared = parcel.shared
        return memoryview(shared.data) if isinstance(shared, Plain) else self.open_spot(shared.spot)

    def failed(self, fetch: Fetch) -> None:
        """Somebody was asked in vain, or nobody yet: ask the next, or who else there is."""
        result = fetch.result
        if self._closed or not result.is_there:
            result.not_brought()
            return
        holder = fetch.next_holder()
        if holder is not None:
            self.named(holder).fetch(fetch)
            return

        def answered(reply: wire.Reply | None) -> None:
            if reply is None or not result.is_there:
                result.not_brought()
                return
            fetch.tries += 1
            if reply.error or fetch.tries > _TRIES:
                why = reply.error or f"no worker that has it can be reached ({result.holders})"
                result.gone(lambda: ResultLost(f"task {result.id}: {why}"))
                return
            result.holders = tuple(reply.value[0])
            fetch.struck.clear()
            if result.holders:
                self.desk.loop.call_later(AGAIN_S, self.failed, fetch)
            else:
                result.not_brought()

        self.desk.ask(lambda ask: wire.WhoHas(ask, (result.id,)), answered)

    def spawn(self, work: Any) -> None:
        """Run a coroutine."""
        task = self.desk.loop.create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def clear(self) -> None:
        """The scheduler is gone, and all workers with it."""
        holders, self._by_name = self._by_name, {}
        for holder in holders.values():
            holder.close()
        for task in list(self._tasks):
            task.cancel()

    def close(self) -> None:
        """The session ends."""
        self._closed = True
        self.clear()
