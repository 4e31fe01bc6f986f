"""Functions, classes and modules, where they are values."""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._code import code_facts
from treadle.dataflow.memo._local import installed_name, is_local
from treadle.dataflow.memo._node import Node
from treadle.dataflow.memo._scalars import text

if TYPE_CHECKING:
    from treadle.dataflow.memo._walk import Context, Expander

#: What a wrapper sets to name the function that is digested in its stead.
TARGET = "__memo_func__"
#: What it may add to tell its kind: `b'bash'`.
EXTRA = "__memo_extra__"

_LRU_CACHE = type(functools.lru_cache(lambda: None))


def installed(module: object, name: str) -> bytes:
    """The token of something that is not the project's."""
    return text(b"X", f"{installed_name(str(module))}:{name}")


def module_of(function: types.FunctionType) -> Any:
    """Where a function was written: `__module__` may be what a decorator copied."""
    return function.__globals__.get("__name__")


def is_written_here(function: types.FunctionType) -> bool:
    """Whether a function's own code is the project's."""
    return is_local(module_of(function))


def expand_function(obj: types.FunctionType, context: Context) -> Node | bytes:
    """A reference to the function; its name and version, if it is installed and free."""
    attributes = obj.__dict__
    if TARGET in attributes:
        return _marked(obj, attributes[TARGET], attributes.get(EXTRA))
    if is_single_dispatch(obj):
        return Node(obj, b"singledispatch", (attributes["__wrapped__"], attributes["registry"]))
    if not (obj.__closure__ or "__wrapped__" in attributes or is_written_here(obj)):
        return installed(module_of(obj), obj.__qualname__)
    return context.reference(obj, "helper", f"{module_of(obj)}.{obj.__qualname__}")


def is_single_dispatch(obj: types.FunctionType) -> bool:
    """Whether it chooses among functions that may be added at any time."""
    return obj.__globals__ is vars(functools) and "registry" in obj.__dict__


def expand_class(obj: type, context: Context) -> bytes:
    """A reference to the class; its name and version, if it is installed."""
    module, name = obj.__module__, obj.__qualname__
    if not is_local(module) and _look_up(module, name) is obj:
        return installed(module, name)
    return context.reference(obj, "helper", f"{module}.{name}")


def _look_up(module: object, qualname: str) -> Any:
    found: Any = sys.modules.get(str(module))
    for part in qualname.split("."):
        found = getattr(found, "__dict__", {}).get(part)
    return found


def _expand_module(obj: types.ModuleType, context: Context) -> bytes:
    if not is_local(obj.__name__):
        return installed(obj.__name__, "")
    return context.reference(obj, "helper", obj.__name__)


def expand_app(obj: Any, _: Context) -> Node | bytes:
    """An app of ours: the function under it."""
    target = getattr(obj, TARGET, None) or getattr(obj, "func", None)
    if target is None:
        return installed(type(obj).__module__, type(obj).__qualname__)
    return _marked(obj, target, getattr(obj, EXTRA, None) or type(obj).__name__)


def _marked(obj: Any, target: Any, extra: Any) -> Node:
    return Node(obj, b"app", (target, extra))


def _expand_builtin(obj: Any, _: Context) -> Node | bytes:
    owner = obj.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return installed(obj.__module__, obj.__qualname__)
    return Node(obj, b"bound", (owner, obj.__name__), namer=(".__self__", "").__getitem__)


def _expand_descriptor(obj: Any, _: Context) -> Node:
    return Node(obj, b"descriptor", (obj.__objclass__, obj.__name__))


def _expand_method(obj: types.MethodType, _: Context) -> Node:
    parts = (obj.__func__, obj.__self__)
    return Node(obj, b"method", parts, namer=("", ".__self__").__getitem__)


def _expand_partial(obj: functools.partial[Any], _: Context) -> Node:
    parts = (obj.func, obj.args, obj.keywords)
    return Node(obj, b"partial", parts, namer=(".func", ".args", ".keywords").__getitem__)


def _expand_cached(obj: Any, _: Context) -> Node:
    return Node(obj, b"cached", (obj.__wrapped__,))


def _expand_wrapped(obj: Any, _: Context) -> Node:
    return Node(obj, type(obj).__name__.encode(), (obj.__func__,))


def _expand_property(obj: property, _: Context) -> Node:
    return Node(obj, b"property", (obj.fget, obj.fset, obj.fdel))


def _expand_cached_property(obj: functools.cached_property[Any], _: Context) -> Node:
    return Node(obj, b"cached_property", (obj.func,))


def _expand_code(obj: types.CodeType, _: Context) -> bytes:
    return b"C" + code_facts(obj).digest


EXACT: dict[type, Expander] = {
    types.FunctionType: expand_function,
    types.ModuleType: _expand_module,
    types.BuiltinFunctionType: _expand_builtin,
    types.MethodWrapperType: _expand_builtin,
    types.WrapperDescriptorType: _expand_descriptor,
    types.MethodDescriptorType: _expand_descriptor,
    types.ClassMethodDescriptorType: _expand_descriptor,
    types.GetSetDescriptorType: _expand_descriptor,
    types.MemberDescriptorType: _expand_descriptor,
    types.MethodType: _expand_method,
    types.CodeType: _expand_code,
    functools.partial: _expand_partial,
    functools.cached_property: _expand_cached_property,
    _LRU_CACHE: _expand_cached,
    staticmethod: _expand_wrapped,
    classmethod: _expand_wrapped,
    property: _expand_property,
}

#: Types of which a value's identity says all, given that the functions under it do not change.
FIXED: frozenset[type] = frozenset(EXACT) - {
    types.MethodType, functools.partial, types.BuiltinFunctionType, types.MethodWrapperType,
}  # fmt: skip
