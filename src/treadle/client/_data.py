"""Data of a client: given to workers, and where it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from treadle import wire
from treadle.client._base import ClientBase, Flow, names_of
from treadle.client._futures import ClientFuture
from treadle.client._nests import each
from treadle.serialize import pack


class DataCalls(ClientBase):
    """What a client does with data."""

    def scatter(
        self,
        data: Any,
        *,
        workers: str | Sequence[str] | None = None,
        broadcast: bool | int = False,
        timeout: float | None = 30.0,
    ) -> Any:
        """Give data to workers: a future, or of a list, tuple, set or dict one for each item.

        Args:
            data: the value, or values; exactly these containers are taken apart.
            workers: who shall have it; None: anybody.
            broadcast: True: all of them have a copy; or how many.
            timeout: seconds until it must be there; None: any.

        Raises:
            TimeoutError: it is not there in time, perhaps because there is no worker.
        """
        self._running()
        names = names_of(workers)
        copies = 2**31 - 1 if broadcast is True else max(1, int(broadcast))
        futures: list[ClientFuture[Any]] = []

        def one(value: Any) -> ClientFuture[Any]:
            future = self._scatter(value, names, copies)
            futures.append(future)
            return future

        nest: Any
        if type(data) in (list, tuple, set, frozenset):
            nest = type(data)(one(value) for value in data)
        elif type(data) is dict:
            nest = {key: one(value) for key, value in data.items()}
        else:
            nest = one(data)
        for future in futures:
            if (error := future.exception(timeout)) is not None:
                raise error
        return nest

    def _scatter(self, value: Any, workers: tuple[str, ...], copies: int) -> ClientFuture[Any]:
        name = type(value).__name__[:512]
        parcel = self._session.depot.parcels.new(pack(value, home=False), name, name)
        id = parcel.id
        future = ClientFuture[Any](self, id, f"{name}-{id - self._session.base:x}")
        with self._lock:
            self._futures[id] = future
        self._session.depot.offer(parcel, workers, copies, want=name)
        return future

    def who_has(self, futures: Any = None) -> dict[str, list[str]]:
        """Which workers have the results of these futures (None: all), by key."""
        return self._do(self._who_has(futures))

    def _who_has(self, futures: Any) -> Flow[dict[str, list[str]]]:
        if futures is None:
            with self._lock:
                mine = list(self._futures.values())
        else:
            mine = list(each(futures, ClientFuture))
        ids = tuple(future.id for future in mine if future.status == "finished")
        holders = (yield from self._ask(lambda ask: wire.WhoHas(ask, ids))) if ids else []
        found = dict(zip(ids, holders, strict=True))
        return {future.key: list(found.get(future.id, ())) for future in mine}

    def has_what(self, workers: str | Sequence[str] | None = None) -> dict[str, list[str]]:
        """The keys of what these workers (None: all) hold."""
        names = names_of(workers)
        flow: Flow[dict[str, list[str]]] = self._ask(lambda ask: wire.HasWhat(ask, names))
        return self._do(flow)
