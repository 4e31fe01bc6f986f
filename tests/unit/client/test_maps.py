"""What a client remembers of its last maps."""

from __future__ import annotations

import gc
from typing import Any

from treadle.client._futures import ClientFuture
from treadle.client._map import Maps


def futures(count: int) -> list[ClientFuture[Any]]:
    return [ClientFuture(None, number, f"row-{number}") for number in range(count)]  # type: ignore[arg-type]


def test_the_same_map_is_the_same_futures_while_they_live():
    maps = Maps()
    mine = futures(3)
    maps.keep(b"seal", mine)
    assert maps.find(b"seal") == mine
    del mine[1]
    gc.collect()
    assert maps.find(b"seal") is None


def test_a_map_of_which_nothing_is_left_takes_no_memory():
    maps = Maps()
    maps.keep(b"seal", futures(3))
    gc.collect()
    assert not maps._known


def test_an_older_map_that_goes_does_not_take_a_newer_one_along():
    maps = Maps()
    old, new = futures(2), futures(2)
    maps.keep(b"seal", old)
    maps.keep(b"seal", new)
    del old
    gc.collect()
    assert maps.find(b"seal") == new
