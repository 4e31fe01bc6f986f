"""Which client is meant where none is named.

Inside of a task it is the task's own; else the one that a `with client.as_current()` names, else
the newest that was made and not closed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from treadle.errors import NoClientError

if TYPE_CHECKING:
    from treadle.client._client import Client

_named: ContextVar[Any] = ContextVar("treadle_client", default=None)
#: Clients that are open, oldest first.
_open: list[Any] = []
#: Makes the client of the task that runs in this process; set where tasks run.
of_task: Callable[[], Client | None] | None = None


def opened(client: Any) -> None:
    """From now on this one is meant."""
    _open.append(client)


def closed(client: Any) -> None:
    """It is meant no longer."""
    if client in _open:
        _open.remove(client)


@contextmanager
def named(client: Any) -> Iterator[Any]:
    """Within, this one is meant."""
    token = _named.set(client)
    try:
        yield client
    finally:
        _named.reset(token)


def current_client() -> Client:
    """The client that is meant here.

    Raises:
        NoClientError: there is none.
    """
    found = _named.get()
    if found is None and of_task is not None:
        found = of_task()
    if found is None and _open:
        found = _open[-1]
    if found is None:
        raise NoClientError(
            "there is no client here: make one with treadle.Client(...), and keep it open; inside "
            "of a task, call treadle.get_client()"
        )
    client: Client = found
    return client
