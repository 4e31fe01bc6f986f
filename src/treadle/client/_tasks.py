"""Tasks of a client: submit, map, gather, cancel."""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import CancelledError
from concurrent.futures._base import CANCELLED, CANCELLED_AND_NOTIFIED, FINISHED
from functools import partial
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client._actors import ActorFuture, packing
from treadle.client._base import ClientBase, Flow
from treadle.client._checks import checked_name
from treadle.client._flows import await_for, wait_for
from treadle.client._futures import ClientFuture, held
from treadle.client._map import MOST_ROWS, Maps, bundles, packed_rows
from treadle.client._nests import LEFT_OUT, each, replaced
from treadle.client._options import keys_of, metadata_of, options_of
from treadle.client._waiting import settled
from treadle.cluster import _wanting
from treadle.errors import SchedulerLost

if TYPE_CHECKING:
    from treadle.cluster._calls import Call
    from treadle.wire import TaskId

_STOPPED = (CANCELLED, CANCELLED_AND_NOTIFIED)


class TaskCalls(ClientBase):
    """What a client does with tasks."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self._maps = Maps()
        super().__init__(*args, **options)

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
        actor: bool = False,
        pure: bool = True,
        walltime: float | None = None,
        metadata: Mapping[str, Any] | None = None,
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
            actor: what `func`, a class, makes is an actor: it lives in a process of its own, and the
                future's result is a proxy of it.
            pure: the same call is the same task: while its future lives, it is returned again.
            walltime: seconds that an attempt may take.
            metadata: shown with the task, never read.
            **kwargs: its keyword arguments.

        Raises:
            SerializationError: something cannot be pickled; the text has the path.
        """
        options = options_of(workers, resources, retries, priority, allow_other_workers, walltime)
        shown = metadata_of(metadata)
        if key is not None:
            checked_name("key", key)
        if actor:
            kind = partial(ActorFuture, maker=func)
            return self._submit(
                func, args, kwargs, key, options, False, kind=kind, actor=True, metadata=shown
            )
        return self._submit(func, args, kwargs, key, options, pure, metadata=shown)

    def map(
        self,
        func: Callable[..., Any],
        *iterables: Iterable[Any],
        key: str | Sequence[str] | None = None,
        workers: str | Sequence[str] | None = None,
        resources: dict[str, float] | None = None,
        retries: int = 0,
        priority: float = 0,
        allow_other_workers: bool = False,
        actor: bool = False,
        pure: bool = True,
        walltime: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        batch_size: int = MOST_ROWS,
        **kwargs: Any,
    ) -> list[ClientFuture[Any]]:
        """Run the function for each row of the iterables; one future each. See `submit`.

        All rows travel together, and are given to workers as many at a time as are worth it. If a
        key is given, or there are futures among the arguments, each row is a task of its own.

        Args:
            key: what the keys begin with, or a list of them.
            pure: the same map is the same futures, for as long as all of them live.
            batch_size: so many rows, at most, are sent at once.
        """
        options = options_of(workers, resources, retries, priority, allow_other_workers, walltime)
        shown = metadata_of(metadata)
        if not iterables:
            raise TypeError("map takes at least one iterable beside the function")
        rows = list(zip(*iterables, strict=False))
        if not rows:
            return []
        if key is None and not actor:
            futures = self._map(func, rows, kwargs, options, pure, shown, batch_size)
            if futures is not None:
                return futures
        keys = keys_of(key, len(rows))
        make: dict[str, Any] = {"metadata": shown, "actor": actor}
        if actor:
            make["kind"] = partial(ActorFuture, maker=func)
        return [
            self._submit(func, row, kwargs, each, options, pure and not actor, **make)
            for row, each in zip(rows, keys, strict=True)
        ]

    def _map(
        self,
        func: Callable[..., Any],
        rows: Sequence[tuple[Any, ...]],
        kwargs: Mapping[str, Any],
        options: wire.Options,
        pure: bool,
        metadata: dict[str, Any] | None,
        most: int,
    ) -> list[ClientFuture[Any]] | None:
        """The futures of the rows as bundles; None if they cannot be."""
        session = self._running()
        if not callable(func):
            raise _not_callable(func)
        packed = packed_rows(self._packer, rows)
        if packed is None:
            return None
        needs: dict[TaskId, None] = {}
        call = self._pack(func, (), kwargs, needs)
        data = call if isinstance(call, bytes) else call.spec
        seal = self._seal(data, packed) if pure else b""
        if seal and (known := self._maps.find(seal)) is not None:
            return known
        name = _name_of(func)
        first = self._numbers(len(rows))
        head = f"{name}-{session.ledger.session:x}-"
        number = first - session.base
        futures = [
            ClientFuture[Any](self, first + row, f"{head}{number + row}")
            for row in range(len(rows))
        ]
        self._table.update([(future.id, held(future, self._on_gone)) for future in futures])
        if seal:
            self._maps.keep(seal, futures)
        for start, end in bundles(packed, max(1, most)):
            one = tuple(packed[start:end])
            spec = wire.TaskSpec(
                first + start, name, data, tuple(needs), rows=one, metadata=metadata
            )
            session.submit(spec, options, call)
        if self._closed:
            self._end_all(futures)
        return futures

    def _pack(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        needs: dict[TaskId, None],
        *,
        refs: bool = False,
    ) -> bytes | Call:
        """A call as it travels; what it needs is added to `needs`. `refs`: see `pack_refs`."""
        pack: Any = self._packer.pack_refs if refs else self._packer.pack
        packing.needs = needs
        try:
            call: bytes | Call = pack(func, args, kwargs, partial(self._reference, needs))
        finally:
            packing.needs = None
        if not isinstance(call, bytes) and call.embedded:
            for each in call.embedded:
                needs.pop(each if isinstance(each, str) else self._session.base + each, None)
        return call

    def _end_all(self, futures: Sequence[ClientFuture[Any]]) -> None:
        """The client was closed while these were made."""
        for future in futures:
            future._finish(FINISHED, None, SchedulerLost("the client has been closed"))

    def _seal(self, data: bytes, packed: Sequence[bytes]) -> bytes:
        digest = blake2b(data, digest_size=16)
        for row in packed:
            digest.update(len(row).to_bytes(8, "little"))
            digest.update(row)
        return digest.digest()

    def _submit(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        key: str | None,
        options: wire.Options,
        pure: bool,
        *,
        kind: Callable[..., ClientFuture[Any]] | None = None,
        actor: bool = False,
        home: TaskId | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> ClientFuture[Any]:
        """Submit one call.

        Args:
            kind: what its future is.
            actor: it makes an actor.
            home: it is a call of this actor.
        """
        session = self._running()
        if not callable(func):
            raise _not_callable(func)
        needs: dict[TaskId, None] = {}
        call = self._pack(func, args, kwargs, needs)
        data = call if isinstance(call, bytes) else call.spec
        name = _name_of(func)
        seal = b""
        id: TaskId
        if key is None and not pure:
            id = self._numbers()
            key = f"{name}-{session.ledger.session:x}-{id - session.base}"
        else:
            seal = blake2b(data, digest_size=16).digest()
            id = key = f"{name}-{seal.hex()}" if key is None else key
        if seal and id in self._table and self._find(id) is None:
            self._sweep()  # it is let go of before it is asked for again
        with self._lock:
            known = self._find(id) if seal else None
            if known is not None and not known._is_stale():
                return known._same(seal)
            future = self._future(id, key, kind)
        future._print = seal
        spec = wire.TaskSpec(id, name, data, tuple(needs), 0, actor, home, (), metadata)
        session.submit(spec, options, call)
        if self._closed:
            self._end_all([future])
        return future

    def _reference(self, needs: dict[TaskId, None], future: Any) -> int | str | None:
        """What names the result of a future of ours in a call."""
        if not isinstance(future, ClientFuture) or isinstance(future, ActorFuture):
            return None
        id = self._mine(future).id
        needs[id] = None
        return id - self._session.base if isinstance(id, int) else id

    def gather(self, futures: Any, *, errors: str = "raise") -> Any:
        """The results of futures, in the same shape; of an iterator, an iterator.

        Args:
            futures: a future, or lists, tuples, sets and dicts of them.
            errors: 'raise', or 'skip' to leave out those that have none.
        """
        if errors not in ("raise", "skip"):
            raise ValueError(f"errors={errors!r}: give 'raise' or 'skip'")
        if isinstance(futures, Iterator):
            make = self._gather_later if self.asynchronous else self._gather_each
            return make(futures, errors)
        return self._do(self._gather(futures, errors))

    def _gather(self, nest: Any, errors: str) -> Flow[Any]:
        mine = list(each(nest, ClientFuture))
        for future in mine:
            self._mine(future)
        raises = errors == "raise"
        # All come at once; the values are loaded one by one.
        yield from settled(mine, len(mine), eager=raises, bring=True)
        for future in mine if raises else ():
            if future._state in _STOPPED or future._exception is not None:
                future.result()  # raises
        return replaced(nest, ClientFuture, partial(_result, errors))

    def _gather_each(self, futures: Iterator[Any], errors: str) -> Iterator[Any]:
        for future in futures:
            value = wait_for(self._gather(future, errors))
            if value is not LEFT_OUT:
                yield value

    async def _gather_later(self, futures: Iterator[Any], errors: str) -> AsyncIterator[Any]:
        for future in futures:
            value = await await_for(self._gather(future, errors))
            if value is not LEFT_OUT:
                yield value

    def cancel(
        self, futures: Any, *, force: bool = False, reason: str = "cancelled by its client"
    ) -> Any:
        """Stop the tasks of these futures and what waits for them, also while they run.

        It does not wait; of an asynchronous client, it may be awaited all the same.

        Args:
            futures: a future, or lists, tuples, sets and dicts of them.
            force: whoever else wants their results.
            reason: told to those.
        """
        mine = [f for f in each(futures, ClientFuture) if not self._mine(f).done()]
        ids = list(dict.fromkeys(future.id for future in mine))
        if ids:
            self._session.do(partial(_wanting.cancel, ids=ids, force=force, reason=reason))
        for future in mine:
            self._heard_of.pop(future, None)
            future._stop(reason)
        return _OVER if self.asynchronous else None

    def retry(self, futures: Any) -> Any:
        """Try failed tasks again, from the first that failed; their futures are open again.

        Args:
            futures: a future, or lists, tuples, sets and dicts of them; who has not failed is left
                alone.
        """
        return self._do(self._retry(futures))

    def _retry(self, futures: Any) -> Flow[None]:
        session = self._running()
        mine = [f for f in each(futures, ClientFuture) if self._mine(f).status == "error"]
        for future in mine:
            future._reopen()
        ids = list(dict.fromkeys(future.id for future in mine))
        if ids:
            session.do(partial(_wanting.retry, ids=ids))
            # When this is answered, it has been told what else is tried again.
            yield from self._ask(lambda ask: wire.WhoHas(ask, ()))

    def _fire(self, futures: Sequence[ClientFuture[Any]]) -> None:
        """Have these run to their end."""
        ids = tuple(future.id for future in futures if not future.done())
        if ids:
            self._running().do(lambda books: books.say(wire.FireAndForget(ids)))


class _Over:
    """What is awaited when there is nothing to wait for."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_OVER = _Over()


def _result(errors: str, future: ClientFuture[Any]) -> Any:
    if errors == "raise":
        return future.result()
    try:
        return future.result()
    except CancelledError:
        return LEFT_OUT
    except Exception:  # noqa: BLE001 - that is what was asked for
        return LEFT_OUT


def _not_callable(func: Any) -> TypeError:
    return TypeError(f"{func!r} is no function: give the function first, then its arguments")


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", None)
    return (name if isinstance(name, str) else type(func).__name__)[:512]
