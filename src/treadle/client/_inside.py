"""Clients inside of tasks: of the same cluster, made when they are first asked for.

A process that runs tasks keeps its client for the tasks that come next. What a task has wanted with
it is let go of when that task ends, unless its futures were pickled, into its result or elsewhere:
those results linger until somebody else wants them. Of an actor it stays for the actor's life.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
import time
from concurrent.futures import _base
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from treadle import wire
from treadle.client import _current
from treadle.client._actors import CallFuture
from treadle.client._client import Client
from treadle.client._futures import ClientFuture
from treadle.cluster import _task_here, _wanting
from treadle.cluster._homes import DialledHome
from treadle.cluster._security import Identity
from treadle.cluster._task_here import TaskHere, rejoin, secede
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import NoClientError, ResultLost

if TYPE_CHECKING:
    from treadle.cluster._connection import Connection
    from treadle.cluster._session import Session
    from treadle.wire import TaskId

__all__ = ["TaskHere", "current_task", "get_client", "rejoin", "secede"]

#: How long the scheduler remembers such a client without a link. On its own machine a link is lost
#: with its process alone; what the task wanted is nobody's then.
_HERE_S: Final = 0.5
_ELSEWHERE_S: Final = 10.0
#: How often to look whether a task does anything, and what share of that time is nothing.
_IDLE_S: Final = 0.1
_IDLE_SHARE: Final = 0.05
#: How long it may take to hear that something lingers.
_HEARD_S: Final = 5.0
_ENDED: Final = "the task that wanted it has ended"


class SlotClient(Client):
    """The client of a process that runs tasks.

    Its calls that wait give awaitables inside of coroutine functions, and wait elsewhere.
    """

    def __init__(self, connection: Connection) -> None:
        identity = Identity.read(connection.credential) if connection.credential else None
        here = connection.host == socket.gethostname()
        task = _task_here.current()
        worker = "" if task is None else task.worker
        super().__init__(
            DialledHome(connection, identity),
            set_as_default=False,
            echo=False,  # what its tasks print is shown to who has submitted this one
            _name=f"{worker}{_task_here.OF_TASK}{os.getpid()}-{secrets.token_hex(3)}",
            _lease_s=_HERE_S if here else _ELSEWHERE_S,
        )
        self._session.ledger.parent = _task_here.running
        self._is_watched = False
        self._used_s = 0.0
        _watch_waiters()
        _task_here.at_close(self._close)

    @property
    def asynchronous(self) -> bool:
        """Whether calls that wait give awaitables: on the event loop of a coroutine function."""
        return asyncio._get_running_loop() is not None

    @asynchronous.setter
    def asynchronous(self, value: bool) -> None:
        """It goes by where it is called."""

    def close(self) -> None:
        """It is closed with its process; for the task it makes no difference."""

    def _running(self) -> Session:
        _task_here.at_end(self._let_go)
        if not self._is_watched:
            self._watch()
        return super()._running()

    # --- waits that nobody knows of ------------------------------------------------------------

    def _watch(self) -> None:
        self._is_watched = True
        self._used_s = 0.0
        self._session.engine.call_later(_IDLE_S, self._look)

    def _look(self) -> None:
        """On the engine thread: a task that has futures, and does nothing, waits for them.

        It may do so in many ways: by callbacks, by the standard library's queues and events.
        """
        futures = [each() for each in list(self._table.values())]
        if not any(future is not None and not future.done() for future in futures):
            self._is_watched = False
            return
        used_s, self._used_s = self._used_s, time.process_time()
        if used_s and self._used_s - used_s < _IDLE_S * _IDLE_SHARE:
            _task_here.seem_idle()
        self._session.engine.call_later(_IDLE_S, self._look)

    # --- the end of a task ---------------------------------------------------------------------

    def _let_go(self) -> None:
        """The task has ended: want nothing any longer; said when this returns."""
        if self._closed or self._session.dead is not None:
            return
        alive = self._all()
        with self._lock:
            ids = list(self._table)
            self._table.clear()
        # What it has told actors to do is done, though it did not wait for that.
        calls = tuple([future.id for future in self._heard_of if type(future) is CallFuture])
        self._heard_of.clear()
        for future in alive:
            _end(future)
        if ids:
            self._session.depot.drop_data(tuple([id for id in ids if isinstance(id, int)]))
        were_pickled = bool(self._pickled)
        self._session.inbox.call(partial(self._let_go_of, ids, calls))
        if were_pickled:
            self._wait_until_heard()

    def _wait_until_heard(self) -> None:
        """The outcome goes another way: who finds a future in it must not be first."""
        heard: LazyFuture[Any] = LazyFuture()
        self._session.request(lambda ask: wire.Muster(ask, 0), heard.set_result)
        try:
            heard.result(_HEARD_S)
        except TimeoutError:
            return

    def _let_go_of(self, ids: list[TaskId], calls: tuple[TaskId, ...]) -> None:
        """On the engine thread. Sent at once: the process may be ended when its outcome is told."""
        session = self._session
        if calls:
            session.ledger.say(wire.FireAndForget(calls))
        _wanting.forget(session.ledger, ids, self._pickled)
        self._sweep()  # of these, too, some may have been pickled
        self._pickled.clear()
        session.flush()


def _end(future: Any) -> None:
    """A future that outlives its task has no result any more, unless it is here."""
    if not future.done():
        future._stop(_ENDED)
    elif future._remote is not None:
        future._exception = ResultLost(f"{future.key}: {_ENDED}")
        future._remote = None


class _Event(threading.Event):
    """What `concurrent.futures.wait` and `as_completed` wait for."""

    def wait(self, timeout: float | None = None) -> bool:
        if self.is_set():
            return True
        with _task_here.aside():
            return super().wait(timeout)


def _watch_waiters() -> None:
    """Have the standard library's waits for futures of ours give the turn away."""
    own: Any = getattr(_base, "_create_and_install_waiters", None)
    if own is None or getattr(own, "is_watched", False):
        return

    def install(fs: Any, return_when: Any) -> Any:
        waiter = own(fs, return_when)
        if any(isinstance(future, ClientFuture) for future in fs):
            waiter.event.__class__ = _Event
        return waiter

    install.is_watched = True  # type: ignore[attr-defined]
    _base._create_and_install_waiters = install  # type: ignore[attr-defined]


_lock = threading.Lock()
_client: SlotClient | None = None


def client_of_slot() -> Client | None:
    """The client of this process; None if it runs no tasks.

    Raises:
        NoClientError: it was forked by a task.
    """
    global _client
    if _client is not None and _task_here.is_slot() and _client._session.dead is None:
        return _client
    if _task_here.was_forked():
        raise NoClientError(
            f"this process (pid {os.getpid()}) was forked by a task, and has no client: call "
            f"treadle.get_client() in the task itself, and do there what takes a client"
        )
    connection = _task_here.connection()
    if connection is None:
        return None
    if _task_here.current() is None:
        raise NoClientError("no task runs here now: only a task has a client")
    with _lock:
        if _client is None or _client._session.dead is not None:
            _client = SlotClient(connection)
    return _client


def get_client() -> Client:
    """Inside of a task: a client of the same cluster; elsewhere the client that is meant there.

    What it waits for inside of a task takes no slot: while a task waits for others, its turn is
    theirs, at any depth.

    Raises:
        NoClientError: there is none.
    """
    return _current.current_client()


def current_task() -> TaskHere | None:
    """The task that runs here: its key, attempt, name and worker; None outside of tasks."""
    return _task_here.current()


_current.of_task = client_of_slot
