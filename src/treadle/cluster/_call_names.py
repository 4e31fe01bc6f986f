"""What a function names: by that it is known whether it is still what it was when it was pickled."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType
from typing import Any, Final

from treadle.serialize._modules import travels_by_value

#: Most objects that are looked at for one function: beyond that it is pickled each time.
_MOST_NAMED: Final = 2_000

MISSING: Final = object()


class TooMuch(Exception):
    """A function names more than is looked at."""


def identity(func: Any) -> tuple[object | None, Callable[[], Any], Any]:
    """What a function is known by, how it is had again, and the function inside; None: by nothing.

    Callables that are not functions may change at any time: they go with each call. But for those
    that the apps put round a function, which tell so by their `__memo_func__`.
    """
    kind = type(func)
    if kind is FunctionType or kind is BuiltinFunctionType or isinstance(func, type):
        return id(func), weakref.ref(func), func
    # Not by getattr: objects that answer to any name have no such thing.
    inner = getattr(func, "__dict__", {}).get("__memo_func__")
    if type(inner) is FunctionType:
        cls, args = func.__reduce__()[:2]
        # What it is made of is kept, so no other object can have these identities.
        return (cls, *map(id, args)), lambda: args, inner
    return None, lambda: None, None


def named_by(func: Any) -> Iterator[tuple[Any, ...]]:
    """All that a function that travels by value names, and what that names: where, name, what."""
    todo = [func]
    seen: dict[int, None] = {}
    count = 0
    while todo:
        item = todo.pop()
        if id(item) in seen or not travels_here_by_value(item):
            continue
        seen[id(item)] = None
        if isinstance(item, type):
            todo += [vars(item)[name] for name in vars(item) if callable(vars(item)[name])]
            continue
        for where, name in _places(item):
            count += 1
            if count > _MOST_NAMED:
                raise TooMuch
            what = where.get(name, MISSING) if type(where) is dict else look(where, name)
            yield where, name, what
            if type(what) is FunctionType or isinstance(what, type):
                todo.append(what)


def travels_here_by_value(item: Any) -> bool:
    """Whether a function or class goes with all that it names."""
    if type(item) is not FunctionType and not isinstance(item, type):
        return False
    module: object = item.__module__  # a user may have set it to anything
    if module == "__main__" or not isinstance(module, str) or travels_by_value(module):
        return True
    return "<locals>" in item.__qualname__ or item.__name__ == "<lambda>"


def _places(func: FunctionType) -> Iterator[tuple[Any, Any]]:
    scope = func.__globals__
    for name in _global_names(func.__code__):
        yield scope, name
    for cell in func.__closure__ or ():
        yield cell, "cell_contents"
    yield func, "__code__"
    yield func, "__defaults__"
    yield func, "__kwdefaults__"


def _global_names(code: CodeType) -> list[str]:
    # More than are globals: attributes are among them. That costs a look at each, and no mistake.
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names.update(dict.fromkeys(_global_names(constant)))
    return list(names)


def look(where: Any, name: str) -> Any:
    if type(where) is CellType:
        try:
            return where.cell_contents
        except ValueError:
            return MISSING  # not bound yet
    return getattr(where, name, MISSING)
