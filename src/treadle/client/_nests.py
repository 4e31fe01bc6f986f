"""Futures in lists, tuples, sets and dicts, and the same shape with what they become."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

#: Containers that are looked into; their subclasses are values like any other.
_ROWS = (list, tuple, set, frozenset)


def each(nest: Any, kind: type) -> Iterator[Any]:
    """All of this kind in the nest, in order."""
    if isinstance(nest, kind):
        yield nest
    elif type(nest) in _ROWS:
        for item in nest:
            yield from each(item, kind)
    elif type(nest) is dict:
        for item in nest.values():
            yield from each(item, kind)


#: Stands for what is to be left out.
LEFT_OUT = object()


def replaced(nest: Any, kind: type, make: Callable[[Any], Any]) -> Any:
    """The nest with all of this kind replaced; what becomes `LEFT_OUT` is left out."""
    if isinstance(nest, kind):
        return make(nest)
    if type(nest) in _ROWS:
        items = [replaced(item, kind, make) for item in nest]
        return type(nest)(item for item in items if item is not LEFT_OUT)
    if type(nest) is dict:
        pairs = {key: replaced(item, kind, make) for key, item in nest.items()}
        return {key: item for key, item in pairs.items() if item is not LEFT_OUT}
    return nest
