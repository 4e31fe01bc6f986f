"""How results that are still wanted come home, and what tasks print, when a session ends."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.cluster._views import results
from treadle.dataflow._lazy import LazyFuture

if TYPE_CHECKING:
    from treadle.cluster._results import RemoteResult
    from treadle.cluster._session import Session

#: At most so many bytes are brought from other machines.
_FAREWELL_BYTES: Final = 1 << 30
#: How long what tasks have printed is waited for.
_HEAR_OUT_S: Final = 1.0


def hear_out(session: Session) -> None:
    """Wait for what tasks have printed: it comes behind their outcomes. A moment at most."""
    heard: LazyFuture[Any] = LazyFuture()
    session.request(lambda ask: wire.Inquire(ask, "output"), heard.set_result)
    with suppress(TimeoutError):
        heard.result(_HEAR_OUT_S)


def bring_all(session: Session, arrived: LazyFuture[None]) -> None:
    """Have what is wanted brought to this process, within bounds; on the engine thread."""
    left = 1
    nbytes = 0

    def one(result: RemoteResult | None = None) -> None:
        nonlocal left
        if result is not None and result.stay():
            session.ledger.keep_here(result.id)
            session.touch()
        left -= 1
        if not left and not arrived.done():
            arrived.set_result(None)

    for id, value in results(session.ledger).items() if session.bond.link is not None else ():
        nbytes += value.nbytes
        if value.is_here:
            session.ledger.keep_here(id)
        elif session.is_local or nbytes <= _FAREWELL_BYTES:
            left += 1
            value.bring(partial(one, value))
    session.touch()
    one()
