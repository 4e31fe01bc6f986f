"""Bytes of parcels: where they are kept, and when they count as equal."""

from __future__ import annotations

import os

import pytest

from treadle.cluster._upload import Parcels
from treadle.cluster._upload_memory import PLAIN_BYTES, Keeper, Plain, is_equal, mark_of
from treadle.serialize import Packed
from treadle.store.mapping import Shared


def packed(*pieces: bytes) -> Packed:
    return Packed(pieces, sum(map(len, pieces)))


@pytest.fixture
def parcels():
    parcels = Parcels(Keeper(), lambda: 0)
    yield parcels
    parcels.close()


def test_small_bytes_take_no_descriptor():
    keeper = Keeper()
    small, large = keeper(packed(b"s" * PLAIN_BYTES)), keeper(packed(b"l" * (PLAIN_BYTES + 1)))
    assert isinstance(small, Plain)
    assert isinstance(large, Shared)
    assert small.spot is None
    small.close()
    large.close()
    assert small.data == b""


def test_descriptors_are_counted_and_come_back():
    keeper = Keeper()
    keeper._free = 1
    first, second = [keeper(packed(bytes(PLAIN_BYTES + 1))) for _ in range(2)]
    assert (type(second), keeper._free) == (Plain, 0)
    first.close()
    first.close()
    assert keeper._free == 1
    third = keeper(packed(bytes(PLAIN_BYTES + 1)))
    assert isinstance(third, Shared)
    third.close()


@pytest.mark.parametrize("size", [10, PLAIN_BYTES + 1, (1 << 20) + 3, 3 << 20])
def test_bytes_are_compared_one_by_one(parcels, size):
    data = os.urandom(size)
    parcel = parcels.new(packed(data), "x")
    middle = size // 2
    assert is_equal(parcel.shared, packed(data))
    assert is_equal(parcel.shared, packed(data[:middle], data[middle:]))
    for place in (0, middle, size - 1):
        other = bytearray(data)
        other[place] ^= 1
        assert not is_equal(parcel.shared, packed(bytes(other)))
    assert not is_equal(parcel.shared, packed(data[:-1]))
    assert not is_equal(parcel.shared, packed(data, b"\0"))


def test_equal_parcels_are_found_by_their_mark_until_they_are_dropped(parcels):
    data = packed(os.urandom(200_000))
    mark = mark_of(data, "bytes")
    assert not parcels.has_mark(mark)
    parcel = parcels.new(data, "x", mark=mark)
    unmarked = parcels.new(data, "x")
    assert parcels.has_mark(mark)
    assert list(parcels.equal_to(data, mark)) == [parcel]
    parcels.drop(parcel)
    parcels.drop(unmarked)
    assert not parcels.has_mark(mark)
    assert list(parcels.equal_to(data, mark)) == []


def test_what_looks_alike_and_is_not_is_not_found(parcels):
    data = bytearray(1 << 20)
    first = parcels.new(packed(bytes(data)), "x", mark=b"same")
    data[54_321] = 1  # between the samples
    assert mark_of(packed(bytes(data)), "t") == mark_of(packed(bytes(1 << 20)), "t")
    assert list(parcels.equal_to(packed(bytes(data)), b"same")) == []
    parcels.unmark(first)
    assert list(parcels.equal_to(packed(bytes(1 << 20)), b"same")) == []


def test_a_mark_tells_types_lengths_and_ends_apart():
    marks = {
        mark_of(packed(b"a" * 5_000), "t"),
        mark_of(packed(b"a" * 5_000), "u"),
        mark_of(packed(b"a" * 5_001), "t"),
        mark_of(packed(b"a" * 4_999 + b"b"), "t"),
        mark_of(packed(b"b" + b"a" * 4_999), "t"),
    }
    assert len(marks) == 5
