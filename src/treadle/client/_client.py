"""Tasks straight to a scheduler, without a kernel: the interface that users of Dask know.

    with Client(slots=4) as client:
        futures = client.map(simulate, range(1000))
        print(client.gather(client.submit(summarise, futures)))

Results stay on workers until somebody asks for them, for as long as a future of theirs lives.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures._base import FINISHED
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from treadle import wire
from treadle.client._futures import ClientFuture
from treadle.client._homes import CONNECTION_FILE, home_at, home_here
from treadle.client._nests import LEFT_OUT, each, replaced
from treadle.cluster._calls import Call, CallPacker
from treadle.cluster._session import Session
from treadle.cluster._world import world_here
from treadle.dataflow._lazy import LazyFuture
from treadle.errors import SchedulerLost, TreadleError
from treadle.serialize import pack

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from treadle.dataflow._sink import SinkOutcome
    from treadle.wire import TaskId

#: How long a scheduler may take to answer a first hello, and a question.
_HELLO_S = 10.0
_ANSWER_S = 60.0


class Client:
    """A client of a scheduler.

    Args:
        address: where the scheduler is: its connection file, its directory, or 'unix:PATH'; None: a
            cluster of this program's own is started, and ends with it.
        name: what the client is called, in logs.
        timeout: seconds that a scheduler somewhere else may take to answer at first.
        options: of the cluster that is started; see `ClusterExecutor`.

    Raises:
        ConfigurationError: there is no such scheduler, or no such option.
        SchedulerLost: it does not want this client.
        TimeoutError: it does not answer.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        name: str = "client",
        timeout: float = _HELLO_S,
        **options: Any,
    ) -> None:
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

    # --- tasks -----------------------------------------------------------------------------------

    def submit(
        self,
        func: Callable[..., Any],
        *args: Any,
        key: str | None = None,
        workers: str | Sequence[str] | None = None,
        resources: dict[str, float] | None = None,
        retries: int = 0,
        priority: float = 0,
        allow_other_workers: bool = False,
        pure: bool = True,
        **kwargs: Any,
    ) -> ClientFuture[Any]:
        """Run `func(*args, **kwargs)` on a worker; futures among the arguments are waited for there.

        Args:
            func: the function.
            *args: its arguments; futures of this client stand for their results.
            key: what the task is called; None: made of the function's name and the arguments.
            workers: it may run on these alone.
            resources: amounts that it takes, by name.
            retries: how often it is tried again if it raises.
            priority: higher first.
            allow_other_workers: `workers` is a wish.
            pure: the same call is the same task: while its future lives, it is returned again.
            **kwargs: its keyword arguments.

        Raises:
            SerializationError: something cannot be pickled; the text has the path.
        """
        options = _options(workers, resources, retries, priority, allow_other_workers)
        return self._submit(func, args, kwargs, key, options, pure)

    def map(
        self,
        func: Callable[..., Any],
        *iterables: Iterable[Any],
        key: str | None = None,
        workers: str | Sequence[str] | None = None,
        resources: dict[str, float] | None = None,
        retries: int = 0,
        priority: float = 0,
        allow_other_workers: bool = False,
        pure: bool = True,
        **kwargs: Any,
    ) -> list[ClientFuture[Any]]:
        """Run the function for each row of the iterables; one future each. See `submit`.

        Args:
            key: what the keys begin with.
        """
        options = _options(workers, resources, retries, priority, allow_other_workers)
        rows = zip(*iterables, strict=False)
        return [
            self._submit(func, row, kwargs, None if key is None else f"{key}-{n}", options, pure)
            for n, row in enumerate(rows)
        ]

    def _submit(
        self,
        func: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        key: str | None,
        options: wire.Options,
        pure: bool,
    ) -> ClientFuture[Any]:
        session = self._running()
        needs: dict[TaskId, None] = {}
        call = self._packer.pack(func, args, kwargs, partial(self._reference, needs))
        data = call.spec if isinstance(call, Call) else call
        name = _name_of(func)
        id: TaskId = key if key is not None else f"{name}-{_token(data, pure)}"
        with self._lock:
            known = self._futures.get(id)
            if known is not None and known.status != "cancelled":
                return known
            future = self._futures[id] = ClientFuture(self, id, str(id))
        spec = wire.TaskSpec(id, name, data, tuple(needs))
        session.submit(spec, options, call)
        if self._closed:
            future._finish(FINISHED, None, SchedulerLost("the client has been closed"))
        return future

    def _reference(self, needs: dict[TaskId, None], future: Any) -> int | str | None:
        """What names the result of a future of ours in a call."""
        if not isinstance(future, ClientFuture):
            return None
        if future._client is not self:
            raise ValueError(f"{future!r} belongs to another client")
        needs[future.id] = None
        id = future.id
        return id - self._session.base if isinstance(id, int) else id

    # --- data ------------------------------------------------------------------------------------

    def scatter(
        self,
        data: Any,
        *,
        workers: str | Sequence[str] | None = None,
        broadcast: bool | int = False,
        timeout: float | None = 30.0,
    ) -> Any:
        """Give data to workers: a future, or of a list, tuple, set or dict one for each item.

        Args:
            data: the value, or values; exactly these containers are taken apart.
            workers: who shall have it; None: anybody.
            broadcast: True: all of them have a copy; or how many.
            timeout: seconds until it must be there; None: any.

        Raises:
            TimeoutError: it is not there in time, perhaps because there is no worker.
        """
        self._running()
        names = _names(workers)
        copies = 2**31 - 1 if broadcast is True else max(1, int(broadcast))
        futures: list[ClientFuture[Any]] = []

        def one(value: Any) -> ClientFuture[Any]:
            future = self._scatter(value, names, copies)
            futures.append(future)
            return future

        nest: Any
        if type(data) in (list, tuple, set, frozenset):
            nest = type(data)(one(value) for value in data)
        elif type(data) is dict:
            nest = {key: one(value) for key, value in data.items()}
        else:
            nest = one(data)
        for future in futures:
            if (error := future.exception(timeout)) is not None:
                raise error
        return nest

    def _scatter(self, value: Any, workers: tuple[str, ...], copies: int) -> ClientFuture[Any]:
        name = type(value).__name__[:512]
        parcel = self._session.depot.parcels.new(pack(value, home=False), name, name)
        id = parcel.id
        future = ClientFuture[Any](self, id, f"{name}-{id - self._session.base:x}")
        with self._lock:
            self._futures[id] = future
        self._session.depot.offer(parcel, workers, copies, want=name)
        return future

    def gather(self, futures: Any, *, errors: str = "raise") -> Any:
        """The results of futures, in the same shape; of an iterator, an iterator.

        Args:
            futures: a future, or lists, tuples, sets and dicts of them.
            errors: 'raise', or 'skip' to leave out those that have none.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors={errors!r}: give 'raise' or 'skip'")
        if isinstance(futures, Iterator):
            return self._gather_each(futures, errors)
        mine = list(each(futures, ClientFuture))
        for future in mine:
            if future._client is not self:
                raise ValueError(f"{future!r} belongs to another client")
            future.bring(_nothing)  # all at once; the values are loaded one by one
        return replaced(futures, ClientFuture, partial(_result, errors))

    def _gather_each(self, futures: Iterator[Any], errors: str) -> Iterator[Any]:
        for future in futures:
            value = self.gather(future, errors=errors)
            if value is not LEFT_OUT:
                yield value

    def cancel(
        self, futures: Any, *, force: bool = False, reason: str = "cancelled by its client"
    ) -> None:
        """Stop the tasks of these futures and what waits for them, also while they run.

        Args:
            futures: a future, or lists, tuples, sets and dicts of them.
            force: whoever else wants their results.
            reason: told to those.
        """
        mine = [future for future in each(futures, ClientFuture) if not future.done()]
        session = self._session
        session.cancel([future.id for future in mine], force=force, reason=reason)
        for future in mine:
            self._heard_of.pop(future, None)
            future._stop()

    # --- questions -------------------------------------------------------------------------------

    def who_has(self, futures: Any = None) -> dict[str, list[str]]:
        """Which workers have the results of these futures (None: all), by key."""
        if futures is None:
            with self._lock:
                mine = list(self._futures.values())
        else:
            mine = list(each(futures, ClientFuture))
        ids = tuple(future.id for future in mine if future.status == "finished")
        holders = self._ask(lambda ask: wire.WhoHas(ask, ids)) if ids else []
        found = dict(zip(ids, holders, strict=True))
        return {future.key: list(found.get(future.id, ())) for future in mine}

    def has_what(self, workers: str | Sequence[str] | None = None) -> dict[str, list[str]]:
        """The keys of what these workers (None: all) hold."""
        names = _names(workers)
        answer: dict[str, list[str]] = self._ask(lambda ask: wire.HasWhat(ask, names))
        return answer

    def explain(self, future: ClientFuture[Any]) -> str:
        """Why this task is where it is, in one sentence."""
        answer: str = self._ask(lambda ask: wire.Explain(ask, future.id))
        return answer

    def story(self, future: ClientFuture[Any]) -> list[str]:
        """What has happened to this task, a line each, oldest first."""
        answer: list[str] = self._ask(lambda ask: wire.Story(ask, future.id))
        return answer

    def _ask(self, make: Callable[[int], wire.Message]) -> Any:
        answer: LazyFuture[Any] = LazyFuture()
        self._running().request(make, answer.set_result)
        reply = answer.result(_ANSWER_S)
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
        self._running().wait_until_welcome(_HELLO_S)
        directory = getattr(home, "directory", "")
        return os.path.join(directory, CONNECTION_FILE) if directory else None

    def close(self) -> None:
        """Let go of all results and end, with the cluster if it is the client's own."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
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

    def forget(self, id: TaskId) -> None:
        """See `Owner`."""
        self._forgotten.append(id)
        if not self._sweeping and not self._closed:
            self._sweeping = True
            self._session.engine.call_soon(self._sweep)

    def hold(self, future: ClientFuture[Any]) -> None:
        """See `Owner`."""
        self._heard_of[future] = None

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


