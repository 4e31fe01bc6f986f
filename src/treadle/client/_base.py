"""What all calls of a client stand on: its session, its futures, questions and their answers."""

from __future__ import annotations

import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures._base import FINISHED
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from weakref import WeakValueDictionary

from treadle.client import _current
from treadle.client._flows import Flow, Pending, await_for, wait_for
from treadle.client._homes import CONNECTION_FILE, home_at, home_here
from treadle.cluster._calls import CallPacker
from treadle.cluster._session import Session
from treadle.cluster._world import world_here
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import SchedulerLost, TreadleError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from treadle import wire
    from treadle.client._futures import ClientFuture
    from treadle.dataflow._sink import SinkOutcome
    from treadle.wire import TaskId

__all__ = ["ANSWER_S", "HELLO_S", "ClientBase", "Flow", "Pending", "names_of"]

T = TypeVar("T")

#: How long a scheduler may take to answer a first hello, and a question.
HELLO_S = 10.0
ANSWER_S = 60.0


class ClientBase:
    """A client's session and its futures.

    Attributes:
        asynchronous: calls that wait give awaitables.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        name: str = "client",
        timeout: float = HELLO_S,
        asynchronous: bool = False,
        set_as_default: bool = True,
        **options: Any,
    ) -> None:
        self.asynchronous = asynchronous
        self._own = address is None
        self._name = f"client/{name}-{os.getpid()}-{secrets.token_hex(3)}"
        if address is None:
            home = home_here(self._name, options)
        else:
            home = home_at(address, options)
        self._lock = threading.Lock()
        self._futures: WeakValueDictionary[TaskId, ClientFuture[Any]] = WeakValueDictionary()
        #: Futures that somebody wants to hear of: they stay until they are done.
        self._heard_of: dict[ClientFuture[Any], None] = {}
        #: Results of which the last future is gone.
        self._forgotten: deque[TaskId] = deque()
        self._sweeping = False
        self._closed = False
        echo = bool(options.get("echo", True))
        self._session = Session(home, name=self._name, world=world_here(), echo=echo)
        self._session.call_listener = self._told
        self._packer = CallPacker(self._session.depot)
        try:
            self._session.start()
            if not self._own:
                self._session.wait_until_welcome(timeout)
        except BaseException:
            self.close()
            raise
        if set_as_default:
            _current.opened(self)

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

    def close(self) -> None:
        """Let go of all results and end, with the cluster if it is the client's own."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        _current.closed(self)
        self._session.close(bring=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        linked = "connected" if self._session.bond.link is not None else "not connected"
        state = "closed" if self._closed else linked
        where = "its own cluster" if self._own else f"run {self._session.home.run}"
        return f"<Client of {where}: {state}>"

    # --- for its futures -------------------------------------------------------------------------

    def forget(self, id: TaskId) -> None:
        """See `Owner`."""
        self._forgotten.append(id)
        if not self._sweeping and not self._closed:
            self._sweeping = True
            self._session.engine.call_soon(self._sweep)

    def hold(self, future: ClientFuture[Any]) -> None:
        """See `Owner`."""
        self._heard_of[future] = None

    def cancel(self, futures: Any, *, force: bool = False, reason: str = "") -> None:
        """See `TaskCalls`."""
        raise NotImplementedError

    # --- on the engine thread --------------------------------------------------------------------

    def _running(self) -> Session:
        if self._closed:
            raise RuntimeError("this client has been closed")
        if self._session.dead is not None:
            raise self._session.dead
        return self._session

    def _sweep(self) -> None:
        """Release what nobody here wants any longer."""
        self._sweeping = False
        gone = []
        while self._forgotten:
            id = self._forgotten.popleft()
            with self._lock:
                if id in self._futures:
                    continue  # it was wanted again
            gone.append(id)
            if isinstance(id, int):
                self._session.depot.drop_data((id,))
        if gone and not self._closed:
            self._session.drop(gone)

    def _told(self, outcomes: Sequence[SinkOutcome]) -> None:
        base = self._session.ledger.base
        for outcome in outcomes:
            id: TaskId = outcome.id
            future = self._futures.get(base + id if isinstance(id, int) else id)
            if future is None:
                continue
            self._heard_of.pop(future, None)
            if outcome.value is not None:
                future._arrive(outcome.value)
            elif outcome.cancelled:
                future._stop()
            else:
                # To make an exception is code of the user's.
                self._session.engine.pool.submit(partial(_settle, future, outcome))


def names_of(workers: str | Sequence[str] | None) -> tuple[str, ...]:
    """Names of workers, however they were given."""
    if workers is None:
        return ()
    return (workers,) if isinstance(workers, str) else tuple(workers)


def _settle(future: ClientFuture[Any], outcome: SinkOutcome) -> None:
    try:
        error = TreadleError("the task failed") if outcome.error is None else outcome.error()
    except BaseException as failure:  # noqa: BLE001 - code of the user's; it is the outcome
        error = failure
    future._finish(FINISHED, None, error)
