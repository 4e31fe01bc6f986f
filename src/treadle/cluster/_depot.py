"""What the calls of a session name: functions, and objects of their own.

Both are made in the caller's thread, and told of before the first task that names them. A new
scheduler knows none of it: functions are told of again by the books, objects when they are named.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from treadle import wire
from treadle.cluster._rows import ENDED
from treadle.cluster._upload import Parcel, Parcels, spec_of
from treadle.cluster._upload_memory import Keeper

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger
    from treadle.serialize import Packed


class Owner(Protocol):
    """What a depot needs of its session."""

    def call(self, fn: Callable[[], None]) -> None:
        """Have this called on the engine thread."""

    def touch(self) -> None:
        """Something is to be sent."""


class SessionDepot:
    """The depot of one session; see `Depot`.

    Args:
        may_begin: whether something new may be said now; else the call with these arguments is made
            again when it may, or never will be.
    """

    def __init__(self, ledger: Ledger, owner: Owner, may_begin: Callable[..., bool]) -> None:
        self.parcels = Parcels(Keeper(), lambda: ledger.base)
        #: What is to be done before tasks that are admitted from now on.
        self.prior: deque[Callable[[], None]] = deque()
        self._ledger = ledger
        self._owner = owner
        self._may_begin = may_begin

    # --- from any thread ---------------------------------------------------------------------

    @property
    def base(self) -> int:
        """See `Depot`."""
        return self._ledger.base

    def keep_code(self, digest: bytes, name: str, payload: bytes) -> None:
        """See `Depot`."""
        self._before(partial(self._ledger.code, wire.Code(digest, name, payload)))

    def keep_data(self, value: Packed, *, constant: object | None) -> int:
        """See `Depot`."""
        parcel = self.parcels.keep(value, constant=constant)
        self.offer(parcel)
        return parcel.id

    def known_data(self, constant: object) -> int | None:
        """See `Depot`."""
        parcel = self.parcels.find(constant)
        if parcel is None:
            return None
        self.offer(parcel)
        return parcel.id

    def offer(self, parcel: Parcel) -> None:
        """Tell the scheduler of a parcel, unless it knows it."""
        if not parcel.sent:
            parcel.sent = True
            self._before(partial(self._scatter, [parcel]))

    def offer_all(self, parcels: Sequence[Parcel], workers: tuple[str, ...] = ()) -> None:
        """Tell the scheduler of new parcels; that somebody has one is told as a task's outcome.

        Args:
            workers: who shall have them; none: anybody.
        """
        self._owner.call(partial(self._offer_all, parcels, workers))

    def drop_data(self, ids: tuple[int, ...]) -> None:
        """See `Depot`."""
        if ids:
            self.parcels.unpin_later(ids)

    def kept(self, number: int | str) -> Any:
        """See `Depot`."""
        past = self._ledger.past
        if not past:
            return None
        value: Any = past.get(
            number if isinstance(number, str) else self._ledger.base + number, ENDED
        )
        if value is ENDED or not value.is_here or value.listed:
            return None
        return value

    def _before(self, fn: Callable[[], None]) -> None:
        self.prior.append(fn)
        self._owner.call(self.do_prior)

    # --- on the engine thread ----------------------------------------------------------------

    def do_prior(self) -> None:
        """Do what goes before tasks."""
        prior = self.prior
        while prior:
            prior.popleft()()
        self._owner.touch()

    def _offer_all(self, parcels: Sequence[Parcel], workers: tuple[str, ...]) -> None:
        if self._may_begin(self._offer_all, parcels, workers):
            for parcel in parcels:
                parcel.sent = True
            self._scatter(parcels, workers, told=True)

    def _scatter(
        self, parcels: Sequence[Parcel], workers: tuple[str, ...] = (), *, told: bool = False
    ) -> None:
        wants = self._ledger.wants
        for parcel in parcels:
            wants[parcel.id] = (parcel.name or "data") if told else ENDED
        items = tuple(map(spec_of, parcels))
        self._ledger.ask(lambda ask: wire.Scatter(ask, items, workers, patient=True, keeps=True))
        self._owner.touch()

    def offer_again(self, call: Any) -> None:
        """The scheduler may be a new one, and not know what a call made before names."""
        for id in getattr(call, "uses", ()):
            parcel = self.parcels.by_id.get(id)
            if parcel is not None and not parcel.sent:
                parcel.sent = True
                self._scatter([parcel])

    def settle(self) -> None:
        """Let go of objects that nothing names any longer."""
        ledger = self._ledger
        if ledger.unused or self.parcels.has_unpinned:
            unused, ledger.unused = ledger.unused, []
            ledger.release(self.parcels.settle(unused, ledger.users.__contains__))

    def lost(self, id: Any) -> bool:
        """The scheduler has forgotten this; whether it is an object of ours."""
        parcel = self.parcels.by_id.get(id)
        if parcel is None:
            return False
        parcel.sent = False
        self.parcels.unmark(parcel)
        return True

    def forget(self) -> None:
        """The scheduler is gone, and knows of no object any longer."""
        for id in list(self.parcels.by_id):
            self.lost(id)
