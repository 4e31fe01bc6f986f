"""Queues of a cluster: values and futures from any client or task to any other.

Each item goes to one taker, in the order in which they were put; takers are served in the order in
which they came. An item whose taker ends before it has arrived goes to the next one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.client._items import loaded, packed
from treadle.client._named import Named, checked_timeout

if TYPE_CHECKING:
    from treadle.client._flows import Flow

_ALL: Final = 2**31 - 1


class Queue(Named):
    """A queue.

    Items are small: of large data, put its future. A future's result is kept while the future is in
    the queue.

    Args:
        name: what it is called; None: a name that nobody else has.
        maxsize: how many items it holds; 0: any number, or as others say.
        client: whose it is; None: the current one.
    """

    def __init__(self, name: str | None = None, maxsize: int = 0, *, client: Any = None) -> None:
        if type(maxsize) is not int or not 0 <= maxsize <= _ALL:
            raise ValueError(f"maxsize={maxsize!r}: give a whole number of at least 0")
        super().__init__(name, client=client)
        self.maxsize = maxsize

    def put(self, value: Any, timeout: float | None = None) -> None:
        """Append a value, once there is room.

        Raises:
            TimeoutError: there is none in so many seconds.
            SerializationError: the value cannot be pickled.
            ValueError: it is too large.
        """
        return self._do(self._put(value, checked_timeout(timeout)))

    def get(self, timeout: float | None = None, batch: bool | int = False) -> Any:
        """Take the first item, once there is one.

        Args:
            timeout: how many seconds to wait; None: as long as it takes.
            batch: so many items, once there are as many, in a list; True: all that are there now.

        Raises:
            TimeoutError: there are not as many in time.
            DeserializationError: an item cannot be loaded here; it is taken all the same.
        """
        if batch is True:
            return self._do(self._get_all())
        if batch is not False and (type(batch) is not int or not 0 < batch <= _ALL):
            raise ValueError(f"batch={batch!r}: give a number of at least 1, True or False")
        return self._do(self._get(checked_timeout(timeout), batch))

    def qsize(self) -> int:
        """How many items are in it now."""
        name = self._wire_name
        flow: Flow[int] = self.client._ask(lambda ask: wire.QueueSize(ask, name))
        return self._do(flow)

    # --- flows -----------------------------------------------------------------------------------

    def _put(self, value: Any, timeout: float | None) -> Flow[None]:
        name, maxsize = self._wire_name, self.maxsize
        item = packed(value, f"{self!r}.put")
        done = yield from self._ask(
            lambda ask: wire.Put(ask, name, item, maxsize, timeout),
            bool,
            timeout=timeout,
            late=False,
        )
        if not done:
            raise TimeoutError(f"{self!r} is full, and there was no room in {timeout} s")

    def _get(self, timeout: float | None, batch: int) -> Flow[Any]:
        name, maxsize = self._wire_name, self.maxsize
        count = int(batch) or 1
        rows = yield from self._ask(
            lambda ask: wire.Take(ask, name, count, count, maxsize, timeout),
            self._loaded,
            timeout=timeout,
            promptly=True,
        )
        if rows is None:
            what = "item" if count == 1 else f"{count} items"
            raise TimeoutError(f"there was no {what} in {self!r} in {timeout} s")
        return rows if batch else rows[0]

    def _get_all(self) -> Flow[list[Any]]:
        name, maxsize = self._wire_name, self.maxsize
        rows: list[Any] = []
        left = yield from self.client._ask(lambda ask: wire.QueueSize(ask, name))
        while left > 0:  # an answer holds so many bytes
            more = yield from self._ask(
                lambda ask, left=left: wire.Take(ask, name, 0, left, maxsize),  # type: ignore[misc]
                self._loaded,
                promptly=True,
            )
            if not more:
                break
            rows += more
            left -= len(more)
        return rows

    def _loaded(self, rows: list[Any] | None) -> list[Any] | None:
        client = self.client
        return None if rows is None else [loaded(client, data, ids) for data, ids in rows]

    def __reduce__(self) -> Any:
        return type(self), (self.name, self.maxsize)
