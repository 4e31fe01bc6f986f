"""From a function to all of the project's code that it reaches, as parts of a key."""

from __future__ import annotations

import builtins
import enum
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Mapping
from types import FunctionType, ModuleType
from typing import Any

from treadle.dataflow.memo._callables import (
    FIXED,
    installed,
    is_single_dispatch,
    is_written_here,
    module_of,
)
from treadle.dataflow.memo._code import Import, code_facts
from treadle.dataflow.memo._guard import MISSING, Guard
from treadle.dataflow.memo._local import installed_name, is_local, is_local_import
from treadle.dataflow.memo._node import join
from treadle.dataflow.memo._scalars import FROZEN, digest, text
from treadle.dataflow.memo._scope import Part, Scope

_BUILTINS = vars(builtins)
_MISSING_TOKEN = b"0"
#: Attributes of a class that are bookkeeping.
_NOT_BEHAVIOUR = frozenset({
    "__dict__", "__weakref__", "__doc__", "__module__", "__qualname__", "__firstlineno__",
    "__static_attributes__", "__abstractmethods__", "__slotnames__", "_abc_impl", "__annotations_cache__",
})  # fmt: skip


class Reach:
    """Describes code by parts, and follows it to the code that it uses.

    Args:
        scope: names the code.
        guard: notes what was looked up.
        home: the module whose names are shown without their module.
    """

    def __init__(self, scope: Scope, guard: Guard, home: object = None) -> None:
        self._scope = scope
        self._guard = guard
        self._home = home
        self.parts: list[Part] = []
        self._bound: dict[tuple[int, str], bytes] = {}

    def describe_waiting(self) -> None:
        """Make the parts of all code that has a name."""
        while (waiting := self._scope.next_waiting()) is not None:
            label, name, obj = waiting
            if isinstance(obj, FunctionType):
                self._guard.watch_function(obj)
                token = self.function(obj, f"{obj.__qualname__}.")
                token += self.defaults(obj)
            elif isinstance(obj, type):
                token = self._class(obj)
            else:
                token = self._module(obj)
            self.parts.append(Part(label, name, b"#" + digest(token)))

    def function(self, fn: FunctionType, owner: str) -> bytes:
        """What a function is made of, but for its defaults."""
        tokens: list[bytes] = []
        if is_written_here(fn):
            facts = code_facts(fn.__code__)
            tokens.append(facts.digest)
            tokens += [text(b"g", ".".join(c)) + self._chain(fn, c) for c in facts.chains]
            tokens += [text(b"m", repr(i)) + self._import(fn, i) for i in facts.imports]
        else:
            tokens.append(installed(module_of(fn), fn.__qualname__))
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=False):
            value = self._guard.look_into(cell)
            tokens.append(text(b"c", name) + self._bind("closure", owner + name, value))
        wrapped = fn.__dict__.get("__wrapped__", MISSING)
        tokens.append(self._bind("closure", f"{owner}__wrapped__", wrapped))
        return join(b"function", tokens, ordered=True)

    def defaults(self, fn: FunctionType) -> bytes:
        """A function's defaults; those of the app itself are arguments like any other."""
        names = fn.__code__.co_varnames[: fn.__code__.co_argcount]
        defaults = fn.__defaults__ or ()
        pairs = [*zip(names[len(names) - len(defaults) :], defaults, strict=False)]
        pairs += sorted((fn.__kwdefaults__ or {}).items())
        tokens = [
            text(b"=", name) + self._bind("default", f"{fn.__qualname__}.{name}", value)
            for name, value in pairs
        ]
        return join(b"defaults", tokens, ordered=True)

    # --- names that code reads -------------------------------------------------------------------

    def _chain(self, fn: FunctionType, chain: tuple[str, ...]) -> bytes:
        space: Mapping[str, Any] = fn.__globals__
        value = self._guard.look_up(space, chain[0])
        if value is MISSING:
            return self._builtin(fn, chain[0])
        last = 1
        while last < len(chain) and isinstance(value, ModuleType) and is_local(value.__name__):
            space = vars(value)
            value = self._guard.look_up(space, chain[last])
            last += 1
        if last < len(chain) and isinstance(value, FunctionType):
            space = vars(value)
            if chain[last] in space:  # an attribute of a function
                attribute = self._guard.look_up(space, chain[last])
                return self._bind("global", ".".join(chain[: last + 1]), attribute)
        return self._global(space, chain[:last], value)

    def _builtin(self, fn: FunctionType, name: str) -> bytes:
        space = fn.__globals__.get("__builtins__", _BUILTINS)
        space = vars(space) if isinstance(space, ModuleType) else space
        value = self._guard.look_up(space, name)
        if value is MISSING:
            return _MISSING_TOKEN
        return b"B" if _BUILTINS.get(name) is value else self._bind("global", name, value)

    def _global(self, space: Mapping[str, Any], chain: tuple[str, ...], value: Any) -> bytes:
        key = (id(space), chain[-1])
        token = self._bound.get(key)
        if token is None:
            module = space.get("__name__")
            prefix = "" if module == self._home or module is None else f"{module}."
            token = self._bind("global", prefix + chain[-1], value, bare=chain[-1])
            self._bound[key] = token
        return token

    def _bind(self, kind: str, name: str, value: Any, *, bare: str | None = None) -> bytes:
        """The token of a value that a name is bound to; a value becomes a part of its own."""
        if value is MISSING:
            return _MISSING_TOKEN
        if _is_code(value):
            return self._scope.token(value)
        label = self._scope.unique(f"{kind} {bare or name}")
        token = self._scope.lenient_token(value)
        varies = token is not None and not (is_frozen(value) or _is_bookkeeping(name))
        if token is None:
            token = text(b"?", f"{type(value).__module__}.{type(value).__qualname__} {name}")
        part = Part(label, f"{kind} {name}", token, value=value if varies else None, varies=varies)
        self.parts.append(part)
        return b"@" + label

    # --- imports inside functions ----------------------------------------------------------------

    def _import(self, fn: FunctionType, statement: Import) -> bytes:
        try:
            name = _absolute(fn, statement)
            if not is_local_import(name):
                return text(b"X", installed_name(name))
            module = importlib.import_module(name)
        except Exception:  # noqa: BLE001 - a module's body may raise anything; the call will tell
            return _MISSING_TOKEN
        self._guard.look_up(sys.modules, name)
        if not statement.names:
            tokens = [self._scope.token(module)]
            top = name.partition(".")[0]
            if top != name:
                tokens.append(self._scope.token(sys.modules[top]))
            return join(b"import", tokens, ordered=True)
        return join(b"from", [self._from(module, n) for n in statement.names], ordered=True)

    def _from(self, module: ModuleType, name: str) -> bytes:
        value = self._guard.look_up(vars(module), name)
        if value is MISSING:
            try:
                value = importlib.import_module(f"{module.__name__}.{name}")
            except Exception:  # noqa: BLE001 - as above
                return _MISSING_TOKEN
        return self._global(vars(module), (name,), value)

    # --- classes and modules ---------------------------------------------------------------------

    def _class(self, cls: type) -> bytes:
        space = self._guard.watch_space(vars(cls))
        tokens = [self._scope.token(base) for base in cls.__bases__]
        if type(cls) is not type:
            tokens.append(self._scope.token(type(cls)))
        for name, value in self._attributes(cls, space):
            bound = self._bind("attribute", f"{cls.__qualname__}.{name}", value)
            tokens.append(text(b"a", name) + bound)
        return join(b"class", tokens, ordered=True)

    def _attributes(self, cls: type, space: dict[str, Any]) -> Iterable[tuple[str, Any]]:
        members: dict[str, Any] = {}
        if issubclass(cls, enum.Enum):
            members = {n: m._value_ for n, m in cls.__members__.items()}
            space = {n: v for n, v in space.items() if n not in members and not _is_sunder(n)}
        everything = space | members
        return [(n, everything[n]) for n in sorted(everything) if n not in _NOT_BEHAVIOUR]

    def _module(self, module: ModuleType) -> bytes:
        space = self._guard.watch_space(vars(module))
        inner = f"{module.__name__}."
        tokens = []
        for name in sorted(space):
            value = space[name]
            if _is_dunder(name) or (
                isinstance(value, ModuleType) and value.__name__.startswith(inner)
            ):
                continue
            tokens.append(text(b"a", name) + self._global(vars(module), (name,), value))
        return join(b"module", tokens, ordered=True)


def _absolute(fn: FunctionType, statement: Import) -> str:
    if not statement.level:
        return statement.name
    space = fn.__globals__
    package = space.get("__package__") or str(space.get("__name__")).rpartition(".")[0]
    return importlib.util.resolve_name("." * statement.level + statement.name, package)


def _is_code(value: Any) -> bool:
    if type(value) is FunctionType:
        return not is_single_dispatch(value)
    return isinstance(value, (type, ModuleType))


def is_frozen(value: Any, depth: int = 4) -> bool:
    """Whether a value never changes, so that its identity vouches for it."""
    kind = type(value)
    if kind in FROZEN or kind in FIXED or isinstance(value, (type, enum.Enum)):
        return not (kind is FunctionType and is_single_dispatch(value))
    if kind in (tuple, frozenset) and depth and len(value) <= 100:
        return all(is_frozen(item, depth - 1) for item in value)
    return False


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _is_sunder(name: str) -> bool:
    return name.startswith("_") and name.endswith("_") and not _is_dunder(name)


def _is_bookkeeping(name: str) -> bool:
    # Such as `__dataclass_fields__`: costly to digest, and never changed in place.
    return _is_dunder(name.rpartition(".")[2])
