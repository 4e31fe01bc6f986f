"""NumPy's arrays and scalars, without importing NumPy: whoever has one has imported it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._containers import index_namer
from treadle.dataflow.memo._node import Node
from treadle.dataflow.memo._scalars import blob, text

if TYPE_CHECKING:
    from types import ModuleType

    from treadle.dataflow.memo._walk import Context, Expander

#: Kinds of elements that are their bytes: booleans, integers, floats, times, fixed strings.
_RAW_KINDS = frozenset("biufcmMSUV")
#: Extended floats have bytes that mean nothing.
_PADDED = frozenset("gG")
#: Smaller arrays are copied rather than looked at in place.
_SMALL = 4096


def expander_of(kind: type, numpy: ModuleType | None) -> Expander | None:
    """How a type of NumPy's is taken apart; None if it is none of them."""
    if numpy is None:
        return None
    if kind is numpy.ndarray:
        return _expand_array
    if issubclass(kind, numpy.generic):
        return lambda obj, context: _expand(numpy.asarray(obj), "scalar ", context)
    return None


def _expand_array(obj: Any, context: Context) -> Node | bytes:
    return _expand(obj, "", context)


def _expand(array: Any, kind: str, _: Context) -> Node | bytes:
    dtype = array.dtype
    head = text(b"A", f"{kind}{dtype.descr if dtype.names else dtype.str}{array.shape}")
    if dtype.names:
        # Field by field: the space between fields means nothing.
        fields = [array[name] for name in dtype.names]
        return Node(array, head, fields, namer=lambda i: f"[{dtype.names[i]!r}]")
    if dtype.char in _PADDED:
        return Node(array, head, [repr(item) for item in array.ravel()])
    if dtype.hasobject or dtype.kind not in _RAW_KINDS:
        return Node(array, head, array.ravel().tolist(), namer=index_namer)
    if dtype.kind in "fc":
        array = _with_one_nan(array)
    if array.nbytes <= _SMALL or not array.flags.c_contiguous:
        return head + blob(b":", array.tobytes())
    return head + blob(b":", memoryview(array.reshape(-1).view("u1")))


def _with_one_nan(array: Any) -> Any:
    """The same array, in which every NaN has the same bits."""
    if not (array != array).any():
        return array
    array = array.copy()
    real = array.reshape(-1)
    if array.dtype.kind == "c":
        real = real.view(f"{array.dtype.str[0]}f{array.dtype.itemsize // 2}")
    real[real != real] = float("nan")
    return array
