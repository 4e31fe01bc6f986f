"""Graphs of a client: `get`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from treadle import wire
from treadle.client._evaluate import same
from treadle.client._futures import ClientFuture, held
from treadle.client._graph import Graph, Literal, Node, graph_of
from treadle.client._options import options_of
from treadle.client._tasks import TaskCalls
from treadle.cluster._calls import Call, Ref
from treadle.cluster._graphs import submit_graph
from treadle.errors import SerializationError
from treadle.serialize import pack

if TYPE_CHECKING:
    from treadle.client._base import Flow
    from treadle.wire import TaskId

#: A larger value of a graph goes once, as an object of its own.
_SMALL_BYTES = 4096
_PLAIN = (type(None), bool, int, float)


class GraphCalls(TaskCalls):
    """What a client does with graphs."""

    def get(
        self,
        dsk: Any,
        keys: Any,
        *,
        sync: bool = True,
        workers: str | Sequence[str] | None = None,
        resources: Mapping[str, float] | None = None,
        retries: int = 0,
        priority: float = 0,
        allow_other_workers: bool = False,
        walltime: float | None = None,
        **ignored: Any,
    ) -> Any:
        """Compute keys of a graph, which is given away and put in order as a whole.

        Args:
            dsk: a mapping of keys to tasks, as Dask has them, or what has a `__dask_graph__`.
            keys: a key, or lists of keys, in lists if you like; the answer has the same shape.
            sync: wait for the results; else futures are returned.
            workers: as the others of these, see `submit`; they are all tasks'.
            ignored: what other schedulers know, for the sake of Dask's collections.

        Raises:
            KeyError: a key is not in the graph.
            ValueError: tasks depend on each other in a ring, or on what is not in the graph.
            SerializationError: something cannot be pickled; the text has the path.
        """
        options = options_of(workers, resources, retries, priority, allow_other_workers, walltime)
        mapping = graph_of(dsk)
        wanted: dict[Any, None] = {}
        _each_key(keys, wanted)
        futures = self._submit_graph(Graph(mapping, list(wanted)), list(wanted), options)
        if not sync:
            return _shaped(keys, futures.__getitem__)
        return self._do(self._get(keys, futures))

    def _get(self, keys: Any, futures: Mapping[Any, ClientFuture[Any]]) -> Flow[Any]:
        own = list(dict.fromkeys(futures.values()))
        values = yield from self._gather(own, "raise")
        by_future = dict(zip(own, values, strict=True))
        return _shaped(keys, lambda key: by_future[futures[key]])

    def _submit_graph(
        self, graph: Graph, wanted: list[Any], options: wire.Options
    ) -> dict[Any, ClientFuture[Any]]:
        """The futures of the wanted keys of a graph that is on its way."""
        session = self._running()
        ends = {key: graph.end_of(key) for key in wanted}
        run = _Run(self, graph, dict.fromkeys(ends.values()))
        tasks = run.tasks()
        by_id = {task.id: task for task in tasks}
        futures: dict[Any, ClientFuture[Any]] = {}
        made: dict[TaskId, ClientFuture[Any]] = {}
        for key, end in ends.items():
            id = graph.refs[end].id
            future = made.get(id)
            if future is None:
                name, number = by_id[id].name, int(id) - session.base
                shown = f"{name}-{session.ledger.session:x}-{number}"
                future = made[id] = ClientFuture(self, id, shown)
            futures[key] = future
        self._table.update([(id, held(future, self._on_gone)) for id, future in made.items()])
        names = {id: by_id[id].name for id in made}
        act = partial(submit_graph, tasks=tasks, options=options, wanted=names, uses=run.uses())
        session.do(act, run.calls)
        if self._closed:
            self._end_all(list(made.values()))
        return futures


class _Run:
    """Packs the tasks of one graph."""

    def __init__(self, client: GraphCalls, graph: Graph, wanted: Mapping[Any, None]) -> None:
        self._client = client
        self._graph = graph
        self._wanted = wanted
        #: Calls that are more than their bytes: they keep the objects that they name.
        self.calls: list[Call] = []
        #: References that stand for values.
        self._values: dict[int, Any] = {}

    def uses(self) -> tuple[int, ...]:
        """The objects that the graph needs."""
        return tuple(dict.fromkeys(id for call in self.calls for id in call.uses))

    def tasks(self) -> list[wire.TaskSpec]:
        """All tasks, each behind those it depends on."""
        graph, wanted = self._graph, self._wanted
        nodes, refs = graph.nodes, graph.refs
        real: list[tuple[Any, Node]] = []
        for key in graph.order:
            node = nodes[key]
            if type(node) is Node:
                real.append((key, node))
            elif type(node) is Literal:
                if key in wanted:
                    real.append((key, Node("same", same, (node.value,), {}, ())))
                else:
                    self._literal(key, node.value)
        first = self._client._numbers(len(real))
        for number, (key, _) in enumerate(real):
            graph.ref(key).id = first + number
        for key, node in nodes.items():
            if type(node) is not Node and type(node) is not Literal and key in refs:
                self._alias(refs[key], graph.end_of(key))
        return [self._task(graph.refs[key].id, node) for key, node in real]

    def _alias(self, ref: Ref, end: Any) -> None:
        """Another name of a key."""
        known = self._graph.refs[end]
        ref.id = known.id
        if not ref.id:
            self._embed(ref, known.value)

    def _embed(self, ref: Ref, value: Any) -> None:
        ref.value = value
        self._values[id(ref)] = value

    def _literal(self, key: Any, value: Any) -> None:
        """A value that others use: among their arguments if it is small, else an object."""
        ref = self._graph.ref(key)
        try:
            packed = None if type(value) in _PLAIN else pack(value, home=False)
        except SerializationError:
            packed = None  # who uses it will tell
        if packed is None or packed.nbytes <= _SMALL_BYTES:
            self._embed(ref, value)
            return
        depot = self._client._session.depot
        ref.id = depot.keep_data(packed, constant=None)
        self.calls.append(Call(b"", (ref.id,), depot))

    def _task(self, number: int, node: Node) -> wire.TaskSpec:
        client = self._client
        needs: dict[TaskId, None] = {}
        args, kwargs = node.args, node.kwargs
        if self._values:  # those inside of others pickle as their values
            values = self._values
            args = tuple([values.get(id(arg), arg) for arg in args])
            kwargs = {name: values.get(id(arg), arg) for name, arg in kwargs.items()}
        call = client._pack(node.func, args, kwargs, needs, refs=True)
        refs = self._graph.refs
        for need in node.needs:
            known = refs[need]
            if known.id:
                needs[known.id] = None
        if not isinstance(call, bytes):
            self.calls.append(call)
            needs.update(dict.fromkeys(call.uses))
            call = call.spec
        return wire.TaskSpec(number, node.name, call, tuple(needs))


def _each_key(keys: Any, found: dict[Any, None]) -> None:
    """All keys in lists of keys."""
    if isinstance(keys, list):
        for key in keys:
            _each_key(key, found)
    else:
        found[keys] = None


def _shaped(keys: Any, value_of: Callable[[Any], Any]) -> Any:
    """The same lists, with what stands for each key."""
    if isinstance(keys, list):
        return [_shaped(key, value_of) for key in keys]
    return value_of(keys)