def _settle(future: ClientFuture[Any], outcome: SinkOutcome) -> None:
    try:
        error = TreadleError("the task failed") if outcome.error is None else outcome.error()
    except BaseException as failure:  # noqa: BLE001 - code of the user's; it is the outcome
        error = failure
    future._finish(FINISHED, None, error)


def _result(errors: str, future: ClientFuture[Any]) -> Any:
    if errors == "raise":
        return future.result()
    try:
        return future.result()
    except CancelledError:
        return LEFT_OUT
    except Exception:  # noqa: BLE001 - that is what was asked for
        return LEFT_OUT


def _options(
    workers: str | Sequence[str] | None,
    resources: dict[str, float] | None,
    retries: int,
    priority: float,
    loose: bool,
) -> wire.Options:
    if loose and workers is None:
        raise ValueError("allow_other_workers=True goes with workers=...")
    if type(retries) is not int or not 0 <= retries < 2**31:
        raise ValueError(f"retries={retries!r}: give a whole number of at least 0")
    if not -1e300 <= float(priority) <= 1e300:
        raise ValueError(f"priority={priority!r}: give a finite number")
    amounts = tuple(sorted((str(k), float(v)) for k, v in (resources or {}).items()))
    return wire.Options(
        priority=-float(priority),
        retries=retries,
        resources=amounts,
        workers=_names(workers),
        loose=loose,
    )


def _names(workers: str | Sequence[str] | None) -> tuple[str, ...]:
    if workers is None:
        return ()
    return (workers,) if isinstance(workers, str) else tuple(workers)


def _token(data: bytes, pure: bool) -> str:
    if not pure:
        return secrets.token_hex(16)
    return blake2b(data, digest_size=16).hexdigest()


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", None)
    return (name if isinstance(name, str) else type(func).__name__)[:512]


def _nothing() -> None:
    """Nobody waits for it."""
