"""Variables of a cluster: one value each, for all who know the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client._events import _nothing
from treadle.client._items import loaded, packed
from treadle.client._named import Named, checked_timeout

if TYPE_CHECKING:
    from treadle.client._flows import Flow


class Variable(Named):
    """A variable.

    Its value is small: of large data, set its future. A future's result is kept while the future is
    the value.

    Args:
        name: what it is called; None: a name that nobody else has.
        client: whose it is; None: the current one.
    """

    def set(self, value: Any) -> None:
        """Give it this value, whatever it had.

        Raises:
            SerializationError: the value cannot be pickled.
            ValueError: it is too large.
        """
        return self._do(self._assign(packed(value, f"{self!r}.set")))

    def get(self, timeout: float | None = None) -> Any:
        """Its value, once it has one.

        Raises:
            TimeoutError: it has none in so many seconds.
            DeserializationError: it cannot be loaded here.
        """
        return self._do(self._get(checked_timeout(timeout)))

    def delete(self) -> None:
        """From now on it has no value."""
        return self._do(self._assign(None))

    def _assign(self, item: wire.Item | None) -> Flow[None]:
        name = self._wire_name
        return self._ask(lambda ask: wire.Assign(ask, name, item), _nothing)

    def _get(self, timeout: float | None) -> Flow[Any]:
        name = self._wire_name
        rows = yield from self._ask(
            lambda ask: wire.Look(ask, name, timeout), self._loaded, timeout=timeout
        )
        if rows is None:
            raise TimeoutError(f"{self!r} had no value in {timeout} s")
        return rows[0]

    def _loaded(self, row: list[Any] | None) -> list[Any] | None:
        return None if row is None else [loaded(self.client, *row)]

    def __reduce__(self) -> Any:
        return type(self), (self.name,)
