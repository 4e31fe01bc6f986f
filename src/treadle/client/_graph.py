"""Graphs in Dask's notation, made into tasks.

A graph is a mapping of keys to what stands for their values. In the old notation a tuple that
begins with something callable is a call; a key stands for its value wherever it is an argument, or
inside of lists, tuples, sets and dicts; anything else is itself. Nodes of Dask's own classes are
known by what they have: `dependencies`, and a call with the values of those.

Three rules. *What is not needed is left out.* *A value goes with the calls that use it if it is
small, and once, as an object of its own, if it is large.* *Nothing here calls itself for each task
of a chain*, so a graph may be as deep as it likes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from treadle.client._evaluate import Apply, Made, evaluate, run_node, same
from treadle.client._futures import ClientFuture
from treadle.cluster._calls import Ref

if TYPE_CHECKING:
    from collections.abc import Hashable

_KEYS: Final = (str, int, float, tuple, bytes)
_PLAIN: Final = frozenset({type(None), bool, int, float, complex})
#: Keys shown of a ring of tasks.
_SHOWN: Final = 8
#: A token at the end of a key.
_TOKEN: Final = re.compile(r"-[0-9a-f]{8,}$")


class Node(NamedTuple):
    """One task of a graph."""

    name: str
    func: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    #: The keys whose values are among the arguments.
    needs: tuple[Hashable, ...]


class Literal(NamedTuple):
    """A value that stands for itself."""

    value: Any


class Alias(NamedTuple):
    """Another name of a key."""

    target: Any


def graph_of(dsk: Any) -> Mapping[Any, Any]:
    """The mapping that this is, or has.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(dsk, Mapping) and hasattr(dsk, "__dask_graph__"):
        dsk = dsk.__dask_graph__()
    if not isinstance(dsk, Mapping):
        raise TypeError(f"a graph is a dict of keys and tasks, not {type(dsk).__name__}")
    return dsk


class Graph:
    """What is needed of a graph for the keys that were asked for.

    Args:
        dsk: the graph.
        keys: the keys.

    Raises:
        KeyError: there is no such key.
        ValueError: something that is depended on is not in the graph, or tasks wait for each other
            in a ring.
    """

    def __init__(self, dsk: Mapping[Any, Any], keys: list[Any]) -> None:
        self._dsk = dsk
        #: By key: what it is, what stands for it in arguments.
        self.nodes: dict[Any, Node | Literal | Alias] = {}
        self.refs: dict[Any, Ref] = {}
        for key in keys:
            if key not in dsk:
                raise KeyError(f"{key!r} is not in the graph, which has {len(dsk):,} keys")
        self._read(keys)
        #: The tasks, each behind those it depends on.
        self.order = self._ordered()

    def end_of(self, key: Any) -> Any:
        """The key that this one stands for, if it is only another name."""
        node = self.nodes[key]
        while type(node) is Alias:
            key = node.target
            node = self.nodes[key]
        return key

    def _read(self, keys: list[Any]) -> None:
        """Understand what is needed for these keys."""
        todo = list(keys)
        nodes = self.nodes
        while todo:
            key = todo.pop()
            if key in nodes:
                continue
            node = nodes[key] = self._node(key, self._dsk[key])
            if type(node) is Node:
                todo += [need for need in node.needs if need not in nodes]
            elif type(node) is Alias and node.target not in nodes:
                todo.append(node.target)

    def _node(self, key: Any, value: Any) -> Node | Literal | Alias:
        if isinstance(value, ClientFuture):
            return Node("same", same, (value,), {}, ())
        if hasattr(value, "dependencies") and not isinstance(value, type):
            return self._foreign(key, value)
        if type(value) is tuple and value and callable(value[0]):
            reading = _Reading(self)
            args = tuple([reading.of(arg) for arg in value[1:]])
            if reading.has_calls:
                tree = Apply(value[0], args)
                return Node(_name_of(value[0], key), evaluate, (tree,), {}, reading.needs)
            return Node(_name_of(value[0], key), value[0], args, {}, reading.needs)
        if type(value) in _KEYS and value != key and self._has(value):
            return Alias(value)
        if type(value) in (list, tuple, set, frozenset, dict):
            reading = _Reading(self)
            tree = reading.of(value, top=True)
            if reading.needs or reading.has_calls:
                func = evaluate if reading.has_calls else same
                return Node(_prefix(key), func, (tree,), {}, reading.needs)
        return Literal(value)

    def _foreign(self, key: Any, node: Any) -> Node | Literal | Alias:
        """A node of Dask's own classes."""
        needs = tuple(node.dependencies)
        for need in needs:
            if not self._has(need):
                raise ValueError(f"task {key!r} depends on {need!r}, which is not in the graph")
        kind = type(node).__name__
        if kind == "DataNode":
            return Literal(node.value)
        if kind == "Alias" and len(needs) == 1:
            return Alias(needs[0])
        func = getattr(node, "func", None)
        name = _name_of(func, key)
        if kind == "Task" and func is not None and _is_flat(node.args, node.kwargs):
            args = tuple([self._argument(arg) for arg in node.args])
            kwargs = {name: self._argument(arg) for name, arg in node.kwargs.items()}
            return Node(name, func, args, kwargs, needs)
        values = {need: self.ref(need) for need in needs}
        return Node(name, run_node, (node, values), {}, needs)

    def _argument(self, arg: Any) -> Any:
        return self.ref(arg.key) if type(arg).__name__ == "TaskRef" else arg

    def _has(self, key: Any) -> bool:
        try:
            return key in self._dsk
        except TypeError:  # there is something unhashable in it
            return False

    def ref(self, key: Any) -> Ref:
        """What stands for a key in arguments; its identifier is known later."""
        ref = self.refs.get(key)
        if ref is None:
            ref = self.refs[key] = Ref(0)
        return ref

    def _ordered(self) -> list[Any]:
        """All keys, each behind those it depends on."""
        order: list[Any] = []
        done: dict[Any, bool] = {}
        for start in self.nodes:
            if start in done:
                continue
            stack: list[tuple[Any, Iterator[Any]]] = [(start, self._needs(start))]
            done[start] = False
            while stack:
                key, needs = stack[-1]
                for need in needs:
                    if need not in done:
                        done[need] = False
                        stack.append((need, self._needs(need)))
                        break
                    if not done[need]:
                        raise ValueError(_ring([key for key, _ in stack], need))
                else:
                    stack.pop()
                    done[key] = True
                    order.append(key)
        return order

    def _needs(self, key: Any) -> Iterator[Any]:
        node = self.nodes[key]
        if type(node) is Node:
            return iter(node.needs)
        return iter((node.target,) if type(node) is Alias else ())


