"""Results on their way to a client, and data on its way to workers."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest

from treadle import wire
from treadle.cluster._fetches import Asking, Fetch
from treadle.cluster._results import InlineValue, RemoteResult, rows_of, value_of
from treadle.cluster._upload import Parcels
from treadle.errors import ResultLost
from treadle.serialize import pack
from treadle.serialize._spec import _ENCODER as MSGPACK


class FakeLink:
    def __init__(self, same_machine=True):
        self.same_machine = same_machine
        self.sent = []

    def send(self, messages):
        self.sent += messages


class Bringer:
    """Fetches nothing by itself; remembers what it was asked for."""

    is_local = True
    dead = None

    def __init__(self):
        self.asked = []

    def call(self, fn):
        fn()

    def fetch(self, result):
        self.asked.append(result)


def done(id, holders=("w", "v"), **more):
    return wire.Done(id, 100, "int", holders, **more)


class Bench:
    def __init__(self, same_machine=True, memory=b"memory"):
        self.link = FakeLink(same_machine)
        self.failed = []
        self.later = []
        self.memory = memory
        self.bringer = Bringer()
        self.asking = Asking(
            "w", self.open, self.failed.append, lambda s, fn: self.later.append(fn)
        )
        self.asking.link = self.link

    def open(self, spot):
        if self.memory is None:
            raise FileNotFoundError(spot)
        return memoryview(bytearray(self.memory))

    def want(self, id, nbytes=100):
        result = RemoteResult(self.bringer, wire.Done(id, nbytes, "int", ("w", "v")))
        result.bring(lambda: None)
        self.asking.add(Fetch(result))
        return result

    def asks(self):
        return [m for m in self.link.sent if type(m) is wire.GetData]

    def answer(self, ask, *ids, missing=()):
        objects = tuple(wire.Held(id, 3, 6, "int") for id in ids)
        self.asking.data(wire.Data(ask, objects, missing))


SPOT = wire.Spot(1, 2, 0, 6)


# --- fetches -------------------------------------------------------------------------------------


def test_memory_of_this_machine_is_opened_and_that_is_said():
    bench = Bench()
    result = bench.want(7)
    (ask,) = bench.asks()
    assert ask.objects == (wire.Attempt(7, 0),)
    bench.answer(ask.ask, 7)
    bench.asking.spots(wire.Spots(ask.ask, (SPOT,)))
    assert result._take() == b"memory"
    assert bench.link.sent[-1] == wire.Taken(ask.ask)
    assert not bench.asking.busy


def test_small_objects_come_as_they_are():
    bench = Bench()
    result = bench.want(7)
    bench.answer(1, 7)
    bench.asking.spots(wire.Spots(1, (b"bytes",)))
    assert result._take() == b"bytes"


def test_bytes_of_another_machine_come_in_pieces_in_any_order():
    bench = Bench(same_machine=False)
    result = bench.want(7)
    bench.answer(1, 7)
    bench.asking.chunk(wire.Chunk(1, 0, 4, memoryview(b"ry")))
    assert result._take() is None
    bench.asking.chunk(wire.Chunk(1, 0, 0, memoryview(b"memo")))
    assert result._take() == b"memory"
    assert not bench.asking.busy


def test_pieces_that_belong_nowhere_change_nothing():
    bench = Bench(same_machine=False)
    result = bench.want(7)
    bench.answer(1, 7)
    for chunk in (wire.Chunk(9, 0, 0, memoryview(b"x")), wire.Chunk(1, 5, 0, memoryview(b"x")),
                  wire.Chunk(1, 0, 5, memoryview(b"xx"))):  # fmt: skip
        bench.asking.chunk(chunk)
    assert result._take() is None


def test_who_does_not_have_it_is_struck_off():
    bench = Bench()
    bench.want(7)
    bench.answer(1, missing=(7,))
    (fetch,) = bench.failed
    assert fetch.next_holder() == "v"


def test_memory_that_is_gone_is_to_be_had_elsewhere():
    bench = Bench(memory=None)
    bench.want(7)
    bench.answer(1, 7)
    bench.asking.spots(wire.Spots(1, (SPOT,)))
    assert [fetch.next_holder() for fetch in bench.failed] == ["v"]
    assert bench.link.sent[-1] == wire.Taken(1)


def test_who_is_busy_is_asked_again_later():
    bench = Bench()
    bench.want(7)
    bench.asking.rebuffed(wire.Busy(1))
    assert len(bench.asks()) == 1
    for fn in bench.later:
        fn()
    assert [ask.ask for ask in bench.asks()] == [1, 2]


def test_what_was_asked_of_a_worker_that_is_lost_is_to_be_had_elsewhere():
    bench = Bench()
    for id in range(10):
        bench.want(id)
    bench.asking.lost()
    assert len(bench.failed) == 10
    assert not bench.asking.busy


def test_few_requests_are_under_way_and_each_is_bounded():
    bench = Bench()
    bench.asking.link = None
    for id in range(1000):
        bench.want(id)
    bench.want(5000, nbytes=1 << 30)
    bench.asking.link = bench.link
    bench.asking.pump()
    assert [len(ask.objects) for ask in bench.asks()] == [100] * 4


def test_what_is_being_computed_again_is_not_asked_for():
    bench = Bench()
    bench.asking.link = None
    result = bench.want(7)
    result.lost()
    bench.asking.link = bench.link
    bench.asking.pump()
    assert bench.asks() == []
    result.found(done(7))
    assert bench.bringer.asked == [result, result]


# --- results -------------------------------------------------------------------------------------


def _remote(id=7, **more):
    bringer = Bringer()
    return RemoteResult(bringer, done(id), **more), bringer


def test_a_result_is_fetched_once_for_all_who_wait():
    result, bringer = _remote()
    heard = []
    result.bring(lambda: heard.append(1))
    result.bring(lambda: heard.append(2))
    assert bringer.asked == [result]
    result.brought(pickle.dumps(5))
    assert heard == [1, 2]
    assert result.load() == 5


def test_each_load_is_the_callers_own():
    result, bringer = _remote()
    with ThreadPoolExecutor(1) as pool:
        for value in ([1], [2]):
            loading = pool.submit(result.load, 5)
            while len(bringer.asked) < value[0]:
                pass
            result.brought(pickle.dumps(value))
            assert loading.result(5) == value


def test_who_waits_for_a_result_that_is_gone_hears_why():
    result, _ = _remote()
    heard = []
    result.bring(lambda: heard.append(1))
    result.gone(lambda: ResultLost("it fell"))
    assert heard == [1]
    with pytest.raises(ResultLost, match="it fell"):
        result.load()


def test_what_has_been_brought_is_good_though_the_rest_is_gone():
    result, _ = _remote()
    result.bring(lambda: None)
    result.brought(pickle.dumps(5))
    result.gone(lambda: ResultLost("it fell"))
    assert result.load() == 5
    with pytest.raises(ResultLost):
        result.load()


def test_what_is_at_home_is_loaded_as_often_as_one_likes():
    result, _ = _remote()
    assert not result.stay()
    result.brought(pickle.dumps([5]))
    assert result.stay()
    first, second = result.load(), result.load()
    assert first == second == [5]
    assert first is not second


def test_a_timeout_covers_the_way_here():
    result, _ = _remote()
    with pytest.raises(TimeoutError):
        result.load(0.01)


def test_rows_that_come_again_in_other_parts_are_one_list():
    bringer = Bringer()
    result = RemoteResult(bringer, done(10, rows=3), listed=True)
    result.lost()
    heard = []
    result.bring(lambda: heard.append(1))
    rows = [pickle.dumps(n) for n in range(3)]
    result.found(wire.Done(12, 1, "int", ("w",), inline=rows[2]))
    assert heard == []
    result.found(wire.Done(10, 1, "int", ("w",), inline=MSGPACK.encode(rows[:2]), rows=2))
    assert heard == [1]
    assert result.load(1) == [0, 1, 2]


def test_one_row_and_several_are_told_apart():
    one = pickle.dumps("x")
    assert rows_of(one) == [one]
    assert rows_of(MSGPACK.encode([one, one])) == [one, one]
    many = [one] * 70_000
    assert len(rows_of(MSGPACK.encode(many))) == 70_000
    assert value_of(MSGPACK.encode([one, one]), listed=True, writable=True) == ["x", "x"]


def test_an_inline_value_is_here():
    value = InlineValue(pickle.dumps(5), lambda fn: fn(), False, "int")
    heard = []
    value.bring(lambda: heard.append(1))
    assert (heard, value.is_near, value.load(), value.nbytes > 0) == ([1], True, 5, True)


# --- parcels -------------------------------------------------------------------------------------


class Memory:
    def __init__(self, packed):
        self.data = packed.to_bytes()
        self.spot = wire.Spot(1, 2, 0, len(self.data))
        self.open = True

    def close(self):
        self.open = False


def _parcels():
    return Parcels(Memory, lambda: 0)


def _packed(value):
    return pack(value, home=False)


def test_the_same_bytes_are_one_parcel_and_others_another():
    parcels = _parcels()
    first = parcels.keep(_packed("x" * 1000), constant=None)
    assert parcels.keep(_packed("x" * 1000), constant=None) is first
    assert parcels.keep(_packed("y" * 1000), constant=None) is not first
    assert first.pins == 2


def test_a_constant_is_found_by_what_it_is():
    parcels = _parcels()
    constant = object()
    parcel = parcels.keep(_packed(5), constant=constant)
    assert parcels.find(constant) is parcel
    assert parcels.find(object()) is None


def test_a_parcel_that_nobody_names_is_kept_for_a_while():
    parcels = _parcels()
    first = parcels.keep(_packed(0), constant=None)
    parcels.unpin_later((first.id,))
    assert parcels.settle((), lambda id: False) == []
    assert parcels.keep(_packed(0), constant=None) is first
    parcels.unpin_later((first.id,))
    gone = []
    for n in range(1, 200):
        parcels.unpin_later((parcels.keep(_packed(n), constant=None).id,))
        gone += parcels.settle((), lambda id: False)
    assert first.id in gone
    assert not first.shared.open
    assert len(parcels.by_id) <= 64


def test_a_parcel_that_a_task_needs_stays():
    parcels = _parcels()
    parcel = parcels.keep(_packed(0), constant=None)
    parcels.unpin_later((parcel.id,))
    parcels.settle((), lambda id: True)
    for n in range(1, 200):
        parcels.unpin_later((parcels.keep(_packed(n), constant=None).id,))
        parcels.settle((), lambda id: id == parcel.id)
    assert parcel.shared.open


def test_at_the_end_all_memory_is_let_go_of():
    parcels = _parcels()
    mine = [parcels.new(_packed(n), "data") for n in range(3)]
    parcels.close()
    assert not any(parcel.shared.open for parcel in mine)
