"""What programs coordinate by: objects that are known by a name to all clients of a cluster.

An object is a name and a client. It is pickled as its name, and belongs to the client that is
current where it is first used.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final, TypeVar

from treadle.client._current import current_client
from treadle.client._flows import Flow, await_for

if TYPE_CHECKING:
    from treadle import wire
    from treadle.client._base import ClientBase

T = TypeVar("T")

#: Longest name: what it is called on the wire begins with the kind of object.
MAX_NAME: Final = 1_000
#: Longest time that a message may name.
_FOREVER_S: Final = 1e10


class Named:
    """A named object of a cluster.

    Attributes:
        name: what it is called.
    """

    #: What its names begin with, where other kinds of objects share the table.
    _ROLE = ""

    def __init__(self, name: str | None = None, *, client: ClientBase | None = None) -> None:
        kind = type(self).__name__
        if name is None:
            name = f"{kind.lower()}-{secrets.token_hex(8)}"
        self.name = checked_name(name, f"{kind}(...)")
        self._client = client
        self._is_given = client is not None

    @property
    def client(self) -> Any:
        """The client that it belongs to: the one it was given, or the one that is current when it
        is first used (and again, when that one has been closed).

        Raises:
            NoClientError: there is none.
        """
        client = self._client
        if client is None or (client._closed and not self._is_given):
            client = self._client = current_client()
        return client

    @property
    def _wire_name(self) -> str:
        return self._ROLE + self.name

    def _do(self, flow: Flow[T]) -> T:
        """The value of a call; of an asynchronous client, an awaitable of it."""
        value: T = self.client._do(flow)
        return value

    def _ask(
        self,
        make: Callable[[int], wire.Message],
        take: Callable[[Any], T],
        **options: Any,
    ) -> Flow[T]:
        """See `Asker.ask`."""
        client = self.client
        client._running()
        flow: Flow[T] = client._asker.ask(make, take, **options)
        return flow

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class Held(Named):
    """A named object that one enters and leaves: `with` blocks, `async with` awaits."""

    def _enter(self) -> Flow[object]:
        raise NotImplementedError

    def _leave(self) -> Flow[object]:
        raise NotImplementedError

    def __enter__(self) -> Any:
        if self.client.asynchronous:
            raise TypeError(f"{self!r} is of an asynchronous client: use `async with`")
        self._do(self._enter())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self._do(self._leave())
        except Exception as failure:  # noqa: BLE001 - it is raised, or told with the other
            _left_by(error, failure)

    async def __aenter__(self) -> Any:
        await await_for(self._enter())
        return self

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        leaving: Coroutine[Any, Any, object] = await_for(self._leave())
        try:
            await leaving
        except Exception as failure:  # noqa: BLE001 - it is raised, or told with the other
            _left_by(error, failure)


def _left_by(error: BaseException | None, failure: Exception) -> None:
    """What is raised if leaving fails: unless the block itself has raised."""
    if error is None:
        raise failure
    error.add_note(f"and when the block was left: {failure!r}")


def checked_name(name: object, what: str) -> str:
    """The name, if it is one.

    Raises:
        TypeError, ValueError: it is none.
    """
    if not isinstance(name, str):
        raise TypeError(f"{what}: a name is text, not {name!r}")
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(
            f"{what}: a name has 1 to {MAX_NAME} characters; {name[:40]!r} has {len(name)}"
        )
    return name


def checked_timeout(timeout: object) -> float | None:
    """How many seconds to wait; None: as long as it takes.

    Raises:
        TypeError, ValueError: it is no time.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"timeout={timeout!r}: give seconds, or None to wait as long as it takes")
    if math.isnan(timeout) or timeout < 0:
        raise ValueError(
            f"timeout={timeout!r}: give seconds of at least 0, or None to wait as long as it takes"
        )
    return None if timeout > _FOREVER_S else float(timeout)
