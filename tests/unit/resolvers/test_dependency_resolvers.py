"""Futures in arguments: found, replaced, and everything else left alone."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.dataflow.dependency_resolvers import (
    DEEP_DEPENDENCY_RESOLVER as DEEP,
)
from treadle.dataflow.dependency_resolvers import (
    SHALLOW_DEPENDENCY_RESOLVER as SHALLOW,
)
from treadle.dataflow.dependency_resolvers import (
    DependencyResolver,
    deep_traverse_to_gather,
    deep_traverse_to_unwrap,
)

Point = namedtuple("Point", "x y")


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def test_the_shallow_resolver_knows_only_a_future_itself() -> None:
    f = done(1)
    assert list(SHALLOW.traverse_to_gather(f)) == [f]
    assert list(SHALLOW.traverse_to_gather([f])) == []
    assert SHALLOW.traverse_to_unwrap(f) == 1
    nested = [f]
    assert SHALLOW.traverse_to_unwrap(nested) is nested


def test_the_deep_resolver_lists_futures_in_order() -> None:
    a, b, c, d = (done(i) for i in range(4))
    assert list(DEEP.traverse_to_gather([a, (b, {"k": [c]}), {d}])) == [a, b, c, d]
    assert list(DEEP.traverse_to_gather({a: b})) == [a, b]


@pytest.mark.parametrize(
    ("argument", "unwrapped"),
    [
        (done(1), 1),
        ([done(1), 2], [1, 2]),
        ((done(1), 2), (1, 2)),
        ({done(1), 2}, {1, 2}),
        (frozenset({done(1)}), frozenset({1})),
        ({done("k"): done("v"), "x": [done(0)]}, {"k": "v", "x": [0]}),
        (Point(done(1), 2), Point(1, 2)),
        ([[[(done(1),)]]], [[[(1,)]]]),
        (OrderedDict(a=done(1)), OrderedDict(a=1)),
        (Counter(a=done(1)), Counter(a=1)),
    ],
)
def test_the_deep_resolver_puts_results_in_place(argument: Any, unwrapped: Any) -> None:
    got = DEEP.traverse_to_unwrap(argument)
    assert got == unwrapped
    assert type(got) is type(unwrapped)


def test_a_default_dict_keeps_its_factory() -> None:
    table: defaultdict[str, Any] = defaultdict(list, a=done(1))
    got = DEEP.traverse_to_unwrap(table)
    assert isinstance(got, defaultdict)
    assert got["new"] == []


def test_what_holds_no_future_is_the_same_object() -> None:
    plain = [1, {"a": (2, {3})}, frozenset({4})]
    assert DEEP.traverse_to_unwrap(plain) is plain
    mixed = [plain, done(1)]
    assert DEEP.traverse_to_unwrap(mixed)[0] is plain


def test_the_callers_containers_are_not_changed() -> None:
    f = done(1)
    argument = [f, {"k": f}]
    DEEP.traverse_to_unwrap(argument)
    assert argument == [f, {"k": f}]


def test_a_shared_container_stays_shared() -> None:
    shared = [done(1)]
    first, second = DEEP.traverse_to_unwrap([shared, shared])
    assert first is second


def test_a_list_that_contains_itself() -> None:
    loop: list[Any] = [done(1)]
    loop.append((loop,))
    assert len(DEEP.traverse_to_gather(loop)) == 1
    got = DEEP.traverse_to_unwrap(loop)
    assert got[0] == 1
    assert got[1][0] is got


def test_a_tuple_that_contains_itself_through_a_list() -> None:
    inner: list[Any] = [done(1)]
    loop = (inner,)
    inner.append(loop)
    got = DEEP.traverse_to_unwrap(loop)
    assert got[0][0] == 1
    assert got[0][1][0] is got[0]


def test_nesting_deeper_than_the_interpreters_stack() -> None:
    deep: Any = [done(7)]
    for _ in range(50_000):
        deep = [deep]
    assert len(DEEP.traverse_to_gather(deep)) == 1
    got = DEEP.traverse_to_unwrap(deep)
    for structure in (deep, got):
        level = structure
        while isinstance(level, list):
            level = level.pop()  # take it apart: freeing it at once would recurse
    assert level == 7


def test_types_of_the_users_join_by_registering() -> None:
    @dataclass
    class Batch:
        items: list[Any]

    @deep_traverse_to_gather.register(Batch)
    def gather(batch: Batch) -> Any:
        return deep_traverse_to_gather(batch.items)

    @deep_traverse_to_unwrap.register(Batch)
    def unwrap(batch: Batch) -> Batch:
        return Batch(deep_traverse_to_unwrap(batch.items))

    f = done(1)
    assert list(DEEP.traverse_to_gather([Batch([f])])) == [f]
    assert DEEP.traverse_to_unwrap([Batch([f])]) == [Batch([1])]
    assert DEEP.traverse_to_unwrap(Batch([f])) == Batch([1])


def test_a_failed_future_raises_when_unwrapped() -> None:
    failed: Future[Any] = Future()
    failed.set_exception(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        DEEP.traverse_to_unwrap([failed])


def test_a_resolver_is_two_functions() -> None:
    mine = DependencyResolver(traverse_to_gather=lambda o: [], traverse_to_unwrap=lambda o: o)
    assert mine.traverse_to_gather(3) == []


def trees(leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.recursive(
        leaves,
        lambda inner: (
            st.lists(inner)
            | st.lists(inner).map(tuple)
            | st.dictionaries(st.text(max_size=2), inner)
        ),
    )


@given(trees(st.integers()))
def test_any_structure_of_futures_unwraps_to_its_values(tree: Any) -> None:
    def wrapped(node: Any) -> Any:
        if isinstance(node, dict):
            return {k: wrapped(v) for k, v in node.items()}
        if isinstance(node, (list, tuple)):
            return type(node)(wrapped(v) for v in node)
        return done(node) if node % 2 else node

    assert DEEP.traverse_to_unwrap(wrapped(tree)) == tree
    assert DEEP.traverse_to_unwrap(tree) is tree
