"""Locks and semaphores of a cluster.

    with Semaphore("database", max_leases=4) as semaphore:
        write(query, fence=semaphore.token)

A place is held by a client. It is free again when it is given back, and when its holder has ended:
the client was closed, its process has died, or it was without a link for longer than the scheduler
remembers it; if a task took it, when the task has ended. A holder that was given up for lost may not
know it. What is written while holding a place is therefore best written with its *fencing token*:
tokens of later places are higher, so who keeps the data can refuse what is late.
"""

from __future__ import annotations

import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.client._flows import Flow, wait_for
from treadle.client._named import Held, checked_timeout
from treadle.cluster import _task_here
from treadle.errors import LeaseLost, TreadleError
from treadle.log import logger

if TYPE_CHECKING:
    from treadle.client._base import ClientBase

_log = logger("client")

#: How long the end of a task waits until what it held is free.
_END_S: Final = 5.0


class Semaphore(Held):
    """So many places, which clients and tasks take and give back.

    Whoever waits is served in turn. One object may be used by many threads or tasks of an event
    loop; each place that it holds is one of them.

    Args:
        max_leases: how many places there are; all who use the name say the same.
        name: what it is called; None: a name that nobody else has.
        client: whose it is; None: the current one.
    """

    _ROLE = "semaphore/"

    def __init__(
        self,
        max_leases: int = 1,
        name: str | None = None,
        *,
        client: ClientBase | None = None,
    ) -> None:
        if type(max_leases) is not int or not 1 <= max_leases < 2**31:
            raise ValueError(
                f"max_leases={max_leases!r}: give a whole number of at least 1 (a name comes second)"
            )
        super().__init__(name, client=client)
        self.max_leases = max_leases
        #: Fencing tokens of the places that it holds, the oldest first.
        self._tokens: deque[int] = deque()

    @property
    def token(self) -> int | None:
        """The fencing token of the newest place that this object holds; None if it holds none."""
        try:
            return self._tokens[-1]
        except IndexError:
            return None

    def acquire(self, timeout: float | None = None) -> bool:
        """Take a place; False if there is none in so many seconds.

        Raises:
            SchedulerLost: there is no scheduler.
            TreadleError: others say another number of places.
        """
        return self._do(self._acquire(checked_timeout(timeout)))

    def release(self) -> bool:
        """Give a place back; True.

        Raises:
            RuntimeError: this object holds none.
            LeaseLost: the place was not this client's any longer.
        """
        return self._do(self._release())

    def get_value(self) -> int:
        """How many places are taken now, by anybody."""
        return self._do(self._count())

    def holders(self) -> list[tuple[int, str]]:
        """Who has places now: the fencing token of each, and who it is, for people."""
        return self._do(self._holders())

    # --- flows -----------------------------------------------------------------------------------

    def _acquire(self, timeout: float | None) -> Flow[bool]:
        name, places, owner = self._wire_name, self.max_leases, _owner()
        return self._ask(
            lambda ask: wire.Acquire(ask, name, places, timeout, owner),
            self._taken,
            timeout=timeout,
        )

    def _taken(self, token: int | None) -> bool:
        if token is None:
            return False
        self._tokens.append(token)
        if _task_here.is_slot():
            _held_by_task(self, token)
        return True

    def _release(self) -> Flow[bool]:
        self.client._running()
        try:
            token = self._tokens.popleft()
        except IndexError:
            raise RuntimeError(f"{self!r} is not held: it cannot be released") from None
        _not_held_by_task(token)
        return (yield from self._give_back(token))

    def _give_back(self, token: int) -> Flow[bool]:
        name = self._wire_name
        try:
            return (
                yield from self._ask(
                    lambda ask: wire.GiveBack(ask, name, token), bool, timeout=_ANSWER_S, late=True
                )
            )
        except TreadleError as error:
            if type(error) is not TreadleError:
                raise
            raise LeaseLost(
                f"{self!r}: the place with the token {token} was not held any longer: its holder "
                f"had been given up for lost. Others may have held it since"
            ) from error

    def _count(self) -> Flow[int]:
        holders = yield from self._holders()
        return len(holders)

    def _holders(self) -> Flow[list[tuple[int, str]]]:
        name = self._wire_name
        _, taken, _ = yield from self.client._ask(lambda ask: wire.Holders(ask, name))
        return [(token, f"{owner} of {client}") for token, client, owner in taken]

    def _enter(self) -> Flow[object]:
        return self._acquire(None)

    def _leave(self) -> Flow[object]:
        return self._release()

    def __reduce__(self) -> Any:
        return type(self), (self.max_leases, self.name)


class Lock(Semaphore):
    """A lock: one place.

    It is held by the object that took it: it cannot be taken twice, and two objects of one name are
    two who want it.

    Args:
        name: what it is called; None: a name that nobody else has.
        client: whose it is; None: the current one.
    """

    _ROLE = "lock/"

    def __init__(self, name: str | None = None, *, client: ClientBase | None = None) -> None:
        super().__init__(1, name, client=client)

    def acquire(  # type: ignore[override]  # as threading.Lock has it
        self, blocking: bool = True, timeout: float | None = None
    ) -> bool:
        """Take the lock; False if it is not free in so many seconds (not blocking: now).

        Raises:
            SchedulerLost: there is no scheduler.
        """
        if not blocking:
            if timeout is not None:
                raise ValueError("blocking=False does not wait: give no timeout")
            timeout = 0.0
        return self._do(self._acquire(checked_timeout(timeout)))

    def locked(self) -> bool:
        """Whether anybody has it now."""
        return self._do(self._is_locked())

    def _is_locked(self) -> Flow[bool]:
        return bool((yield from self._count()))

    def __reduce__(self) -> Any:
        return type(self), (self.name,)


#: How long the scheduler is waited for, if it cannot be reached, before a place is left to its
#: lease.
_ANSWER_S: Final = 55.0


def _owner() -> str:
    """Who takes a place, for people."""
    here = _task_here.current()
    return here.key[:512] if here is not None else threading.current_thread().name[:512]


# --- places that tasks have taken ----------------------------------------------------------------

#: By attempt, then by token.
_of_tasks: dict[int, dict[int, Semaphore]] = {}


def _held_by_task(semaphore: Semaphore, token: int) -> None:
    here = _task_here.current()
    if here is None:
        return
    held = _of_tasks.get(here.attempt)
    if held is None:
        held = _of_tasks[here.attempt] = {}
        _task_here.at_end(partial(_task_ended, here.attempt))
    held[token] = semaphore


def _not_held_by_task(token: int) -> None:
    for held in tuple(_of_tasks.values()):
        held.pop(token, None)


def _task_ended(attempt: int) -> None:
    """The task has ended: what it holds is free."""
    for token, semaphore in _of_tasks.pop(attempt, {}).items():
        try:
            semaphore._tokens.remove(token)
            wait_for(semaphore._give_back(token))
        except (ValueError, LeaseLost):
            continue  # it is not held any longer
        except Exception as error:  # noqa: BLE001 - the task has ended, however
            _log.warning("%r, which a task held, was not given back: %s", semaphore, error)
