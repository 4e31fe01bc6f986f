"""Values with large buffers as bytes, and back."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest

from treadle.errors import DeserializationError, SerializationError
from treadle.serialize import dumps, loads, pack, unpack
from treadle.serialize._buffers import ALIGNMENT, IN_BAND_BYTES, layout

SMALL = [
    *(None, True, 0, -5, 1.5, "", "text", b"", b"bytes", (), [], {}, (1, "a"), [None], {"a": 1}),
    *({"nested": [1, {2: (3, b"4")}]}, {1, 2}, 10**30, 1 + 2j, frozenset({1}), range(5)),
]
LARGE = 10 * IN_BAND_BYTES


def there_and_back(value, *, home=True, writable=False):
    packed = pack(value, home=home)
    data = packed.to_bytes()
    assert len(data) == packed.nbytes
    memory = bytearray(packed.nbytes + 3)
    packed.write_into(memoryview(memory))
    assert memory == data + b"\0\0\0"
    return unpack(data, writable=writable)


@pytest.mark.parametrize("home", [True, False])
@pytest.mark.parametrize("value", SMALL, ids=repr)
def test_a_small_value_is_a_plain_pickle(value, home):
    data = pack(value, home=home).to_bytes()
    assert data[0] == 0x80
    assert loads(data) == value
    assert unpack(data, writable=False) == value


@pytest.mark.parametrize("home", [True, False])
def test_what_dumps_makes_can_be_unpacked(home):
    value = {"a": [1, 2, lambda x: x + 1]}
    assert unpack(dumps(value), writable=False)["a"][2](1) == 2
    assert there_and_back(value, home=home)["a"][2](1) == 2


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["u1", "f8", "c16", [("a", "i4"), ("b", "f8")]])
def test_an_array_comes_back_and_looks_at_the_bytes(order, dtype):
    array = np.zeros((100, 500), dtype=dtype, order=order)
    array.reshape(-1, order="A").view("u1")[:] = 7
    data = pack(array, home=True).to_bytes()
    assert data[0] != 0x80
    back = unpack(data, writable=False)
    assert back.dtype == array.dtype
    assert back.flags.f_contiguous == array.flags.f_contiguous
    assert (back.reshape(-1, order="A").view("u1") == 7).all()
    start = np.frombuffer(data, "u1").__array_interface__["data"][0]
    assert start < back.__array_interface__["data"][0] < start + len(data)


def test_arrays_without_the_buffer_protocol_come_back():
    times = np.arange(LARGE).astype("M8[s]")
    assert (there_and_back(times) == times).all()
    things = np.array([{"a": 1}, "b", None] * 10, dtype=object)
    assert (there_and_back(things) == things).all()


def test_buffers_start_on_cache_lines():
    arrays = [np.full(IN_BAND_BYTES + i, i, "u1") for i in range(70)]
    memory = np.zeros(pack(arrays, home=True).nbytes + ALIGNMENT, "u1")
    skip = -memory.__array_interface__["data"][0] % ALIGNMENT
    view = memoryview(memory)[skip : skip + memory.nbytes - ALIGNMENT]
    pack(arrays, home=True).write_into(view)
    back = unpack(view, writable=True)
    for array, found in zip(arrays, back, strict=True):
        assert found.__array_interface__["data"][0] % ALIGNMENT == 0
        assert (found == array).all()


def test_arrays_are_read_only_unless_they_are_wanted_writable():
    array = np.arange(LARGE, dtype="u1")
    data = pack(array, home=True).to_bytes()
    with pytest.raises(ValueError, match="read-only"):
        unpack(data, writable=False)[0] = 9
    own = unpack(data, writable=True)
    own[0] = 9
    assert own[0] == 9
    assert unpack(data, writable=False)[0] == 0


def test_writable_arrays_write_to_memory_that_may_be_written_to():
    memory = bytearray(pack(np.zeros(LARGE, "u1"), home=True).to_bytes())
    unpack(memory, writable=True)[:] = 5
    assert memory.count(5) >= LARGE
    with pytest.raises(ValueError, match="read-only"):
        unpack(memory, writable=False)[0] = 9


def test_an_array_that_was_read_only_stays_so():
    array = np.zeros(LARGE, "u1")
    array.flags.writeable = False
    assert not there_and_back(array, writable=True).flags.writeable


@pytest.mark.parametrize("size", [0, 1, IN_BAND_BYTES - 1])
def test_small_buffers_are_in_the_pickle_and_their_arrays_writable(size):
    back = there_and_back([np.ones(size, "u1"), bytearray(size)])
    back[0][:] = 3
    assert (back[0] == 3).all()
    assert back[1] == bytearray(size)


def test_arrays_that_are_not_contiguous_come_back():
    array = np.arange(100_000).reshape(100, 10, 100)
    for part in (array[::2], array[:, ::3], array.transpose(1, 2, 0), array[::-1], array[..., 5]):
        assert (there_and_back(part) == part).all()


def test_no_large_value_is_copied_before_it_is_written():
    array, text, data, own = np.zeros(LARGE, "u1"), "x" * 99_999, b"y" * 99_999, bytearray(99_999)
    pieces = pack([array, text, data, own], home=True).pieces
    assert any(piece is data for piece in pieces)
    assert any(piece is own for piece in pieces)
    addresses = [np.frombuffer(p, "u1").__array_interface__["data"][0] for p in pieces if len(p)]
    assert array.__array_interface__["data"][0] in addresses


def test_raw_buffers_come_back_as_views():
    back = there_and_back(
        [pickle.PickleBuffer(b"r" * LARGE), pickle.PickleBuffer(bytearray(LARGE))]
    )
    assert bytes(back[0]) == b"r" * LARGE
    assert bytes(back[1]) == bytes(LARGE)


def test_what_is_there_twice_is_written_once():
    array = np.zeros(LARGE, "u1")
    packed = pack([array, array, {"again": array}], home=True)
    assert packed.nbytes < 2 * LARGE
    back = unpack(packed.to_bytes(), writable=False)
    assert back[0] is back[1] is back[2]["again"]


class Frame:
    """A class of this module, which is imported by name."""

    def __init__(self, columns):
        self.columns = columns

    def __reduce_ex__(self, protocol):
        return Frame, ({k: pickle.PickleBuffer(v) for k, v in self.columns.items()},)


def test_buffers_of_users_classes_are_left_out_too():
    data = pack(Frame({"a": b"1" * LARGE, "b": b"2" * 5}), home=True).to_bytes()
    back = unpack(data, writable=False)
    assert bytes(back.columns["a"]) == b"1" * LARGE
    assert bytes(back.columns["b"]) == b"2" * 5


def test_by_value_arrays_of_closures_are_left_out():
    array = np.arange(LARGE, dtype="u1")
    packed = pack(lambda: array, home=False)
    assert any(len(piece) == LARGE for piece in packed.pieces)
    assert (unpack(packed.to_bytes(), writable=False)() == array).all()


# --- references ----------------------------------------------------------------------------------


class Ref:
    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        raise TypeError("a reference is no value")


def reference(obj):
    return ("ref", obj.number) if isinstance(obj, Ref) else None


@pytest.mark.parametrize("home", [True, False])
@pytest.mark.parametrize("size", [10, LARGE])
def test_what_has_a_persistent_id_is_asked_for(home, size):
    value = [Ref(1), np.zeros(size, "u1"), (Ref(2), lambda: 5)]
    data = pack(value, home=home, persistent_id=reference).to_bytes()
    back = unpack(data, writable=False, persistent_load=lambda pid: f"{pid[0]} {pid[1]}")
    assert back[0] == "ref 1"
    assert back[2][0] == "ref 2"
    assert back[2][1]() == 5
    with pytest.raises(DeserializationError):
        unpack(data, writable=False)


def test_a_plain_value_may_have_a_persistent_id_too():
    data = pack("big", home=True, persistent_id=lambda obj: 7 if obj == "big" else None).to_bytes()
    assert unpack(data, writable=False, persistent_load=lambda pid: pid + 1) == 8


# --- what goes wrong -----------------------------------------------------------------------------


def test_what_cannot_be_pickled_is_named_by_its_path():
    import threading

    def makes_locks():
        return None

    value = {"good": np.zeros(LARGE), "bad": [1, {"lock": threading.Lock()}]}
    with pytest.raises(SerializationError) as caught:
        pack(value, home=True, func=makes_locks)
    assert caught.value.path == "['bad'][1]['lock']"
    assert "makes_locks" in str(caught.value)


def test_what_is_nested_too_deeply_is_an_error():
    value = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(SerializationError, match="too deeply"):
        pack(value, home=True)


GOOD = pack({"a": np.arange(LARGE, dtype="u1"), "b": "text"}, home=True).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"\0" * 100, b"\x80", b"\x80\x05", b"nonsense", GOOD[:1], GOOD[:23], GOOD[:40]),
        *(GOOD[:-1], GOOD + b"\0", b"X" + GOOD[1:], pickle.dumps([1, 2])[:-3]),
        GOOD[:4] + struct.pack("<I", 2**32 - 1) + GOOD[8:],
        GOOD[:8] + struct.pack("<Q", 2**63) + GOOD[16:],
        GOOD[:24] + struct.pack("<Q", 2**63) + GOOD[32:],
        GOOD[:24] + struct.pack("<Q", LARGE - 1) + GOOD[32:],
        GOOD[:4] + struct.pack("<I", 0) + GOOD[8:],
    ],
    ids=range(17),
)
def test_damaged_bytes_are_an_error(data):
    with pytest.raises(DeserializationError, match=f"the {len(data)} bytes of a value"):
        unpack(data, writable=False)


def test_bytes_that_lost_their_buffers_are_an_error():
    pickled = pickle.dumps(np.zeros(LARGE), 5, buffer_callback=lambda _: None)
    with pytest.raises(DeserializationError):
        unpack(pickled, writable=False)


def test_random_damage_never_crashes(rng):
    survived = 0
    for _ in range(300):
        data = bytearray(GOOD[:300] + GOOD[-100:])
        data[8 + 8 : 24] = struct.pack("<Q", len(data))
        data[24:32] = struct.pack("<Q", 0)
        data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            unpack(data, writable=False)
            survived += 1
        except DeserializationError:
            pass
    assert survived < 300


def test_an_interrupt_is_no_damage():
    def interrupted(pid):
        raise KeyboardInterrupt

    data = pack([Ref(1)], home=True, persistent_id=reference).to_bytes()
    with pytest.raises(KeyboardInterrupt):
        unpack(data, writable=False, persistent_load=interrupted)


# --- sizes beyond what a test can hold -----------------------------------------------------------


def test_the_arithmetic_holds_beyond_4_gib():
    lengths, offsets, total = layout(100, [5 << 30, 3, (1 << 40) + 1])
    assert lengths == [5 << 30, 3, (1 << 40) + 1]
    assert all(offset % ALIGNMENT == 0 for offset in offsets)
    assert offsets[1] >= offsets[0] + (5 << 30)
    assert offsets[2] >= offsets[1] + 3
    assert total == offsets[2] + (1 << 40) + 1


def test_a_head_tells_of_buffers_beyond_4_gib():
    import mmap

    nbytes = (4 << 30) + 12_345
    # Never touched, so it occupies nothing.
    huge = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    packed = pack(pickle.PickleBuffer(huge), home=True)
    assert packed.nbytes > nbytes
    head = b"".join(bytes(piece) for piece in packed.pieces if len(piece) < 1000)
    target = mmap.mmap(-1, packed.nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)
    target[: len(head)] = head
    back = unpack(memoryview(target), writable=False)
    assert len(back) == nbytes
    back.release()
    packed.pieces = ()


def test_many_buffers_cost_little_more_than_themselves():
    arrays = [np.zeros(IN_BAND_BYTES, "u1")[:] for _ in range(2_000)]
    packed = pack(arrays, home=True)
    assert packed.nbytes < 2_000 * (IN_BAND_BYTES + 200)
    back = unpack(packed.to_bytes(), writable=False)
    assert len(back) == 2_000
