"""Actors: objects that live in a process of their own on a worker, and are called from afar.

    counter = client.submit(Counter, actor=True).result()
    future = counter.increment(5)  # a future like any other
    counter.count  # the attribute's value

The calls of an actor run one at a time, in the order in which each client made them. An attribute
is read by a call, too: it is as the calls before have left it. What an actor has become cannot be
computed again: with its process it is lost, and so are its open calls (`ActorLost`).

An actor lives for as long as a future of it, a proxy, or a call that has not ended wants it.
"""

from __future__ import annotations

import inspect
import pickle
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures._base import FINISHED, PENDING
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from treadle import wire
from treadle.client._current import current_client
from treadle.client._futures import ClientFuture, is_bound, revived
from treadle.cluster import _slot_actors
from treadle.cluster._calls import HOIST_BYTES
from treadle.dataflow._lazy import OPEN, LazyFuture, is_main_thread, lock
from treadle.errors import NoClientError, SchedulerLost
from treadle.serialize import CallSpec, encode_spec

if TYPE_CHECKING:
    from treadle.client._tasks import TaskCalls
    from treadle.cluster._calls import Call
    from treadle.wire import TaskId

_PLAIN: Final = frozenset({type(None), bool, int, float, str, bytes})
_PROTOCOL: Final = 5
_DEFAULT: Final = wire.Options()


class Shape(NamedTuple):
    """What a proxy knows of its actor's class."""

    name: str
    #: What is called; all else is read.
    methods: frozenset[str]

    @classmethod
    def of(cls, kind: type) -> Shape:
        """The shape of what this class makes."""
        methods = []
        for name in dir(kind):
            if not name.startswith("_"):
                what = inspect.getattr_static(kind, name, None)
                if callable(what) or isinstance(what, (staticmethod, classmethod)):
                    methods.append(name)
        return cls(kind.__name__, frozenset(methods))


def shape_of(actor: object) -> Shape:
    """The shape of an actor; called where it lives."""
    return Shape.of(type(actor))


class ActorFuture(ClientFuture["Actor"]):
    """A future of an actor: its result is a proxy of it, once its process is there."""

    __slots__ = ("shape",)

    def __init__(self, client: Any, id: TaskId, key: str, maker: object = None) -> None:
        super().__init__(client, id, key)
        #: None: it is asked for when it is needed.
        self.shape = Shape.of(maker) if isinstance(maker, type) else None

    def result(self, timeout: float | None = None) -> Actor:
        """Wait for the actor: a proxy of it.

        Raises:
            TimeoutError: it has not been made yet.
            CancelledError: it was cancelled.
            ActorLost: its process is gone.
            BaseException: whatever its class raised.
        """
        if (error := self.exception(timeout)) is not None:
            raise error
        return Actor(self)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the actor: why there is none, or none any longer."""
        error = LazyFuture.exception(self, timeout)
        return error if error is not None else self._loss()

    @property
    def status(self) -> str:
        """'pending', 'finished' while it lives, 'error' or 'cancelled'."""
        return "error" if self._loss() is not None else super().status

    def _loss(self) -> BaseException | None:
        """Why the actor, which was there, is there no longer."""
        remote: Any = self._remote
        return None if remote is None else remote.failure

    def _reopen(self) -> None:
        """It has failed, or was lost, and is made anew."""
        super()._reopen()
        if self._loss() is not None:
            with lock:
                self._remote = None
                self._state = PENDING

    def bring(self, then: Callable[[], None]) -> None:
        """An actor stays where it is: call this once it is there."""
        self.add_listener(lambda _: then())

    def __reduce__(self) -> Any:
        if packing.needs is not None:
            return _proxy, _named(self)
        _, (_, *name) = ClientFuture.__reduce__(self)
        return _revived, (*name, self.shape)


class CallFuture(ClientFuture[Any]):
    """A future of an actor's call, which is made though nobody keeps this."""

    __slots__ = ("_home",)

    _home: TaskId

    def _wait(self, timeout: float | None) -> None:
        if (
            self._state in OPEN
            and getattr(self, "_home", None) in _slot_actors.here
            and is_main_thread()
        ):
            raise RuntimeError(
                f"{self.key} is a call of the actor that waits for it here: it comes after the one "
                f"that runs, so the wait would never end; call the method itself, or do not wait"
            )
        super()._wait(timeout)


