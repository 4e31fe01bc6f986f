"""Equal calls have equal keys, and nothing else does."""

from __future__ import annotations

import copy
import math
import random
import struct
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st

from tests.unit.memo.calls import digest, of_value

LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=4),
    st.binary(max_size=4),
    st.sampled_from([0, 1, True, False, 0.0, -0.0, 1.0, "", "1", b"1", (), 2**200]),
    st.decimals(allow_nan=False),
    st.fractions(),
    st.datetimes(),
    st.dates(),
    st.timedeltas(),
)
HASHABLE = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner), st.frozensets(inner, max_size=3), st.tuples(inner)
    ),
    max_leaves=4,
)


@dataclass
class Box:
    """An object of the project."""

    content: Any
    label: Any = None


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(HASHABLE, inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=4),
        st.dictionaries(st.text(max_size=3), inner, max_size=3).map(OrderedDict),
        st.sets(HASHABLE, max_size=4),
        st.builds(Box, inner, inner),
    )


VALUES = st.recursive(HASHABLE, containers, max_leaves=12)


def canonical(value: Any) -> Any:
    """The same value in a form whose repr says all: the model that keys are compared with."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack(">d", value)
    if isinstance(value, complex):
        return "complex", canonical(value.real), canonical(value.imag)
    if isinstance(value, Box):
        return "Box", canonical(value.content), canonical(value.label)
    if isinstance(value, OrderedDict):
        return "OrderedDict", [(canonical(k), canonical(v)) for k, v in value.items()]
    if isinstance(value, dict):
        return "dict", sorted(repr((canonical(k), canonical(v))) for k, v in value.items())
    if isinstance(value, (set, frozenset)):
        return type(value).__name__, sorted(repr(canonical(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [canonical(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return "int", f"{value:x}"
    return type(value).__name__, repr(value)


def shuffled(value: Any, rng: random.Random) -> Any:
    """An equal value whose dicts and sets were filled in another order."""
    if type(value) is dict:
        items = [(shuffled(k, rng), shuffled(v, rng)) for k, v in value.items()]
        rng.shuffle(items)
        return dict(items)
    if isinstance(value, (set, frozenset)):
        items = [shuffled(item, rng) for item in value]
        rng.shuffle(items)
        return type(value)(items)
    if type(value) is OrderedDict:
        return OrderedDict((k, shuffled(v, rng)) for k, v in value.items())
    if type(value) in (list, tuple):
        return type(value)(shuffled(item, rng) for item in value)
    if isinstance(value, Box):
        return Box(shuffled(value.content, rng), shuffled(value.label, rng))
    return value


@given(VALUES, st.randoms(use_true_random=False))
def test_an_equal_value_has_the_same_key(value: Any, rng: random.Random) -> None:
    expected = of_value(value)
    assert of_value(copy.deepcopy(value)) == expected
    assert of_value(shuffled(value, rng)) == expected


@given(VALUES, VALUES)
def test_two_values_have_the_same_key_only_if_they_are_the_same(one: Any, other: Any) -> None:
    assert (of_value(one) == of_value(other)) == (canonical(one) == canonical(other))


@given(st.lists(VALUES, max_size=4), st.integers(0, 3), VALUES)
def test_a_change_of_any_element_is_a_change(items: list[Any], at: int, new: Any) -> None:
    assume(at < len(items) and canonical(items[at]) != canonical(new))
    changed = [*items[:at], new, *items[at + 1 :]]
    assert of_value(items) != of_value(changed)
    assert of_value(Box(items)) != of_value(Box(changed))
    assert of_value({"k": items, 1: 2}) != of_value({"k": changed, 1: 2})


# --- calls ---------------------------------------------------------------------------------------


def target(a, b=1, /, c=2, *rest, d, e=(), **more):
    return a


@given(st.data())
def test_all_ways_to_write_a_call_have_one_key(data: st.DataObject) -> None:
    small = st.integers(0, 2)
    a, b, c, d = (data.draw(small) for _ in "abcd")
    more = data.draw(st.dictionaries(st.sampled_from("abxy"), small))
    expected = digest(target, a, b, c, d=d, e=(), **more)
    ways = [
        digest(target, a, b, c=c, d=d, **more),
        digest(target, a, b, e=(), d=d, c=c, **dict(reversed(more.items()))),
    ]
    if c == 2:
        ways.append(digest(target, a, b, d=d, **more))
        if b == 1:
            ways.append(digest(target, a, d=d, **more))
    assert set(ways) == {expected}
    assert digest(target, a + 1, b, c, d=d, **more) != expected
    assert digest(target, a, b, c, 0, d=d, **more) != expected
    assert digest(target, a, b, c, d=d, z=0, **more) != expected


# --- objects that know each other ----------------------------------------------------------------


@dataclass(eq=False)
class Vertex:
    """A vertex of a graph; compared by identity, as users' objects are."""

    name: int
    follows: list[Vertex] = field(default_factory=list)
    knows: set[Vertex] = field(default_factory=set)


GRAPHS = st.integers(1, 7).flatmap(
    lambda size: st.tuples(
        st.permutations(range(size)),
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=12),
        st.sets(st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)), max_size=12),
    )
)
Graph = tuple[list[int], set[tuple[int, int]], set[tuple[int, int]]]


def built(graph: Graph, order: int) -> Vertex:
    names, ordered, unordered = graph
    vertices = [Vertex(name) for name in names]
    for a, b in sorted(ordered):
        vertices[a].follows.append(vertices[b])
    for a, b in sorted(unordered)[::order]:
        vertices[a].knows.add(vertices[b])
    return vertices[0]


def reached(vertex: Vertex) -> list[Vertex]:
    found = [vertex]
    for at in found:
        found += [v for v in [*at.follows, *at.knows] if not any(v is f for f in found)]
    return found


@given(GRAPHS)
def test_a_graph_has_one_key_however_it_was_built(graph: Graph) -> None:
    assert of_value(built(graph, 1)) == of_value(built(graph, -1))


@given(GRAPHS, st.data())
def test_any_change_of_a_graph_is_a_change(graph: Graph, data: st.DataObject) -> None:
    expected = of_value(built(graph, 1))
    root = built(graph, 1)
    vertices = sorted(reached(root), key=lambda v: v.name)
    changed = data.draw(st.sampled_from(vertices))
    what = data.draw(st.sampled_from(["name", "follows", "knows"]))
    if what == "name":
        changed.name += 100
    elif what == "follows":
        changed.follows.append(data.draw(st.sampled_from(vertices)))
    else:
        other = data.draw(st.sampled_from(vertices))
        assume(other not in changed.knows)
        changed.knows.add(other)
    assert of_value(root) != expected