class _Reading:
    """Reads one call of the old notation."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._needs: dict[Any, None] = {}
        #: There are calls inside of its arguments.
        self.has_calls = False

    @property
    def needs(self) -> tuple[Any, ...]:
        """The keys that were found."""
        return tuple(self._needs)

    def of(self, value: Any, *, top: bool = False) -> Any:
        """An argument, with references in place of keys."""
        kind = type(value)
        if kind in _PLAIN and kind not in _KEYS:
            return value
        if kind is tuple and value and callable(value[0]):
            self.has_calls = True
            return Apply(value[0], tuple([self.of(arg) for arg in value[1:]]))
        if kind in _KEYS and not top and self._graph._has(value):
            self._needs[value] = None
            return self._graph.ref(value)
        if kind in (list, tuple, set, frozenset):
            return self._container(kind, value, [self.of(item) for item in value])
        if kind is dict:
            items = [self.of(item) for item in value.values()]
            pairs = zip(value, items, strict=True)
            return self._container(dict, value, [*pairs], list(value.values()), items)
        return value

    def _container(
        self, kind: Any, value: Any, parts: list[Any], was: Any = None, now: Any = None
    ) -> Any:
        """The container with these parts; itself if nothing in it is anything else."""
        before, after = (value, parts) if was is None else (was, now)
        if all(old is new for old, new in zip(before, after, strict=True)):
            return value
        if kind in (set, frozenset) or any(type(new) in (Apply, Made) for new in after):
            self.has_calls = True  # references in a set cannot be told apart before they are values
            return Made(kind, tuple(parts))
        return kind(parts)


def _is_flat(args: Any, kwargs: Any) -> bool:
    """Whether no argument is a node itself."""
    return not any(hasattr(arg, "dependencies") for arg in (*args, *kwargs.values()))


def _name_of(func: Any, key: Any) -> str:
    """What kind of work it is: durations are learned for it."""
    name = getattr(func, "__name__", "")
    if not isinstance(name, str) or not name or name.startswith(("_execute", "<")):
        return _prefix(key)
    return name[:512]


def _prefix(key: Any) -> str:
    while type(key) is tuple and key:
        key = key[0]
    return _TOKEN.sub("", str(key))[:512] or "task"


def _ring(path: list[Any], again: Any) -> str:
    ring = path[path.index(again) :]
    shown = [repr(key) for key in (ring if len(ring) <= _SHOWN else ring[: _SHOWN - 1])]
    if len(ring) > _SHOWN:
        shown.append("...")
    return (
        f"tasks depend on each other in a ring, each on the next: "
        f"{' -> '.join([*shown, repr(again)])}; none of them can ever run, so take one of these "
        f"dependencies away"
    )
