"""Lists, tuples, dicts, sets and other bags of values."""

from __future__ import annotations

import hashlib
import types
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._node import Namer, Node
from treadle.dataflow.memo._scalars import DIGEST_SIZE, blob, text

if TYPE_CHECKING:
    import os

    from treadle.dataflow.memo._walk import Context, Expander

_SETS = (set, frozenset)


class Pair:
    """A key and its value, as one part of a dict."""

    __slots__ = ("key", "value")

    def __init__(self, key: Any, value: Any) -> None:
        self.key = key
        self.value = value


class Items:
    """The items of a dict of a class of its own."""

    __slots__ = ("items", "ordered")

    def __init__(self, items: list[Any], *, ordered: bool) -> None:
        self.items = items
        self.ordered = ordered


class State:
    """The attributes of an object."""

    __slots__ = ("attributes",)

    def __init__(self, attributes: dict[Any, Any]) -> None:
        self.attributes = attributes


def index_namer(i: int) -> str:
    """`[3]`."""
    return f"[{i}]"


def _expand_list(obj: list[Any], context: Context) -> Node | bytes:
    return _sequence(obj, b"L", context)


def _expand_tuple(obj: tuple[Any, ...], context: Context) -> Node | bytes:
    return _sequence(obj, b"U", context)


def _sequence(obj: Any, tag: bytes, context: Context) -> Node | bytes:
    # One token made in C, where `repr` tells any two lists of such values apart.
    if context.plain.issuperset(map(type, obj)):
        token = _plain_token(tag, obj)
        if token is not None:
            return token
    return Node(obj, tag, tuple(obj), namer=index_namer)


def _plain_token(tag: bytes, obj: Any) -> bytes | None:
    try:
        return blob(tag, repr(obj).encode())
    except ValueError:  # an int of more digits than Python likes to print
        return None


def _expand_dict(obj: dict[Any, Any], context: Context) -> Node | bytes:
    items = list(obj.items())
    if str in context.plain and {str}.issuperset(map(type, obj)):
        items.sort(key=_key_of)
        if context.plain.issuperset([type(value) for _, value in items]):
            token = _plain_token(b"D", items)
            if token is not None:
                return token
        keys = [key for key, _ in items]
        label = text(b"d", repr(keys))
        return Node(obj, label, [value for _, value in items], namer=_key_namer(keys))
    return pairs_node(obj, b"dict", items, ordered=False)


def pairs_node(obj: Any, label: bytes, items: list[Any], *, ordered: bool) -> Node:
    """A node of key and value pairs whose keys may be anything."""
    keys = [key for key, _ in items]
    pairs = [Pair(key, value) for key, value in items]
    return Node(obj, label, pairs, ordered=ordered, namer=_key_namer(keys))


def _key_of(item: tuple[Any, Any]) -> Any:
    return item[0]


def _key_namer(keys: list[Any]) -> Namer:
    return lambda i: f"[{_short_repr(keys[i])}]"


def _short_repr(obj: Any, limit: int = 40) -> str:
    if not isinstance(obj, (str, int, float, bytes)):
        return f"<{type(obj).__name__}>"
    shown = repr(obj)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


def _expand_ordered(obj: OrderedDict[Any, Any], _: Context) -> Node:
    return pairs_node(obj, b"OrderedDict", list(obj.items()), ordered=True)


def _expand_pair(obj: Pair, _: Context) -> Node:
    return Node(obj, b"pair", (obj.key, obj.value), namer=("(key)", "").__getitem__)


def _expand_items(obj: Items, _: Context) -> Node:
    return pairs_node(obj, b"items", obj.items, ordered=obj.ordered)


def _expand_state(obj: State, _: Context) -> Node:
    attributes = obj.attributes
    keys = sorted(attributes)
    return Node(
        obj,
        text(b"state", repr(keys)),
        [attributes[key] for key in keys],
        namer=lambda i: f".{keys[i]}",
    )


def _expand_set(obj: Any, context: Context) -> Node | bytes:
    tag = b"Z" if type(obj) is set else b"F"
    if context.plain.issuperset(map(type, obj)):
        try:
            return blob(tag, repr(sorted(map(repr, obj))).encode())
        except ValueError:
            pass
    elements = list(obj)
    return Node(
        obj, tag, elements, ordered=False, namer=lambda i: f"{{{_short_repr(elements[i])}}}"
    )


def is_set_like(kind: type) -> bool:
    """Whether it is a subclass of set or frozenset that is pickled as they are: in any order."""
    return issubclass(kind, _SETS) and (
        kind.__reduce__ in (set.__reduce__, frozenset.__reduce__)
        and kind.__reduce_ex__ is object.__reduce_ex__
    )


def expand_set_like(obj: Any, _: Context) -> Node:
    """A set of a user's class: its class, its elements in no order, its attributes."""
    state = obj.__reduce_ex__(4)[2]
    return Node(obj, b"set of", (type(obj), frozenset(obj), state), namer=("", "", "").__getitem__)


def _expand_memoryview(obj: memoryview, _: Context) -> bytes:
    return text(b"m", f"{obj.format}{obj.shape}") + blob(b":", obj.tobytes())


def _expand_slice(obj: slice, _: Context) -> Node:
    return Node(obj, b"slice", (obj.start, obj.stop, obj.step))


def _expand_proxy(obj: types.MappingProxyType[Any, Any], _: Context) -> Node:
    return pairs_node(obj, b"proxy", list(obj.items()), ordered=False)


def digest_of_file(path: str | os.PathLike[str]) -> bytes | None:
    """The digest of a local file's bytes; None if there is no such file."""
    try:
        with open(path, "rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=DIGEST_SIZE))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        return None
    return found.digest()


EXACT: dict[type, Expander] = {
    list: _expand_list,
    tuple: _expand_tuple,
    dict: _expand_dict,
    OrderedDict: _expand_ordered,
    set: _expand_set,
    frozenset: _expand_set,
    memoryview: _expand_memoryview,
    slice: _expand_slice,
    types.MappingProxyType: _expand_proxy,
    Items: _expand_items,
    Pair: _expand_pair,
    State: _expand_state,
}
