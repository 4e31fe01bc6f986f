"""Data of a client: given to workers, copied, moved, and where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.client._checks import checked_count, checked_names, checked_seconds, runs_of
from treadle.client._datasets import DatasetCalls
from treadle.client._flows import left, until
from treadle.client._futures import ClientFuture
from treadle.client._nests import each
from treadle.client._parcels import made_of
from treadle.client._waiting import settled
from treadle.errors import TreadleError
from treadle.serialize import pack

if TYPE_CHECKING:
    from treadle.client._base import Flow
    from treadle.cluster._upload import Parcel
    from treadle.wire import TaskId

#: So long the scheduler may take to say why data is on no worker.
_WHY_S: Final = 5.0
#: So many items go in one message.
_AT_ONCE: Final = 10_000


class DataCalls(DatasetCalls):
    """What a client does with data."""

    # --- giving ----------------------------------------------------------------------------------

    def scatter(
        self,
        data: Any,
        workers: str | Sequence[str] | None = None,
        *,
        broadcast: bool | int = False,
        hash: bool = True,
        timeout: float | None = 30.0,
    ) -> Any:
        """Give data to workers: a future, or of a list, tuple, set or dict one for each item.

        What becomes of the data afterwards changes nothing: it is copied before this returns, once,
        and goes straight to workers.

        Args:
            data: the value, or values; exactly these containers are taken apart, not their
                subclasses.
            workers: who shall have it; None: anybody.
            broadcast: True: all of them have a copy; or how many.
            hash: what is equal to data that this client has given already, byte by byte, and still
                has a future of, is not given again: it is that future.
            timeout: seconds until it must be there; None: any.

        Raises:
            TimeoutError: it is not there in time, perhaps because there is no worker.
        """
        copies = _copies(broadcast)
        names = checked_names(workers)
        timeout = checked_seconds("timeout", timeout)
        values, shaped = _taken_apart(data)
        flow = self._scatter(values, names, copies, hash, timeout)
        return self._do(_then(flow, shaped))

    def _scatter(
        self,
        values: list[Any],
        workers: tuple[str, ...],
        copies: int,
        dedupe: bool,
        timeout: float | None,
    ) -> Flow[list[ClientFuture[Any]]]:
        session = self._running()
        end = until(timeout)
        packed = [(pack(value, home=False), _type_of(value)) for value in values]
        known = self._known_parcel if dedupe else None
        made = yield from made_of(session.depot.parcels, packed, known)
        futures, new = self._futures_of(made)
        for start in range(0, len(new), _AT_ONCE):
            session.depot.offer_all(new[start : start + _AT_ONCE], workers)
        distinct = list(dict.fromkeys(futures))
        try:
            yield from settled(distinct, len(distinct), left(end))
            for future in distinct:
                if (error := future.exception(0)) is not None:
                    raise error
            if copies != 1 or (workers and len(new) < len(distinct)):
                yield from self._copy_given(distinct, copies, workers, left(end))
        except TimeoutError as late:
            if all(future.done() for future in distinct):
                raise TimeoutError(str(late) or "scatter: not all copies are there") from None
            why = yield from self._why_not(distinct)
            raise TimeoutError(f"scatter: after {timeout:g} s {why}") from None
        return futures

    def _copy_given(
        self,
        futures: list[ClientFuture[Any]],
        copies: int,
        workers: tuple[str, ...],
        timeout: float | None,
    ) -> Flow[None]:
        """See to it that data is on more workers, or on these, where it was given before."""
        try:
            yield from self._copy([f.id for f in futures], copies, workers, timeout)
        except TreadleError as error:
            raise TimeoutError(f"scatter: not all copies are there: {error}") from None

    def _known_parcel(self, parcel: Parcel) -> ClientFuture[Any] | None:
        """The future of data that was given before, if it is good."""
        future = self._find(parcel.id)
        good = future is not None and future.status in ("pending", "finished")
        return future if good else None

    def _futures_of(
        self, made: Sequence[Parcel | ClientFuture[Any]]
    ) -> tuple[list[ClientFuture[Any]], list[Parcel]]:
        """A future for each, and the parcels that are to be given."""
        futures: list[ClientFuture[Any]] = []
        new: dict[int, Parcel] = {}
        with self._lock:
            for each_made in made:
                if isinstance(each_made, ClientFuture):
                    futures.append(each_made)
                    continue
                id = each_made.id
                future = self._find(id) if id in new else None
                if future is None:
                    number = id - self._session.base
                    key = f"{each_made.name}-{self._session.ledger.session:x}-{number}"
                    future = self._future(id, key)
                new[id] = each_made
                futures.append(future)
        return futures, list(new.values())

    def _why_not(self, futures: list[ClientFuture[Any]]) -> Flow[str]:
        """Why data is not where it shall be, in words."""
        open = [future for future in futures if not future.done()]
        if not open:
            return "it was not there, and came a moment later"
        text = f"{len(open)} of {len(futures)} values are on no worker"
        try:
            why = yield from self._ask(lambda ask: wire.Explain(ask, open[0].id), _WHY_S)
        except (TreadleError, TimeoutError):
            return f"{text}: the scheduler does not say why"
        return f"{text}: {why}"

    # --- copying, moving -------------------------------------------------------------------------

    def replicate(
        self,
        futures: Any,
        n: int | None = None,
        workers: str | Sequence[str] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """See to it that each of these results is on `n` workers, once it is there.

        Args:
            futures: futures in any shape.
            n: None, or more than there are: on all.
            workers: of these; None: of all.
            timeout: seconds until that must be so; None: any.

        Raises:
            TreadleError: one cannot be copied.
            TimeoutError: they are not there in time.
        """
        copies = 0 if n is None else checked_count("n", n, least=1)
        names = checked_names(workers)
        timeout = checked_seconds("timeout", timeout)
        return self._do(self._replicate(self._of(futures), copies, names, timeout))

    def _replicate(
        self,
        futures: list[ClientFuture[Any]],
        copies: int,
        workers: tuple[str, ...],
        timeout: float | None,
    ) -> Flow[None]:
        end = until(timeout)
        ids = list(dict.fromkeys(future.id for future in futures))
        try:
            yield from settled(futures, len(futures), left(end))
            if ids:
                yield from self._copy(ids, copies, workers, left(end))
        except TimeoutError:
            raise TimeoutError(_late("replicate", "copied", futures, timeout)) from None

    def _copy(
        self, ids: list[TaskId], copies: int, workers: tuple[str, ...], timeout: float | None
    ) -> Flow[None]:
        end = until(timeout)
        if copies > 1:  # on more than there are, nobody can have it
            there = yield from self._ask(lambda ask: wire.Inquire(ask, "info"), left(end))
            taking = [n for n, info in there.items() if info["status"] in ("running", "paused")]
            copies = max(1, min(copies, len([n for n in taking if not workers or n in workers])))
        for run in runs_of(ids):
            yield from self._ask(_replication(run, copies, workers), left(end))

    def rebalance(
        self,
        futures: Any = None,
        workers: str | Sequence[str] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Move results from full workers to emptier ones.

        Args:
            futures: futures in any shape; None: all that workers hold.
            workers: among these; None: among all.
            timeout: seconds until that must be done; None: any.
        """
        mine = None if futures is None else self._of(futures)
        timeout = checked_seconds("timeout", timeout)
        return self._do(self._rebalance(mine, checked_names(workers), timeout))

    def _rebalance(
        self,
        futures: list[ClientFuture[Any]] | None,
        workers: tuple[str, ...],
        timeout: float | None,
    ) -> Flow[None]:
        end = until(timeout)
        ids = list(dict.fromkeys(future.id for future in futures or ()))
        runs = list(runs_of(ids)) if futures is not None else [()]
        try:
            yield from settled(futures or (), len(futures or ()), left(end))
            for run in runs:
                yield from self._ask(_rebalancing(run, workers), left(end))
        except TimeoutError:
            raise TimeoutError(_late("rebalance", "moved", futures or (), timeout)) from None

    # --- where it is -----------------------------------------------------------------------------

    def who_has(self, futures: Any = None) -> dict[str, list[str]]:
        """Which workers have the results of these futures (None: all of this client), by key."""
        return self._do(self._who_has(self._all() if futures is None else self._of(futures)))

    def _who_has(self, futures: list[ClientFuture[Any]]) -> Flow[dict[str, list[str]]]:
        found: dict[TaskId, list[str]] = {}
        for run in runs_of([future.id for future in futures if future.status == "finished"]):
            holders = yield from self._ask(_question(run))
            found.update(zip(run, holders, strict=True))
        return {future.key: list(found.get(future.id, ())) for future in futures}

    def has_what(self, workers: str | Sequence[str] | None = None) -> dict[str, list[str]]:
        """The keys of what these workers (None: all) hold."""
        names = checked_names(workers)
        flow: Flow[dict[str, list[str]]] = self._ask(lambda ask: wire.HasWhat(ask, names))
        return self._do(flow)

    def nbytes(self, futures: Any = None, *, summary: bool = True) -> dict[str, int]:
        """How many bytes results have on workers, each counted once.

        Args:
            futures: futures in any shape; None: all that workers hold, of all clients.
            summary: by the name of their functions; else by key.
        """
        ids = None if futures is None else [future.id for future in self._of(futures)]
        return self._do(self._nbytes(ids, summary))

    def _nbytes(self, ids: list[TaskId] | None, summary: bool) -> Flow[dict[str, int]]:
        what = "nbytes_by_name" if summary else "nbytes"
        total: dict[str, int] = {}
        for run in [()] if ids is None else list(runs_of(list(dict.fromkeys(ids)))):
            sizes = yield from self._ask(_sizing(what, run))
            for name, nbytes in sizes.items():
                total[name] = total.get(name, 0) + nbytes
        return total

    def _of(self, futures: Any) -> list[ClientFuture[Any]]:
        """The futures in this shape, which must be this client's."""
        return [self._mine(future) for future in each(futures, ClientFuture)]


