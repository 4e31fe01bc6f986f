"""What all calls of a client stand on: its session, its futures, questions and their answers."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import ref

from treadle.client import _current
from treadle.client._asker import Asker
from treadle.client._checks import checked_name
from treadle.client._flows import Flow, Pending, await_for, wait_for
from treadle.client._futures import ClientFuture, Hold, held, is_bound
from treadle.client._homes import CONNECTION_FILE, home_at, home_here
from treadle.client._map import Part, RowValue
from treadle.cluster import _wanting
from treadle.cluster._calls import CallPacker
from treadle.cluster._ledger import CALLS, DATA
from treadle.cluster._session import Session
from treadle.cluster._world import world_here
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import SchedulerLost, TreadleError

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import TracebackType
    from typing import Self

    from treadle import wire
    from treadle.cluster._homes import Home
    from treadle.dataflow._sink import SinkOutcome
    from treadle.wire import TaskId

__all__ = ["ANSWER_S", "HELLO_S", "ClientBase", "Flow", "Pending"]

T = TypeVar("T")

#: How long a scheduler may take to answer a first hello, and a question.
HELLO_S = 10.0
ANSWER_S = 60.0
#: How long a scheduler remembers a client without a link.
LEASE_S = 30.0

#: Longest name in a message.
_MOST_NAME = 512

_STOPPED = (CANCELLED, CANCELLED_AND_NOTIFIED)


class ClientBase:
    """A client's session and its futures.

    Attributes:
        asynchronous: calls that wait give awaitables.
    """

    def __init__(
        self,
        address: Any = None,
        *,
        name: str = "client",
        timeout: float = HELLO_S,
        asynchronous: bool = False,
        set_as_default: bool = True,
        credential: str | os.PathLike[str] | None = None,
        _name: str | None = None,
        _lease_s: float = LEASE_S,
        **options: Any,
    ) -> None:
        self.asynchronous = asynchronous
        self._own = address is None
        self._timeout = timeout
        unique = f"{checked_name('name', name)[:200]}-{os.getpid()}-{secrets.token_hex(3)}"
        # `client/` is part of the name: a credential for clients proves those below `client/client`.
        self._name = _name or f"client/{unique}"
        home: Home
        if address is None:
            home = home_here(self._name, options)
        else:
            home = home_at(address, options, credential)
        self._keep_books()
        # A client inside of a task must not replace the world of its cluster's.
        world = world_here() if _name is None else None
        echo = bool(options.get("echo", True))
        self._session = Session(home, name=self._name, lease_s=_lease_s, world=world, echo=echo)
        self._asker = Asker(self._session)
        self._session.call_listener = self._told
        self._session.retry_listener = self._retried
        self._packer = CallPacker(self._session.depot)
        try:
            self._session.start(soon=asynchronous)
            if not self._own and not asynchronous:
                self._session.wait_until_welcome(timeout)
        except BaseException:
            self._close()
            raise
        if set_as_default:
            _current.opened(self)
        if _name is None:
            self._at_exit = partial(_close_if_alive, ref(self))
            atexit.register(self._at_exit)

    def _keep_books(self) -> None:
        self._lock = threading.Lock()
        #: The futures that are alive, by the results they want.
        self._table: dict[TaskId, Hold] = {}
        self._on_gone = self._gone
        #: Futures that somebody wants to hear of: they stay until they are done.
        self._heard_of: dict[ClientFuture[Any], None] = {}
        #: Results of which the last future is gone, and those of which one was pickled.
        self._forgotten: deque[TaskId] = deque()
        self._pickled: set[TaskId] = set()
        self._drawn = CALLS
        self._sweeping = False
        self._closed = False

    # --- questions -------------------------------------------------------------------------------

    def _do(self, flow: Flow[T]) -> T:
        """The value of a call that waits; of an asynchronous client, an awaitable of it."""
        if self.asynchronous:
            return cast("T", await_for(flow))
        return wait_for(flow)

    def _ask(
        self, make: Callable[[int], wire.Message], timeout: float | None = ANSWER_S
    ) -> Flow[Any]:
        """Ask the scheduler: a flow of its answer.

        Raises:
            SchedulerLost: there is none.
            TreadleError: it says why there is no answer.
            TimeoutError: it does not answer in so many seconds.
        """
        answer: LazyFuture[Any] = LazyFuture()
        self._running().request(make, answer.set_result)
        reply = yield Pending(answer, timeout)
        if reply is None:
            raise SchedulerLost("there is no scheduler to ask")
        if reply.error:
            raise TreadleError(reply.error)
        return reply.value

    # --- its life --------------------------------------------------------------------------------

    @property
    def connection_file(self) -> str | None:
        """What other clients are given as an address to work with the same cluster, once it runs.

        None if it is somebody else's.
        """
        home: Any = self._session.home
        self._running().wait_until_welcome(HELLO_S)
        directory = getattr(home, "directory", "")
        return os.path.join(directory, CONNECTION_FILE) if directory else None

    def close(self) -> Any:
        """Let go of all results and end, with the cluster if it is the client's own.

        Of an asynchronous client: an awaitable.
        """
        if self.asynchronous:
            return self._close_aside()
        return self._close()

    def _close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        _current.closed(self)
        if (at_exit := getattr(self, "_at_exit", None)) is not None:
            atexit.unregister(at_exit)
        self._session.close(bring=False)

    async def _close_aside(self) -> None:
        """It takes a while: not on the caller's event loop."""
        await asyncio.to_thread(self._close)

    def __enter__(self) -> Self:
        if self.asynchronous:
            raise TypeError("this client is asynchronous: `async with Client(asynchronous=True)`")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._close()

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until the scheduler knows the client."""
        return self._ready().__await__()

    async def _ready(self) -> Self:
        try:
            await await_for(_wait_for(self._session.welcome, self._timeout))
        except BaseException:
            await self._close_aside()
            raise
        return self

    async def __aenter__(self) -> Self:
        return await self._ready()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._close_aside()

    def __reduce__(self) -> Any:
        raise TypeError(
            "a Client belongs to its process and cannot be pickled; in a task, call "
            "treadle.get_client()"
        )

    def __repr__(self) -> str:
        linked = "connected" if self._session.bond.link is not None else "not connected"
        state = "closed" if self._closed else linked
        where = "its own cluster" if self._own else f"run {self._session.home.run}"
        return f"<Client of {where}: {state}>"

    # --- futures, and what they are called -------------------------------------------------------

    def _numbers(self, count: int = 1) -> int:
        """Identifiers for so many new tasks, one behind the other; the first of them."""
        with self._lock:
            first = self._drawn
            self._drawn += count
        if self._drawn > DATA:
            raise RuntimeError(f"a client can have {DATA - CALLS:,} tasks; make another one")
        return self._session.base + first

    def _future(
        self, id: TaskId, key: str, kind: Callable[..., ClientFuture[Any]] | None = None
    ) -> ClientFuture[Any]:
        """A new future that wants this."""
        future = (kind or ClientFuture)(self, id, key)
        self._table[id] = held(future, self._on_gone)
        return future

    def _find(self, id: TaskId) -> ClientFuture[Any] | None:
        """The future that wants this; None if there is none (any more)."""
        known = self._table.get(id)
        return None if known is None else known()

    def _all(self) -> list[ClientFuture[Any]]:
        """All futures that are alive."""
        with self._lock:
            known = list(self._table.values())
        return [future for each in known if (future := each()) is not None]

    def _want(
        self, id: TaskId, key: str, kind: Callable[..., ClientFuture[Any]] | None = None
    ) -> ClientFuture[Any]:
        """The future of a result that others have asked for."""
        session = self._running()
        with self._lock:
            future = self._find(id)
            if future is not None and future._state not in _STOPPED:
                return future
            future = self._future(id, key, kind)
        session.do(partial(_wanting.want, id=id, name=key[:_MOST_NAME]))
        return future

    def _adopt(self, future: ClientFuture[Any]) -> None:
        """A future that came in a pickle is used here for the first time."""
        session = self._running()
        with self._lock:
            if is_bound(future):
                return
            known = self._find(future.id)
            if known is not None and known._state in _STOPPED:
                known = None
            future._fill(self)
            future._origin = known
            if known is None:
                self._table[future.id] = held(future, self._on_gone)
        if known is None:
            session.do(partial(_wanting.want, id=future.id, name=future.key[:_MOST_NAME]))
        else:
            known.add_listener(future._follow)

    def _mine(self, future: ClientFuture[Any]) -> ClientFuture[Any]:
        """The future, which must be this client's."""
        if not is_bound(future):
            self._adopt(future)
        elif future._client is not self:
            raise ValueError(f"{future!r} belongs to another client")
        return future

    # --- for its futures -------------------------------------------------------------------------

    def _gone(self, hold: Hold) -> None:
        self.forget(hold.id)

    def forget(self, id: TaskId) -> None:
        """See `Owner`."""
        self._forgotten.append(id)
        if not self._sweeping and not self._closed:
            self._sweeping = True
            self._session.engine.call_soon(self._sweep_in_turn)

    def disown(self, future: ClientFuture[Any]) -> None:
        """See `Owner`."""
        with self._lock:
            if self._find(future.id) is future:
                del self._table[future.id]
        self.forget(future.id)

    def hold(self, future: ClientFuture[Any]) -> None:
        """See `Owner`."""
        self._heard_of[future] = None
        if future.done():
            self._heard_of.pop(future, None)

    def pickled(self, id: TaskId) -> None:
        """See `Owner`."""
        self._pickled.add(id)

    def cancel(self, futures: Any, *, force: bool = False, reason: str = "") -> Any:
        """See `TaskCalls`."""
        raise NotImplementedError

    def retry(self, futures: Any) -> Any:
        """See `TaskCalls`."""
        raise NotImplementedError

    # --- on the engine thread --------------------------------------------------------------------

    def _running(self) -> Session:
        if self._closed:
            raise RuntimeError("this client has been closed")
        if self._session.dead is not None:
            raise self._session.dead
        return self._session

    def _sweep_in_turn(self) -> None:
        """Release it behind all that was submitted before: that may depend on it."""
        self._sweeping = False
        self._session.inbox.post(partial(self._sweep, len(self._forgotten)))

    def _sweep(self, most: int | None = None) -> None:
        """Release what nobody here wants any longer; at most so many."""
        gone = []
        table, forgotten = self._table, self._forgotten
        with self._lock:
            for _ in range(len(forgotten) if most is None else min(most, len(forgotten))):
                id = forgotten.popleft()
                known = table.get(id)
                if known is not None:
                    if known() is not None:
                        continue  # it was wanted again
                    del table[id]
                gone.append(id)
        if not gone or self._closed:
            return
        self._session.depot.drop_data(tuple([id for id in gone if isinstance(id, int)]))
        lingering = frozenset(self._pickled.intersection(gone)) if self._pickled else frozenset()
        self._session.do(partial(_wanting.forget, ids=gone, lingering=lingering))
        self._pickled -= lingering

    def _told(self, outcomes: Sequence[SinkOutcome]) -> None:
        base = self._session.ledger.base
        table, heard_of = self._table, self._heard_of
        failed: list[tuple[ClientFuture[Any], SinkOutcome]] = []
        for outcome in outcomes:
            id: TaskId = outcome.id
            if isinstance(id, int):
                id += base
            remote: Any = outcome.value
            part = Part(remote, outcome.rows) if getattr(remote, "listed", False) else None
            for row in range(outcome.rows):
                known = table.get(id + row if row else id)  # type: ignore[operator]
                future = None if known is None else known()
                if future is None:
                    continue
                if heard_of:
                    heard_of.pop(future, None)
                if remote is not None:
                    future._arrive(remote if part is None else RowValue(part, row))
                elif outcome.cancelled:
                    table.pop(future.id, None)
                    future._stop(outcome.text)
                else:
                    failed.append((future, outcome))
        if failed:
            # To make an exception is code of the user's.
            self._session.engine.pool.submit(partial(_settle, failed))

    def _retried(self, id: TaskId, rows: int) -> None:
        """What had failed is tried again, with something that it failed by."""
        for row in range(rows):
            future = self._find(id + row if isinstance(id, int) else id)
            if future is not None:
                future._reopen()


def _wait_for(answer: LazyFuture[Any], timeout: float | None) -> Flow[Any]:
    return (yield Pending(answer, timeout))


def _close_if_alive(client: ref[ClientBase]) -> None:
    """At the program's end: what its tasks have printed is still on its way."""
    found = client()
    if found is not None:
        found._close()


def _settle(failed: Sequence[tuple[ClientFuture[Any], SinkOutcome]]) -> None:
    for future, outcome in failed:
        try:
            error = TreadleError("the task failed") if outcome.error is None else outcome.error()
        except BaseException as failure:  # noqa: BLE001 - code of the user's; it is the outcome
            error = failure
        future._finish(FINISHED, None, error)
