"""Metadata is a tree that clients share."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.talk import Talk
from treadle.wire import MAX_DEPTH, MAX_ITEM, GetMetadata, SetMetadata


def test_what_was_set_stands_at_its_path():
    talk = Talk()
    assert talk.get("ann", SetMetadata, ("a", "b"), b"1") is None
    talk.get("ann", SetMetadata, ("a", "c"), {"d": b"2"})
    assert talk.get("bob", GetMetadata, ("a", "b")) == b"1"
    assert talk.get("bob", GetMetadata, ("a", "c", "d")) == b"2"
    assert talk.get("bob", GetMetadata, ()) == {"a": {"b": b"1", "c": {"d": b"2"}}}
    assert talk.get("bob", GetMetadata, ("a", "x")) is None
    assert talk.get("bob", GetMetadata, ("a", "b", "x")) is None


def test_what_was_set_before_is_not_set_again_by_a_word_that_comes_twice():
    talk = Talk()
    old = talk.ask("ann", SetMetadata, ("a",), b"1")
    talk.get("bob", SetMetadata, ("a",), b"2")
    talk.again("ann", old)
    assert talk.get("bob", GetMetadata, ("a",)) == b"2"


@pytest.mark.parametrize(
    ("path", "value", "why"),
    [
        (("a", "b"), b"2", "nothing can stand below"),
        ((), b"2", "name a path"),
        (("x",), 5, "has a int in it"),
        (("x",), {"y": ["z"]}, "has a list in it"),
        (("x",), {1: b""}, "is no text"),
        (("x",), b"x" * (MAX_ITEM + 1), "at most"),
        (("x",) * MAX_DEPTH, b"", "nested deeper"),
        (("x",) * 64, b"", "nested deeper"),
    ],
)
def test_what_cannot_stand_there_is_refused(path, value, why):
    talk = Talk()
    talk.get("ann", SetMetadata, ("a",), b"1")
    assert why in talk.get("ann", SetMetadata, path, value)
    assert talk.get("bob", GetMetadata, ()) == {"a": b"1"}