class Actor:
    """A proxy of an actor: its methods give futures, its attributes their values.

    Names that begin with an underscore are the actor's own. A proxy may be an argument of tasks
    and of actors' calls, and be pickled for other clients of the cluster.
    """

    __slots__ = ("__weakref__", "_future")

    _future: ActorFuture

    def __init__(self, future: ActorFuture) -> None:
        object.__setattr__(self, "_future", future)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{self!r}: {name} begins with an underscore, so it is its own")
        future = self._future
        client: Any = future._client
        shape = future.shape
        if shape is None and not client.asynchronous:
            shape = future.shape = _call(future, shape_of, (), {}).result()
        if shape is None or name in shape.methods:
            return ActorMethod(self, name)
        value = _call(future, getattr, (name,), {})
        return value if client.asynchronous else value.result()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(
            f"{self!r}: {name} cannot be set from afar; give its class a method that sets it"
        )

    def __dir__(self) -> list[str]:
        shape = self._future.shape
        return sorted(shape.methods) if shape is not None else []

    def __eq__(self, other: object) -> bool:
        return self._future.id == other._future.id if type(other) is Actor else NotImplemented

    def __hash__(self) -> int:
        return hash(self._future.id)

    def __reduce__(self) -> Any:
        return _proxy, (self._future,) if packing.needs is None else _named(self._future)

    def __repr__(self) -> str:
        future = self._future
        kind = "" if future.shape is None else f" {future.shape.name}"
        return f"<Actor{kind} {future.key}: {_state_of(future)}>"


class ActorMethod:
    """A method of an actor: to call it gives a future."""

    __slots__ = ("_actor", "_name")

    def __init__(self, actor: Actor, name: str) -> None:
        self._actor = actor
        self._name = name

    @property
    def __name__(self) -> str:
        return self._name

    def __call__(self, *args: Any, **kwargs: Any) -> ClientFuture[Any]:
        return _call(self._actor._future, self._name, args, kwargs)

    def __await__(self) -> Generator[Any, None, Any]:
        # Of an asynchronous client, when it is not known yet what is a method: an attribute.
        return _call(self._actor._future, getattr, (self._name,), {}).__await__()

    def __repr__(self) -> str:
        return f"<method {self._name} of {self._actor!r}>"


# --- calls ---------------------------------------------------------------------------------------


class _Packing(threading.local):
    """Whether this thread packs a call, in which an actor's future stands for its proxy."""

    #: What the call needs; None: it packs none.
    needs: dict[TaskId, None] | None = None


packing = _Packing()


@contextmanager
def in_call(needs: dict[TaskId, None]) -> Iterator[None]:
    """Within, this thread packs a call: the actors in it are added to what it needs."""
    before, packing.needs = packing.needs, needs
    try:
        yield
    finally:
        packing.needs = before


def _call(
    actor: ActorFuture,
    target: str | Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> ClientFuture[Any]:
    """Call a method of the actor, or a function of it; a future of what that returns."""
    client: TaskCalls = actor._client  # type: ignore[assignment]
    name = target if isinstance(target, str) else target.__name__
    needs: dict[TaskId, None] = {}
    call: bytes | Call | None = None
    if _PLAIN.issuperset(map(type, args)) and _PLAIN.issuperset(map(type, kwargs.values())):
        payload = pickle.dumps((target, tuple(args), dict(kwargs)), _PROTOCOL)
        if len(payload) <= HOIST_BYTES:
            call = encode_spec(CallSpec(b"", payload, name))
    if call is None:
        with in_call(needs):
            refer = partial(client._reference, needs)
            call = client._packer.pack(target, args, kwargs, refer)  # type: ignore[arg-type]
    return _send(client, actor, name, call, needs)


def _send(
    client: TaskCalls, actor: ActorFuture, name: str, call: bytes | Call, needs: dict[TaskId, None]
) -> ClientFuture[Any]:
    session = client._running()
    id = client._numbers()
    with client._lock:
        key = f"{name}-{session.ledger.session:x}-{id - session.base}"
        future: CallFuture = client._future(id, key, CallFuture)  # type: ignore[assignment]
    future._home = actor.id
    client.hold(future)  # it is made though nobody is left who wants to know how it ends
    data = call if isinstance(call, bytes) else call.spec
    session.submit(wire.TaskSpec(id, name, data, tuple(needs), home=actor.id), _DEFAULT, call)
    if client._closed:
        future._finish(FINISHED, None, SchedulerLost("the client has been closed"))
    return future


# --- pickles -------------------------------------------------------------------------------------


def _named(future: ActorFuture) -> tuple[TaskId, str, Shape | None]:
    """What a call that is being packed has in the place of an actor, which it needs."""
    assert packing.needs is not None
    packing.needs[future.id] = None
    return future.id, future.key, future.shape


def _proxy(id: TaskId | ActorFuture | Actor, key: str = "", shape: Shape | None = None) -> Actor:
    """A proxy as it comes out of a pickle."""
    if isinstance(id, Actor):  # its future stood for it
        return id
    return Actor(id if isinstance(id, ActorFuture) else _revived(id, key, shape))


def _revived(id: TaskId, key: str, shape: Shape | None) -> ActorFuture:
    """A future as it comes out of a pickle. If there is a client here, it wants its actor at once."""
    future: ActorFuture = revived(ActorFuture, id, key)  # type: ignore[assignment]
    future.shape = shape
    try:
        client = current_client()
    except NoClientError:
        return future  # it looks for one when it is used
    client._adopt(future)
    return future


def _state_of(future: ActorFuture) -> str:
    if not is_bound(future):
        return "not used yet"
    status = future.status
    return {"pending": "not made yet", "finished": "alive"}.get(status, status)
