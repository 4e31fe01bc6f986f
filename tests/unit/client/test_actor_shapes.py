"""What a proxy knows of its actor's class, and how it stands in calls."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from treadle.client import _actors
from treadle.client._actors import Actor, ActorFuture, Shape, packing


class Base:
    def inherited(self) -> None: ...


class Thing(Base):
    factory = list
    constant = 3

    def method(self) -> None: ...
    async def coroutine(self) -> None: ...
    @staticmethod
    def static() -> None: ...
    @classmethod
    def of_class(cls) -> None: ...
    @property
    def attribute(self) -> None:
        raise AssertionError("nobody asks a class for its properties")

    def _own(self) -> None: ...


class Loop:
    """A client that is asked for nothing."""

    asynchronous = False

    def forget(self, id: object) -> None: ...


@pytest.fixture
def future() -> ActorFuture:
    return ActorFuture(Loop(), 7, "thing", maker=Thing)


def test_a_shape_has_what_can_be_called() -> None:
    assert Shape.of(Thing) == (
        "Thing",
        {"inherited", "method", "coroutine", "static", "of_class", "factory"},
    )


def test_what_is_made_by_a_function_has_a_shape_only_when_it_is_there() -> None:
    assert ActorFuture(Loop(), 7, "thing", maker=lambda: Thing()).shape is None
    assert _actors.shape_of(Thing()) == Shape.of(Thing)


def test_in_calls_a_future_and_a_proxy_are_the_same_bytes_and_are_needed(
    future: ActorFuture,
) -> None:
    needs: dict[Any, None] = {}
    with _actors.in_call(needs):
        both = pickle.dumps(future), pickle.dumps(Actor(future))
    assert both[0] == both[1]
    assert needs == {7: None}
    assert packing.needs is None
    proxy = pickle.loads(both[0])
    assert isinstance(proxy, Actor)
    assert proxy == Actor(future)
    assert repr(proxy) == "<Actor Thing thing: not used yet>"


def test_what_is_packed_inside_of_a_call_is_no_part_of_it(future: ActorFuture) -> None:
    outer: dict[Any, None] = {}
    inner: dict[Any, None] = {}
    with _actors.in_call(outer):
        with _actors.in_call(inner):
            pickle.dumps(future)
        assert packing.needs is outer
    assert (outer, inner) == ({}, {7: None})


def test_a_proxy_has_no_names_of_its_own(future: ActorFuture) -> None:
    proxy = Actor(future)
    assert [name for name in dir(proxy) if not name.startswith("_")] == sorted(
        Shape.of(Thing).methods
    )
    for name in ("_own", "__array__", "_repr_html_"):
        assert not hasattr(proxy, name)
    with pytest.raises(AttributeError, match="cannot be set from afar"):
        proxy.key = 3
    assert proxy != object()
    assert proxy.method.__name__ == "method"
