"""Any other object, taken apart the way pickle does it.

What pickle would write decides what the object is, so whatever a class leaves out of its state
is not looked at. But sets and dicts inside are without order here, and their parts go through
the same table as everything else.
"""

from __future__ import annotations

import copyreg
import io
from collections import OrderedDict
from typing import Any

import cloudpickle

from treadle.dataflow.memo._containers import Items, State
from treadle.dataflow.memo._local import is_local
from treadle.dataflow.memo._node import Node
from treadle.dataflow.memo._scalars import text
from treadle.dataflow.memo._walk import CannotDigest, Context

_PROTOCOL = 4


def expand_reduced(obj: Any, context: Context) -> Node | bytes:
    """The node of an object that says by `__reduce_ex__` how it is made."""
    reduced = _reduce(obj)
    if isinstance(reduced, str):
        module = getattr(obj, "__module__", None) or type(obj).__module__
        return text(b"G", f"{module}.{reduced}")
    if not isinstance(reduced, tuple) or not 2 <= len(reduced) <= 6:
        raise CannotDigest(f"{_a(obj)}, whose __reduce_ex__ returned neither a name nor a tuple")
    given = [*reduced, None, None, None, None]
    func, args, state, listed, items, setter = given[:6]
    children: list[Any] = [func, args, *_state(state)]
    names = ["(class)", "", "", ""]
    if listed is not None:
        children.append(list(listed))
        names.append("")
    if items is not None:
        ordered = isinstance(obj, OrderedDict)
        children.append(Items(list(items), ordered=ordered))
        names.append("")
    children.append(setter)
    names.append("(state setter)")
    label = b"reduced%d%d" % (listed is not None, items is not None)
    return Node(obj, label, children, namer=names.__getitem__)


def _state(state: Any) -> tuple[Any, Any]:
    """Attributes in `__dict__` and in slots, or whatever else the state is."""
    if isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict):
        return _attributes(state[0]), _attributes(state[1])
    return _attributes(state), None


def _attributes(state: Any) -> Any:
    if type(state) is dict and {str}.issuperset(map(type, state)):
        return State(state)
    return state


def _reduce(obj: Any) -> Any:
    kind = type(obj)
    reducer = copyreg.dispatch_table.get(kind)
    try:
        return reducer(obj) if reducer else obj.__reduce_ex__(_PROTOCOL)
    except Exception as error:
        if not _is_refusal(error):
            raise
        fallback = cloudpickle.CloudPickler.dispatch_table.get(kind)
        if fallback is not None and not isinstance(obj, io.IOBase):
            return fallback(obj)
        raise CannotDigest(f"{_a(obj)} ({error})", error) from error


def _is_refusal(error: Exception) -> bool:
    """Whether the type itself cannot be pickled, in difference to a user's code that failed."""
    if isinstance(error, (MemoryError, RecursionError)):
        return False
    traceback = error.__traceback__
    while traceback is not None:
        if is_local(traceback.tb_frame.f_globals.get("__name__")):
            return False
        traceback = traceback.tb_next
    return True


def _a(obj: Any) -> str:
    kind = type(obj)
    module = "" if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}."
    return f"a {module}{kind.__qualname__}"
