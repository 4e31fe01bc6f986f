"""Where in an argument do futures hide, and what stands there when they are done?

A resolver is two functions: *gather* lists the futures in an argument, *unwrap* gives the argument
with their results in their places. The shallow resolver knows an argument that is a future; the
deep one looks into lists, tuples, sets, frozensets and dicts, keys included, however deeply they
are nested and even if they contain themselves.

Both are pure and cheap where there is nothing to do: what holds no future is returned as it is,
the same object, never a copy.

A type of your own joins the deep resolver through both of its halves:

    @deep_traverse_to_gather.register(Batch)
    def _(batch):
        return deep_traverse_to_gather(batch.items)

    @deep_traverse_to_unwrap.register(Batch)
    def _(batch):
        return Batch(deep_traverse_to_unwrap(batch.items))
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, TypeAlias

#: Types whose objects hold nothing; asked first, since most arguments are of these.
ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes, bytearray, range, type})
_CONTAINERS = (list, tuple, dict, set, frozenset)
_Container: TypeAlias = "list[Any] | tuple[Any, ...] | dict[Any, Any] | set[Any] | frozenset[Any]"


@dataclass(frozen=True)
class DependencyResolver:
    """How a kernel finds futures in arguments: `Config(dependency_resolver=...)`."""

    #: Called with each argument; lists the futures that the task must wait for.
    traverse_to_gather: Callable[[object], Sequence[Future[Any]]]
    #: Called with each argument once they are done; returns what the function is to get.
    traverse_to_unwrap: Callable[[object], object]


# --- shallow -----------------------------------------------------------------------------------


def shallow_traverse_to_gather(obj: object) -> Sequence[Future[Any]]:
    """The argument itself, if it is a future."""
    return (obj,) if isinstance(obj, Future) else ()


def shallow_traverse_to_unwrap(obj: object) -> object:
    """The result of a future; anything else as it is."""
    return obj.result() if isinstance(obj, Future) else obj


# --- deep --------------------------------------------------------------------------------------


class _Hook:
    """A function of one argument that users extend to types of their own."""

    def __init__(self) -> None:
        self._registry = singledispatch(_unknown)
        #: `register(cls)` as a decorator, `register(cls, func)`: as `functools.singledispatch`.
        self.register = self._registry.register

    def registered_for(self, obj: object) -> Callable[[Any], Any] | None:
        """The function of the user's for this object, if there is one."""
        if len(self._registry.registry) == 1:
            return None  # nobody registered anything: no need to search
        found = self._registry.dispatch(type(obj))
        return None if found is _unknown else found


def _unknown(obj: object) -> object:
    return obj


class _DeepGather(_Hook):
    """List the futures in an argument, in its order, wherever they are nested."""

    def __call__(self, obj: object) -> Sequence[Future[Any]]:
        if type(obj) in ATOMS:
            return ()
        found: list[Future[Any]] = []
        seen: set[int] = set()
        stack = [obj]
        while stack:
            item = stack.pop()
            if isinstance(item, Future):
                found.append(item)
            elif (hook := self.registered_for(item)) is not None:
                found.extend(hook(item))
            elif isinstance(item, _CONTAINERS) and id(item) not in seen:
                seen.add(id(item))
                stack.extend(reversed(_inside(item)))
        return found


class _DeepUnwrap(_Hook):
    """Replace the futures in an argument by their results, wherever they are nested."""

    def __call__(self, obj: object) -> Any:
        if type(obj) in ATOMS:
            return obj
        if isinstance(obj, Future):
            return obj.result()
        if (hook := self.registered_for(obj)) is not None:
            return hook(obj)
        if not isinstance(obj, _CONTAINERS):
            return obj
        return self._rebuild(obj, self._holders(obj))

    def _holders(self, root: _Container) -> set[int]:
        """The ids of the containers that reach something to replace."""
        parents: dict[int, list[int]] = {id(root): []}
        reached: list[int] = []
        stack = [root]
        while stack:
            container = stack.pop()
            for item in _inside(container):
                if isinstance(item, Future) or self.registered_for(item) is not None:
                    reached.append(id(container))
                elif isinstance(item, _CONTAINERS):
                    if id(item) not in parents:
                        parents[id(item)] = []
                        stack.append(item)
                    parents[id(item)].append(id(container))
        holders: set[int] = set()
        while reached:
            key = reached.pop()
            if key not in holders:
                holders.add(key)
                reached.extend(parents[key])
        return holders

    def _rebuild(self, root: _Container, holders: set[int]) -> Any:
        """Make the holders anew, from the innermost outwards, and nothing else."""
        if id(root) not in holders:
            return root
        made: dict[int, Any] = {}

        def value_of(item: Any) -> Any:
            return made[id(item)] if id(item) in holders else self._leaf(item)

        stack: list[tuple[_Container, bool]] = [(root, False)]
        while stack:
            container, inside_is_made = stack.pop()
            if inside_is_made:
                _finish(container, made, value_of)
            elif id(container) not in made:
                if isinstance(container, (list, dict)):
                    # It can be named before it is filled, so a container may contain itself.
                    made[id(container)] = _empty_copy(container)
                stack.append((container, True))
                inner = (item for item in _inside(container) if id(item) in holders)
                stack.extend((item, False) for item in inner if id(item) not in made)
        return made[id(root)]

    def _leaf(self, item: Any) -> Any:
        if type(item) in ATOMS:
            return item
        if isinstance(item, Future):
            return item.result()
        hook = self.registered_for(item)
        return item if hook is None else hook(item)


def _inside(container: _Container) -> list[Any]:
    """What a container holds that may matter; of a dict the keys, then the values."""
    if isinstance(container, dict):
        items = [*container.keys(), *container.values()]
    else:
        items = list(container)
    return [item for item in items if type(item) not in ATOMS]


def _empty_copy(container: list[Any] | dict[Any, Any]) -> list[Any] | dict[Any, Any]:
    if type(container) is list:
        return []
    if type(container) is dict:
        return {}
    new = copy.copy(container)  # of a subclass: keeps its attributes, a default factory
    new.clear()
    return new


def _finish(container: Any, made: dict[int, Any], value_of: Callable[[Any], Any]) -> None:
    """Fill the copy of a list or a dict; make the copy of anything else."""
    key = id(container)
    if isinstance(container, dict):
        new = made[key]
        for k, v in container.items():
            new[value_of(k)] = value_of(v)
    elif isinstance(container, list):
        made[key].extend(value_of(item) for item in container)
    elif key not in made:
        items = [value_of(item) for item in container]
        # A named tuple takes its fields one by one, and has its own way to take them all.
        make = getattr(type(container), "_make", type(container))
        made[key] = make(items)


deep_traverse_to_gather = _DeepGather()
deep_traverse_to_unwrap = _DeepUnwrap()


def is_extended() -> bool:
    """Whether a type of the user's has joined the deep resolver."""
    hooks = (deep_traverse_to_gather, deep_traverse_to_unwrap)
    return any(len(hook._registry.registry) > 1 for hook in hooks)


#: An argument that is a future is a dependency; nothing inside an argument is.
SHALLOW_DEPENDENCY_RESOLVER = DependencyResolver(
    traverse_to_gather=shallow_traverse_to_gather,
    traverse_to_unwrap=shallow_traverse_to_unwrap,
)
#: Futures inside lists, tuples, sets, frozensets and dicts are dependencies too.
DEEP_DEPENDENCY_RESOLVER = DependencyResolver(
    traverse_to_gather=deep_traverse_to_gather,
    traverse_to_unwrap=deep_traverse_to_unwrap,
)
