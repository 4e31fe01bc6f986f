"""Objects that come in chunks."""

from __future__ import annotations

import pytest

from treadle.cluster._agent_arrivals import Arrival, Arrivals
from treadle.errors import WireError
from treadle.wire import Chunk, Held


class Shelf:
    def __init__(self, *here):
        self.objects = dict.fromkeys(here, b"old")
        self.incoming = {}
        self.full = False

    def __contains__(self, key):
        return key in self.objects

    def receive(self, key, nbytes):
        if self.full:
            raise OSError("no memory")
        self.incoming[key] = bytearray(nbytes)
        return memoryview(self.incoming[key])

    def commit_received(self, key):
        self.objects.setdefault(key, bytes(self.incoming.pop(key)))

    def discard(self, key):
        self.incoming.pop(key, None)
        self.objects.pop(key, None)


def chunk(index, offset, data):
    return Chunk(1, index, offset, memoryview(data))


def test_an_object_is_here_when_its_last_byte_is():
    shelf = Shelf()
    arrival = Arrival(Arrivals(shelf), (Held(1, 1, 5), Held(2, 1, 2)))
    arrival.take(chunk(0, 0, b"abc"))
    assert (1, 1) not in shelf
    arrival.take(chunk(0, 3, b"de"))
    assert shelf.objects == {(1, 1): b"abcde"}
    assert not arrival.complete
    arrival.take(chunk(1, 0, b"fg"))
    assert arrival.complete
    assert shelf.objects[2, 1] == b"fg"


def test_what_has_no_bytes_is_here_at_once():
    shelf = Shelf()
    arrival = Arrival(Arrivals(shelf), (Held(1, 1, 0),))
    assert arrival.complete
    assert shelf.objects == {(1, 1): b""}


@pytest.mark.parametrize(
    "wrong",
    [chunk(0, 1, b"a"), chunk(1, 0, b"a"), chunk(0, 0, b"abcdef"), chunk(7, 0, b"")],
)
def test_a_chunk_that_is_not_the_next_is_an_error(wrong):
    arrival = Arrival(Arrivals(Shelf()), (Held(1, 1, 5),))
    with pytest.raises(WireError):
        arrival.take(wrong)


def test_the_same_chunk_twice_is_an_error():
    arrival = Arrival(Arrivals(Shelf()), (Held(1, 1, 5),))
    arrival.take(chunk(0, 0, b"abc"))
    with pytest.raises(WireError):
        arrival.take(chunk(0, 0, b"abc"))


def test_what_is_here_already_stays_and_the_bytes_go_nowhere():
    shelf = Shelf((1, 1))
    arrival = Arrival(Arrivals(shelf), (Held(1, 1, 3),))
    arrival.take(chunk(0, 0, b"new"))
    assert arrival.complete
    assert shelf.objects == {(1, 1): b"old"}


def test_what_breaks_off_is_forgotten():
    shelf = Shelf()
    arrivals = Arrivals(shelf)
    arrival = Arrival(arrivals, (Held(1, 1, 3), Held(2, 1, 3)))
    arrival.take(chunk(0, 0, b"abc"))
    arrival.take(chunk(1, 0, b"a"))
    arrival.drop()
    assert shelf.objects == {(1, 1): b"abc"}
    assert shelf.incoming == {}
    assert arrivals.by_key == {}


def test_what_was_made_here_while_it_came_is_kept_when_that_breaks_off():
    shelf = Shelf()
    arrival = Arrival(Arrivals(shelf), (Held(1, 1, 3),))
    shelf.objects[1, 1] = b"own"
    arrival.drop()
    assert shelf.objects == {(1, 1): b"own"}
    assert shelf.incoming == {}


def test_of_two_that_bring_the_same_the_later_is_taken():
    shelf = Shelf()
    arrivals = Arrivals(shelf)
    first = Arrival(arrivals, (Held(1, 1, 3),))
    first.take(chunk(0, 0, b"a"))
    second = Arrival(arrivals, (Held(1, 1, 3),))
    first.take(chunk(0, 1, b"bc"))
    assert first.complete
    assert shelf.objects == {}
    second.take(chunk(0, 0, b"xyz"))
    assert shelf.objects == {(1, 1): b"xyz"}
    first.drop()
    assert shelf.objects == {(1, 1): b"xyz"}


def test_without_room_nothing_is_begun():
    shelf = Shelf()
    arrivals = Arrivals(shelf)
    one = Arrival(arrivals, (Held(1, 1, 3),))
    shelf.full = True
    with pytest.raises(OSError, match="no memory"):
        Arrival(arrivals, (Held(2, 1, 3),))
    assert list(arrivals.by_key) == [(1, 1)]
    one.take(chunk(0, 0, b"abc"))
    assert shelf.objects == {(1, 1): b"abc"}
