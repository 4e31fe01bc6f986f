"""Events of a cluster: set or not, for all who know the name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client._named import Named, checked_timeout

if TYPE_CHECKING:
    from treadle.client._flows import Flow


class Event(Named):
    """An event that clients and tasks wait for, and set.

    It stays as it was set, whoever leaves.

    Args:
        name: what it is called; None: a name that nobody else has.
        client: whose it is; None: the current one.
    """

    def set(self) -> None:
        """Set it: whoever waits goes on."""
        return self._do(self._put(True))

    def clear(self) -> None:
        """From now on it is not set."""
        return self._do(self._put(False))

    def is_set(self) -> bool:
        """Whether it is set now."""
        return self._do(self._wait(0.0))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; False if it is not in so many seconds."""
        return self._do(self._wait(checked_timeout(timeout)))

    def _put(self, is_set: bool) -> Flow[None]:
        name = self._wire_name
        return self._ask(lambda ask: wire.SetEvent(ask, name, is_set), _nothing)

    def _wait(self, timeout: float | None) -> Flow[bool]:
        name = self._wire_name
        return self._ask(
            lambda ask: wire.AwaitEvent(ask, name, timeout), bool, timeout=timeout, late=False
        )

    def __reduce__(self) -> Any:
        return type(self), (self.name,)


def _nothing(_: object) -> None:
    """The answer says no more than that it is done."""