def _copies(broadcast: Any) -> int:
    """On how many workers data shall be; 0: on all."""
    if isinstance(broadcast, bool):
        return 0 if broadcast else 1
    return checked_count("broadcast", broadcast, least=1)


def _taken_apart(data: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
    """The values to be given, and what makes the same shape of their futures."""
    kind = type(data)
    if kind in (list, tuple, set, frozenset):
        return list(data), kind
    if kind is dict:
        names = list(data)
        return list(data.values()), lambda futures: dict(zip(names, futures, strict=True))
    return [data], lambda futures: futures[0]


def _then(flow: Flow[list[Any]], shaped: Callable[[list[Any]], Any]) -> Flow[Any]:
    return shaped((yield from flow))


def _type_of(value: Any) -> str:
    return type(value).__name__[:512]


def _late(what: str, done: str, futures: Sequence[ClientFuture[Any]], timeout: float | None) -> str:
    """What to say when the time is up."""
    open = sum(not future.done() for future in futures)
    why = f"{open} of {len(futures)} are still to be computed" if open else f"not all are {done}"
    return f"{what}: after {timeout:g} s {why}"


# --- questions -----------------------------------------------------------------------------------

_Ids = tuple[Any, ...]
_Make = Callable[[int], wire.Message]


def _replication(ids: _Ids, copies: int, workers: tuple[str, ...]) -> _Make:
    return lambda ask: wire.Replicate(ask, ids, copies, workers)


def _rebalancing(ids: _Ids, workers: tuple[str, ...]) -> _Make:
    return lambda ask: wire.Rebalance(ask, ids, workers)


def _question(ids: _Ids) -> _Make:
    return lambda ask: wire.WhoHas(ask, ids)


def _sizing(what: str, ids: _Ids) -> _Make:
    return lambda ask: wire.Inquire(ask, what, (), ids)
