"""Graph nodes as they run in a slot: calls inside of calls, and nodes of others' making."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


class Apply:
    """A call whose result is an argument, made in the same task."""

    __slots__ = ("args", "func")

    def __init__(self, func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.func = func
        self.args = args

    def __reduce__(self) -> Any:
        return Apply, (self.func, self.args)


class Made:
    """A container that has such calls in it."""

    __slots__ = ("items", "kind")

    def __init__(self, kind: type, items: tuple[Any, ...]) -> None:
        self.kind = kind
        self.items = items

    def __reduce__(self) -> Any:
        return Made, (self.kind, self.items)


def evaluate(tree: Any) -> Any:
    """What has become of this when its calls have been made."""
    if type(tree) is Apply:
        return tree.func(*[evaluate(arg) for arg in tree.args])
    if type(tree) is Made:
        if tree.kind is dict:
            return {key: evaluate(value) for key, value in tree.items}
        return tree.kind([evaluate(item) for item in tree.items])
    return tree


def run_node(node: Callable[[Mapping[Any, Any]], Any], values: Mapping[Any, Any]) -> Any:
    """Run a node that is given the results it depends on by their keys."""
    return node(values)


def same(value: Any) -> Any:
    """The value."""
    return value
