"""Keywords that are a function's own affair, where whoever submits its calls has options so named."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any


class ByName:
    """Calls a function with some keyword arguments that arrive as the last positional ones."""

    def __init__(self, func: Callable[..., Any], names: tuple[str, ...]) -> None:
        self.func = func
        self.names = names
        self.__name__ = getattr(func, "__name__", type(func).__name__)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        split = len(args) - len(self.names)
        named = dict(zip(self.names, args[split:], strict=True))
        return self.func(*args[:split], **named, **kwargs)


def hide(
    names: Collection[str], func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Callable[..., Any], Sequence[Any], dict[str, Any]]:
    """The same call without keywords of these names."""
    found = tuple(name for name in kwargs if name in names)
    if not found:
        return func, args, kwargs
    rest = {name: value for name, value in kwargs.items() if name not in found}
    return ByName(func, found), (*args, *(kwargs[name] for name in found)), rest
