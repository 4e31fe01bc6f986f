"""Datasets: values with futures in them, kept by the scheduler under a name, whoever leaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any, Final

from treadle import wire
from treadle.client import _current
from treadle.client._base import ClientBase, Flow
from treadle.client._checks import MOST_IDS, checked_name
from treadle.client._futures import ClientFuture
from treadle.errors import TreadleError
from treadle.serialize import pack, unpack

__all__ = ["DatasetCalls", "Datasets"]

#: Most bytes of a dataset without the results that its futures stand for.
_MOST_BYTES: Final = 8 << 20
_NONE: Final = object()


class DatasetCalls(ClientBase):
    """What a client does with datasets."""

    def publish_dataset(
        self, *values: Any, name: str | None = None, override: bool = False, **named: Any
    ) -> None:
        """Keep a value, and the results of all futures in it, under a name.

        They are kept until `unpublish_dataset`, whatever becomes of this client and of the futures.

        Args:
            *values: a value, called `name`; or as keywords, each under its name.
            name: what the value is called.
            override: what has the name now is replaced.
            **named: values by name.

        Raises:
            TreadleError: something is published under the name already, or a result is not known.
            ValueError: it is not clear what is called how, or it is too much.
        """
        if len(values) > 1 or (len(values) == 1) != (name is not None):
            raise ValueError(
                "publish_dataset() takes one value and its name=..., or values by name, as in "
                "publish_dataset(table=table)"
            )
        if values:
            named = {**named, _checked(name): values[0]}
        if not named:
            raise ValueError("publish_dataset(): nothing is given; as in publish_dataset(x=x)")
        return self._do(self._publish(named, override))

    def _publish(self, named: dict[str, Any], override: bool) -> Flow[None]:
        for name, value in named.items():
            found: dict[Any, ClientFuture[Any]] = {}
            note = self._note(name, value, found)
            for future in found.values():
                self._mine(future)
            if len(found) > MOST_IDS:
                raise ValueError(
                    f"dataset {name!r} has {len(found):,} futures, and may have {MOST_IDS:,}"
                )
            wanted = tuple(found)
            yield from self._ask(
                lambda ask, name=name, wanted=wanted, note=note: wire.Publish(  # type: ignore[misc]
                    ask, name, wanted, note, override
                )
            )

    def _note(self, name: str, value: Any, found: dict[Any, ClientFuture[Any]]) -> bytes:
        """The value in bytes, in which futures are named; these are added to `found`."""

        def stand_in(item: Any) -> Any:
            if not isinstance(item, ClientFuture):
                return None
            found[item.id] = item
            return item.id, item.key, type(item)

        packed = pack(value, home=False, persistent_id=stand_in)
        if packed.nbytes > _MOST_BYTES:
            raise ValueError(
                f"dataset {name!r} has {packed.nbytes:,} bytes beside what its futures stand for, "
                f"and may have {_MOST_BYTES:,}: scatter what is large, and publish its future"
            )
        return packed.to_bytes()

    def get_dataset(self, name: str, default: Any = _NONE) -> Any:
        """The value that was published under this name, with futures of this client in it.

        Raises:
            KeyError: there is none, and no `default`.
        """
        return self._do(self._get_dataset(_checked(name), default))

    def _get_dataset(self, name: str, default: Any) -> Flow[Any]:
        try:
            _, note = yield from self._ask(lambda ask: wire.GetPublished(ask, name))
        except TreadleError:
            names = yield from self._names()
            if name in names:
                raise
            if default is not _NONE:
                return default
            raise KeyError(f"no dataset is published as {name!r}; there are: {names}") from None
        with _current.named(self):
            return unpack(note, writable=True, persistent_load=lambda pid: self._want(*pid))

    def list_datasets(self) -> tuple[str, ...]:
        """The names of all datasets, sorted."""
        return self._do(self._names())

    def _names(self) -> Flow[tuple[str, ...]]:
        names = yield from self._ask(lambda ask: wire.ListPublished(ask))
        return tuple(names)

    def unpublish_dataset(self, name: str) -> None:
        """Keep what has this name no longer. Futures that others have of it stay good.

        Raises:
            KeyError: there is none.
        """
        return self._do(self._unpublish(_checked(name)))

    def _unpublish(self, name: str) -> Flow[None]:
        try:
            yield from self._ask(lambda ask: wire.Unpublish(ask, name))
        except TreadleError:
            names = yield from self._names()
            if name in names:
                raise
            raise KeyError(f"no dataset is published as {name!r}; there are: {names}") from None

    @property
    def datasets(self) -> Datasets:
        """All datasets, as a mapping: `client.datasets["table"] = table` publishes, and replaces."""
        return Datasets(self)


class Datasets(MutableMapping[str, Any]):
    """All datasets of a cluster, by name. Each look asks the scheduler."""

    def __init__(self, client: DatasetCalls) -> None:
        self._client = client

    def _sync(self) -> DatasetCalls:
        if self._client.asynchronous:
            raise TypeError(
                "a mapping cannot wait: with an asynchronous client, await its get_dataset(), "
                "publish_dataset(), unpublish_dataset() or list_datasets()"
            )
        return self._client

    def __getitem__(self, name: str) -> Any:
        return self._sync().get_dataset(name)

    def __setitem__(self, name: str, value: Any) -> None:
        self._sync().publish_dataset(value, name=name, override=True)

    def __delitem__(self, name: str) -> None:
        self._sync().unpublish_dataset(name)

    def __contains__(self, name: object) -> bool:
        return name in self._sync().list_datasets()

    def __iter__(self) -> Iterator[str]:
        return iter(self._sync().list_datasets())

    def __len__(self) -> int:
        return len(self._sync().list_datasets())

    async def __aiter__(self) -> AsyncIterator[str]:
        names: Any = self._client.list_datasets()
        for name in await names if self._client.asynchronous else names:
            yield name

    def __repr__(self) -> str:
        return f"<Datasets of {self._client!r}>"


def _checked(name: Any) -> str:
    return checked_name("the name of a dataset", name)
