"""Messages of every kind, made from what their fields say they take.

A field's annotation is the only source: a new message or a new bound is tested as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from treadle.wire import SPOKEN, Message, Role

Link = tuple[Role, Role]

LINKS: list[Link] = list(SPOKEN)
#: Text that can be sent: all but halves of a surrogate pair.
TEXT = st.characters(exclude_categories=["Cs"])
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(TEXT, max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(TEXT, max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


def kinds(link: Link) -> tuple[type[Message], ...]:
    """The classes of messages that stand on this link."""
    return SPOKEN[link].__args__


def every_kind() -> dict[type[Message], Link]:
    """Each class of messages, and a link it stands on."""
    return {cls: link for link in LINKS for cls in kinds(link)}


def tag_of(cls: type) -> str:
    return cls.__struct_config__.tag


# --- any message -------------------------------------------------------------------------------


def messages(link: Link) -> st.SearchStrategy[list[Message]]:
    """Lists of anything that may be said on this link."""
    return st.lists(st.one_of([message(cls) for cls in kinds(link)]), max_size=6)


def message(cls: type[Message]) -> st.SearchStrategy[Message]:
    return _of(inspect.type_info(cls))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:
    match info:
        case inspect.AnyType():
            return PLAIN
        case inspect.NoneType():
            return st.none()
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            low = -(2**63) if info.ge is None else info.ge
            return st.integers(low, 2**64 - 1 if info.le is None else info.le)
        case inspect.FloatType():
            return st.floats(info.ge, info.le, allow_nan=False)
        case inspect.StrType():
            return st.text(TEXT, min_size=info.min_length or 0, max_size=12)
        case inspect.BytesType():
            return st.binary(max_size=min(20, info.max_length or 20))
        case inspect.VarTupleType():
            return st.lists(_of(info.item_type), max_size=3).map(tuple)
        case inspect.TupleType():
            return st.tuples(*map(_of, info.item_types))
        case inspect.DictType():
            return st.dictionaries(_of(info.key_type), _of(info.value_type), max_size=3)
        case inspect.UnionType():
            return st.one_of([_of(each) for each in info.types])
        case inspect.StructType():
            return st.builds(info.cls, **{field.name: _of(field.type) for field in info.fields})
    raise AssertionError(f"no strategy for {info}")


# --- messages that are just wrong --------------------------------------------------------------


def smallest(cls: type[Message]) -> list[Any]:
    """A message as it stands on the wire, each field with the least it takes."""
    return _smallest(inspect.type_info(cls))


def wrong(cls: type[Message]) -> Iterator[tuple[str, list[Any]]]:
    """Messages as they stand on the wire, each with one value just beyond what is allowed."""
    return _wrong(inspect.type_info(cls))


def _smallest(info: inspect.Type) -> Any:
    match info:
        case inspect.IntType() | inspect.FloatType():
            return 0 if info.ge is None or info.ge < 0 else info.ge
        case inspect.BoolType():
            return False
        case inspect.StrType():
            return "x" * (info.min_length or 0)
        case inspect.BytesType():
            return b""
        case inspect.VarTupleType():
            return []
        case inspect.TupleType():
            return [_smallest(each) for each in info.item_types]
        case inspect.DictType():
            return {}
        case inspect.UnionType():
            return _smallest(info.types[0])
        case inspect.StructType():
            tag = [] if info.tag is None else [info.tag]
            return tag + [_smallest(field.type) for field in info.fields]
    return None


def _wrong(info: inspect.Type) -> Iterator[tuple[str, Any]]:
    match info:
        case inspect.IntType() | inspect.FloatType():
            if info.ge is not None:
                yield f"under {info.ge}", info.ge - 1 if info.ge > -1e9 else float("-inf")
            if info.le is not None:
                yield (
                    f"over {info.le}",
                    info.le + 1
                    if info.le < 1e9 or isinstance(info, inspect.IntType)
                    else info.le * 1.01,
                )
            if isinstance(info, inspect.FloatType) and info.ge is not None:
                yield "not a number", float("nan")
                yield "infinite", float("inf")
        case inspect.StrType():
            if info.min_length:
                yield "empty", ""
            if info.max_length is not None:
                yield "too long", "x" * (info.max_length + 1)
        case inspect.VarTupleType():
            if info.max_length is not None:
                yield "too many", [None] * (info.max_length + 1)
            for how, item in _wrong(info.item_type):
                yield f"an item {how}", [item]
        case inspect.TupleType():
            yield "an item too few", [_smallest(each) for each in info.item_types[:-1]]
            for place, each in enumerate(info.item_types):
                for how, item in _wrong(each):
                    fitting = [_smallest(other) for other in info.item_types]
                    yield f"[{place}] {how}", [*fitting[:place], item, *fitting[place + 1 :]]
        case inspect.UnionType():
            for each in info.types:
                yield from _wrong(each)
        case inspect.StructType():
            first = 0 if info.tag is None else 1
            for place, field in enumerate(info.fields, first):
                for how, value in [("of no type", _misfit(field.type)), *_wrong(field.type)]:
                    if value is not _ANY:
                        fitting = _smallest(info)
                        fitting[place] = value
                        yield f"{field.name} {how}", fitting


_ANY = object()


def _misfit(info: inspect.Type) -> Any:
    """A value of a type that the field does not take."""
    types = info.types if isinstance(info, inspect.UnionType) else (info,)
    if any(isinstance(each, inspect.AnyType) for each in types):
        return _ANY
    return [] if any(isinstance(each, inspect.DictType) for each in types) else {}


def on_the_wire(*said: list[Any]) -> bytes:
    """A payload of messages that nobody has checked."""
    return msgspec.msgpack.encode(said)
