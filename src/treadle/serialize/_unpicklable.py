"""Why can this not be pickled? A walk to the leaf that is to blame.

The walk asks of each part whether it pickles alone, and goes down into the first that does not,
until a part has no guilty part below it: that is the leaf. Parts are found the way pickle finds
them (`__reduce_ex__`), so what a class leaves out of its state is not accused.
"""

from __future__ import annotations

import dis
import functools
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any

from treadle.errors import SerializationError
from treadle.serialize._modules import PROTOCOL
from treadle.serialize._pickling import dumps, dumps_home, guarded

#: Pickling attempts of one walk; an object of a million good parts must not stop the program.
_MAX_PROBES = 2000

_Part = tuple[str, Any]


def dumps_call(func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
    """Pickle a call, once, for any process that is to run it.

    Raises:
        SerializationError: a part cannot be pickled; it names the argument and the path to it.
    """
    call = (func, tuple(args), dict(kwargs))
    return guarded(dumps, call, lambda error: _explain_call(func, args, kwargs, error))


def dumps_result(result: object, func: object = None) -> bytes:
    """Pickle what a call returned; `func`, if given, is named in the error.

    Raises:
        SerializationError: a part cannot be pickled; it names the path to it.
    """

    return guarded(dumps_home, result, lambda error: explain_value(result, error, func))


def explain_value(value: object, error: BaseException, func: object = None) -> SerializationError:
    """Why a value that `func`, if given, returned cannot be pickled."""
    path, reason = find_unpicklable(value) or ("", describe(error))
    what = "the result" if func is None else f"the result of {_name_of(func)}"
    return SerializationError(what, path, reason)


def find_unpicklable(obj: object) -> tuple[str, str] | None:
    """Find the part that keeps `obj` from being pickled.

    Returns:
        None if it pickles; else the path to the part, such as `.session._lock` (empty if it is
        `obj` itself), and what that part is and says, such as `a _thread.lock: cannot pickle
        '_thread.lock' object`.
    """
    error = _error_of(obj)
    if error is None:
        return None
    return _Walk().down(obj, error)


def describe(error: BaseException) -> str:
    """An error of pickling as one line."""
    if _is_recursion(error):
        return "it is nested too deeply"
    text = " ".join(_text(error).split())
    return text or type(error).__name__


def _is_recursion(error: BaseException) -> bool:
    # cloudpickle turns a RecursionError into a PicklingError that speaks of it.
    return isinstance(error, RecursionError) or "recursion" in _text(error)


def _explain_call(
    func: Callable[..., Any],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    error: BaseException,
) -> SerializationError:
    what = f"the call of {_name_of(func)}"
    walk = _Walk()
    for name, value in _named_arguments(func, args, kwargs):
        found = _error_of(value)
        if found is not None:
            path, reason = walk.down(value, found)
            return SerializationError(what, _join(name, path), reason)
    return SerializationError(what, "", describe(error))


def _named_arguments(
    func: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Iterator[_Part]:
    yield f"function {_name_of(func)!r}", func
    names: list[str] = []
    try:
        for parameter in inspect.signature(func).parameters.values():
            if parameter.kind is parameter.VAR_POSITIONAL:
                rest = range(len(args) - len(names))
                names += [f"{parameter.name}[{i}]" for i in rest]
                break
            if parameter.kind is parameter.KEYWORD_ONLY:
                break
            names.append(parameter.name)
    except BaseException:  # noqa: BLE001 - __signature__ may be the user's
        names = []
    for i, value in enumerate(args):
        yield f"argument {names[i]!r}" if i < len(names) else f"argument {i}", value
    for key, value in kwargs.items():
        yield f"argument {key!r}", value


def _join(name: str, path: str) -> str:
    return f"{name} -> {path}" if path else name


class _Walk:
    """One search; it counts its probes and remembers what it has been in."""

    def __init__(self) -> None:
        self._left = _MAX_PROBES
        #: Kept alive while the walk lasts: parts made by `__reduce_ex__` would reuse ids.
        self._seen: dict[int, object] = {}

    def down(self, obj: Any, error: BaseException) -> tuple[str, str]:
        """The path from `obj` to the guilty leaf, and what is wrong with the leaf."""
        path = ""
        # What is too deep is too deep from the top: its leaf is not to blame.
        while not _is_recursion(error) and (guilty := self._guilty_part(obj)) is not None:
            step, obj, error = guilty
            path += step
        return path, f"a {_type_name(obj)}: {describe(error)}"

    def _guilty_part(self, obj: Any) -> tuple[str, Any, BaseException] | None:
        self._seen[id(obj)] = obj
        try:
            for step, part in _parts(obj):
                if id(part) in self._seen or self._left <= 0:
                    continue
                self._left -= 1
                error = _error_of(part)
                if error is not None:
                    return step, part, error
        except BaseException:  # noqa: BLE001 - it runs __reduce_ex__ and iterators of users
            return None
        return None


def _error_of(obj: object) -> BaseException | None:
    try:
        dumps(obj)
    except BaseException as error:  # noqa: BLE001 - a __reduce__ may raise anything
        return error
    return None


# --- the parts of an object --------------------------------------------------------------------


def _parts(obj: Any) -> Iterable[_Part]:
    kind = type(obj)
    if kind is dict:
        return _parts_of_dict(obj)
    if kind in (list, tuple):
        return ((f"[{i}]", item) for i, item in enumerate(obj))
    if kind in (set, frozenset):
        return ((f"{{{_short(item)}}}", item) for item in obj)
    if kind is FunctionType:
        return _parts_of_function(obj)
    if kind is MethodType:
        return [(".__self__", obj.__self__), (".__func__", obj.__func__)]
    if kind is functools.partial:
        return [(".func", obj.func), (".args", obj.args), (".keywords", obj.keywords)]
    if isinstance(obj, type):
        return _parts_of_class(obj)
    return _parts_of_instance(obj)


def _parts_of_dict(obj: dict[Any, Any]) -> Iterator[_Part]:
    for key, value in obj.items():
        yield f"{{key {_short(key)}}}", key
        yield f"[{_short(key)}]", value


def _parts_of_function(func: FunctionType) -> Iterator[_Part]:
    for name, cell in zip(func.__code__.co_freevars, func.__closure__ or (), strict=False):
        try:
            yield f"(closure variable {name!r})", cell.cell_contents
        except ValueError:
            continue  # not bound yet
    for name in sorted(_global_names(func.__code__)):
        if name in func.__globals__:
            yield f"(global {name!r})", func.__globals__[name]
    for i, value in enumerate(func.__defaults__ or ()):
        yield f"(default {i})", value
    for name, value in (func.__kwdefaults__ or {}).items():
        yield f"(default of {name!r})", value
    for name, value in vars(func).items():
        yield f".{name}", value


def _global_names(code: CodeType) -> set[str]:
    names = {i.argval for i in dis.get_instructions(code) if i.opname == "LOAD_GLOBAL"}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            names |= _global_names(constant)
    return names


def _parts_of_class(cls: type) -> Iterator[_Part]:
    for name, value in vars(cls).items():
        if name not in ("__dict__", "__weakref__", "__doc__", "__module__"):
            if isinstance(value, (staticmethod, classmethod)):
                value = value.__func__
            yield f".{name}", value


def _parts_of_instance(obj: Any) -> Iterator[_Part]:
    reduced = obj.__reduce_ex__(PROTOCOL)
    if not isinstance(reduced, tuple):
        return
    func, args, state, items, pairs = (*reduced, None, None, None)[:5]
    yield from _parts_of_state(state)
    for i, item in enumerate(items or ()):
        yield f"[{i}]", item
    for key, value in pairs or ():
        yield f"{{key {_short(key)}}}", key
        yield f"[{_short(key)}]", value
    for i, arg in enumerate(args or ()):
        yield f"(constructor argument {i})", arg
    yield "(constructor)", func


def _parts_of_state(state: Any) -> Iterator[_Part]:
    # The state of a class with slots is a pair: its __dict__ or None, and its slots.
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for part in parts:
        if isinstance(part, dict):
            for name, value in part.items():
                yield (f".{name}" if isinstance(name, str) else f"[{_short(name)}]"), value
        elif part is not None:
            yield ".__getstate__()", part


# --- words -------------------------------------------------------------------------------------


def _name_of(func: Any) -> str:
    name = getattr(func, "__name__", None)
    return name if isinstance(name, str) else type(func).__name__


def _type_name(obj: object) -> str:
    kind = type(obj)
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _short(obj: object, limit: int = 40) -> str:
    try:
        text = repr(obj)
    except BaseException:  # noqa: BLE001 - a __repr__ of the user's
        text = f"<{type(obj).__name__}>"
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the text of a user's exception is user code
        return ""
