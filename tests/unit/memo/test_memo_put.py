"""Values named by `put`: digested once, and the same value to the memo table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.dataflow.futures import PutFuture
from treadle.dataflow.memo._scope import Scope
from treadle.dataflow.memo.key import KeyMaker
from treadle.dataflow.memo.registry import CATALOGUE, PLANS

if TYPE_CHECKING:
    import pytest


def use(x: object, y: int = 0) -> None:
    """What is called."""


def test_a_value_that_was_put_is_digested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    maker = KeyMaker(CATALOGUE, PLANS)
    put = PutFuture(list(range(1000)))
    maker.make(use, (put.result(), 0), {}, puts={id(put.result()): put})
    monkeypatch.setattr(Scope, "token", None)  # digesting anything now raises
    for y in range(1, 5):
        maker.make(use, (put.result(), y), {}, puts={id(put.result()): put})


def test_a_value_that_was_put_has_the_key_of_the_value() -> None:
    maker = KeyMaker(CATALOGUE, PLANS)
    for value in ([1, {"a": 2.0}], {"k": (1, 2)}, "text", 7):
        put = PutFuture(value)
        plain = maker.make(use, (value,), {}).digest
        assert maker.make(use, (value,), {}, puts={id(value): put}).digest == plain


def test_code_inside_a_value_that_was_put_still_counts() -> None:
    maker = KeyMaker(CATALOGUE, PLANS)
    value = [lambda: 1]
    put = PutFuture(value)
    plain = maker.make(use, (value,), {}).digest
    assert maker.make(use, (value,), {}, puts={id(value): put}).digest == plain
    assert put.digest is None
