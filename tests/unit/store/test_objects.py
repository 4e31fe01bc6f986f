"""The objects of a worker, in memory."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from tests.leaks import open_descriptors
from treadle.serialize import Packed, pack, unpack
from treadle.store import _memory, objects
from treadle.store.mapping import Mapper, Shared
from treadle.store.objects import INLINE_BYTES, ObjectStore
from treadle.wire import Spot

SMALL, LARGE = 10_000, (1 << 20) + 1
BOTH = pytest.mark.parametrize("nbytes", [SMALL, LARGE])


@pytest.fixture(autouse=True)
def nothing_left():
    before = open_descriptors()
    yield
    left = {n: found for n, found in open_descriptors().items() if before.get(n) != found}
    assert left == {}


@pytest.fixture
def store(tmp_path):
    store = ObjectStore(str(tmp_path / "spill"), recycle_bytes=4 * LARGE)
    yield store
    store.close()


@pytest.fixture
def slot():
    mapper = Mapper()
    yield mapper
    mapper.close()


def make(store, slot, key, content, number=0):
    """What an agent and a slot do with a result."""
    spot = store.allocate(len(content), number)
    slot.write(spot, Packed([content], len(content)))
    store.commit(key, spot, len(content))
    return spot


@BOTH
def test_what_a_slot_writes_others_read(store, slot, nbytes):
    make(store, slot, ("a", 1), b"x" * nbytes)
    assert store.nbytes == nbytes
    spot = store.supply(("a", 1))
    other = Mapper()
    assert other.open(spot) == b"x" * nbytes
    assert store.view(("a", 1)) == b"x" * nbytes
    store.discard(("a", 1))
    assert store.nbytes == 0
    assert ("a", 1) not in store
    other.close()


def test_a_few_bytes_are_kept_as_they_are(store):
    store.keep((1, 1), b"few")
    assert store.supply((1, 1)) == b"few"
    assert store.view((1, 1)) == b"few"
    assert (1, 1) in store
    assert store.segments == 0


def test_a_thousand_small_objects_share_descriptors(store, slot):
    before = len(open_descriptors())
    for i in range(1_000):
        make(store, slot, (i, 1), b"y" * (INLINE_BYTES + i))
    assert store.segments == 1
    assert len(open_descriptors()) <= before + 2
    assert slot.open(store.supply((999, 1))) == b"y" * (INLINE_BYTES + 999)


def test_memory_of_small_objects_is_given_back(store, slot):
    for i in range(100):
        make(store, slot, (i, 1), b"y" * 100_000)
    spot = store.supply((99, 1))
    occupied = os.stat(f"/proc/self/fd/{spot.fd}").st_blocks * 512
    for i in range(99):
        store.discard((i, 1))
    store._closer.close()
    assert occupied >= 10_000_000
    assert os.stat(f"/proc/self/fd/{spot.fd}").st_blocks * 512 <= 300_000
    assert slot.open(store.supply((99, 1))) == b"y" * 100_000


def test_a_full_segment_goes_with_its_last_object(store, slot, monkeypatch):
    monkeypatch.setattr(objects, "SEGMENT_BYTES", 100_000)
    for i in range(20):
        make(store, slot, (i, 1), b"y" * 30_000)
    assert store.segments == 7
    for i in range(20):
        store.discard((i, 1))
    assert store.segments == 1
    store.slot_gone(0)
    assert store.segments == 0


def test_an_empty_object_has_a_place_of_its_own(store):
    spots = [store.allocate(0, 0) for _ in range(3)]
    assert len({spot.offset for spot in spots}) == 3
    for i, spot in enumerate(spots):
        store.commit((i, 1), spot, 0)
    assert [len(store.view((i, 1))) for i in range(3)] == [0, 0, 0]


def test_an_object_may_turn_out_smaller_than_it_was_said_to_be(store, slot):
    spot = store.allocate(SMALL, 0)
    slot.write(spot, Packed([b"z" * 5000], 5000))
    store.commit((1, 1), spot, 5000)
    assert store.nbytes == 5000
    assert slot.open(store.supply((1, 1))) == b"z" * 5000


@BOTH
def test_more_than_was_allocated_is_refused(store, slot, nbytes):
    spot = store.allocate(nbytes, 0)
    with pytest.raises(ValueError, match="were granted"):
        slot.write(spot, Packed([bytes(nbytes + 1)], nbytes + 1))
    with pytest.raises(ValueError, match="were allocated"):
        store.commit((1, 1), spot, nbytes + 1)
    assert (1, 1) not in store
    assert store.nbytes == 0


def test_a_spot_is_committed_once(store):
    spot = store.allocate(SMALL, 0)
    store.commit((1, 1), spot, SMALL)
    with pytest.raises(ValueError, match="nothing was allocated"):
        store.commit((2, 1), spot, SMALL)
    store.abandon(spot)
    assert (1, 1) in store


@BOTH
def test_what_comes_twice_changes_nothing(store, slot, nbytes):
    make(store, slot, (1, 1), b"a" * nbytes)
    make(store, slot, (1, 1), b"b" * nbytes)
    store.keep((1, 1), b"c")
    view = store.receive((1, 1), nbytes)
    view[:] = b"d" * nbytes
    store.commit_received((1, 1))
    shared = Shared(Packed([b"e" * nbytes], nbytes))
    store.adopt((1, 1), shared.spot)
    shared.close()
    assert store.view((1, 1)) == b"a" * nbytes
    assert store.nbytes == nbytes


# --- memory that is written again ----------------------------------------------------------------


def test_memory_that_nobody_read_goes_back_to_its_slot(store, slot):
    other = Mapper()
    mine = make(store, slot, (1, 1), b"1" * LARGE, 0)
    theirs = make(store, other, (2, 1), b"2" * LARGE, 1)
    store.discard((1, 1))
    store.discard((2, 1))
    assert make(store, other, (3, 1), b"3" * LARGE, 1).inode == theirs.inode
    assert make(store, slot, (4, 1), b"4" * LARGE, 0).inode == mine.inode
    assert slot.open(store.supply((3, 1))) == b"3" * LARGE
    assert slot.open(store.supply((4, 1))) == b"4" * LARGE
    other.close()


def test_memory_that_is_written_a_third_time_is_still_mapped(store, slot):
    for i in range(4):
        make(store, slot, (i, 1), b"%d" % i * LARGE)
        assert len(slot._written) == (i > 0)
        assert store.view((i, 1)) == b"%d" % i * LARGE
        store.discard((i, 1))
    assert store.segments == 1


def test_memory_that_was_supplied_is_never_written_again(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    seen = slot.open(store.supply((1, 1)))
    store.discard((1, 1))
    make(store, slot, (2, 1), b"2" * LARGE)
    assert seen == b"1" * LARGE


def test_a_slot_reads_what_it_wrote_from_the_map_it_has(store, slot):
    for i in range(3):
        make(store, slot, (i, 1), b"%d" % i * LARGE)
        if i < 2:
            store.discard((i, 1))
    view = slot.open(store.supply((2, 1)))
    assert slot._written == {}
    assert view.readonly
    store.discard((2, 1))
    make(store, slot, (3, 1), b"3" * LARGE)
    assert view == b"2" * LARGE
    assert slot.open(store.supply((3, 1))) == b"3" * LARGE


def test_memory_of_which_there_is_a_view_is_not_written_again(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    view = store.view((1, 1))[5:10]
    store.discard((1, 1))
    make(store, slot, (2, 1), b"2" * LARGE)
    assert view == b"11111"


def test_memory_of_which_there_was_a_view_is(store, slot):
    spot = make(store, slot, (1, 1), b"1" * LARGE)
    assert store.view((1, 1))[5:10] == b"11111"
    store.discard((1, 1))
    assert make(store, slot, (2, 1), b"2" * LARGE).inode == spot.inode


def test_what_waits_to_be_written_again_is_bounded(store, slot):
    for i in range(8):
        make(store, slot, (i, 1), b"1" * LARGE)
    for i in range(8):
        store.discard((i, 1))
    assert 3 * LARGE <= store.recycled_bytes <= 4 * LARGE
    assert store.segments == 3


def test_memory_much_too_large_is_not_written_again(store, slot):
    make(store, slot, (1, 1), b"1" * 2 * LARGE)
    store.discard((1, 1))
    make(store, slot, (2, 1), b"2" * LARGE)
    assert store.segments == 2


def test_maps_of_memory_that_the_store_let_go_of_are_let_go_of(store, slot):
    for i in range(3):
        make(store, slot, (i, 1), b"1" * LARGE)
        store.discard((i, 1))
    assert len(slot._written) == 1
    slot.trim()
    assert len(slot._written) == 1
    store.slot_gone(0)
    store._closer.close()
    slot.trim()
    assert slot._written == {}


def test_what_stays_mapped_to_be_written_is_bounded(store):
    slot = Mapper(written_bytes=3 * LARGE)
    for _ in range(3):
        for i in range(4):
            make(store, slot, (i, 1), b"1" * LARGE)
        for i in range(4):
            store.discard((i, 1))
    assert 0 < sum(map(len, slot._written.values())) <= 3 * LARGE
    slot.close()


# --- slots end -----------------------------------------------------------------------------------


@BOTH
def test_what_a_slot_had_not_committed_is_gone_with_it(store, slot, nbytes):
    spot = store.allocate(nbytes, 0)
    kept = store.allocate(nbytes, 1)
    make(store, slot, (1, 1), b"1" * nbytes)
    store.slot_gone(0)
    with pytest.raises(ValueError, match="its slot may have ended"):
        store.commit((2, 1), spot, nbytes)
    store.commit((3, 1), kept, nbytes)
    assert slot.open(store.supply((1, 1))) == b"1" * nbytes


def test_nothing_is_kept_for_a_slot_that_has_ended(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    store.discard((1, 1))
    assert store.recycled_bytes
    store.slot_gone(0)
    assert store.recycled_bytes == 0
    assert store.segments == 0


# --- readers -------------------------------------------------------------------------------------


def test_maps_hold_no_descriptors(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    spot = store.supply((1, 1))
    before = len(open_descriptors())
    views = [slot.open(spot, writable=bool(i % 2)) for i in range(50)]
    assert len(open_descriptors()) == before
    assert len(views) == 50


def test_a_shared_map_is_mapped_once_and_goes_with_its_last_reader(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    spot = store.supply((1, 1))
    first, second = slot.open(spot), slot.open(spot)
    assert first.obj is second.obj
    assert len(slot._read) == 1
    del first, second
    assert len(slot._read) == 0


def test_a_private_map_is_changed_for_its_reader_alone(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    spot = store.supply((1, 1))
    mine, shared = slot.open(spot, writable=True), slot.open(spot)
    mine[:3] = b"own"
    assert shared[:3] == b"111"
    assert slot.open(spot, writable=True)[:3] == b"111"


def test_a_small_object_is_the_readers_own(store, slot):
    make(store, slot, (1, 1), b"1" * SMALL)
    view = slot.open(store.supply((1, 1)))
    view[:3] = b"own"
    assert slot.open(store.supply((1, 1)))[:3] == b"111"


@BOTH
def test_who_comes_too_late_is_told(store, slot, nbytes):
    make(store, slot, (1, 1), b"1" * nbytes)
    make(store, slot, (2, 1), b"2" * nbytes)
    spot = store.supply((1, 1))
    store.discard((1, 1))
    store._closer.close()
    make(store, slot, (3, 1), b"3" * nbytes)
    with pytest.raises(OSError) as caught:
        slot.open(spot)
    assert caught.value.errno in (errno.ESTALE, errno.ENOENT)


def test_who_comes_while_the_memory_is_given_back_is_told(store, slot):
    make(store, slot, (1, 1), b"1" * 60_000)  # its range is the first of the next one's, too
    make(store, slot, (2, 1), b"2" * 300_000)
    spot = store.supply((2, 1))
    store.discard((2, 1))
    with pytest.raises(OSError, match="there no longer"):
        slot.open(spot)
    assert store.view((1, 1)) == b"1" * 60_000


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"inode": 1}, "there no longer"),
        ({"nbytes": 1 << 40}, "bytes only"),
        ({"fd": 9999}, "No such file"),
    ],
)
def test_a_spot_that_is_wrong_is_refused(store, slot, change, text):
    make(store, slot, (1, 1), b"1" * LARGE)
    spot = store.supply((1, 1))
    wrong = Spot(**{**{f: getattr(spot, f) for f in spot.__struct_fields__}, **change})
    with pytest.raises(OSError, match=text):
        slot.open(wrong)


def test_a_spot_that_names_a_pipe_makes_nobody_wait(store, slot):
    read, write = os.pipe()
    try:
        with pytest.raises(OSError):
            slot.open(Spot(os.getpid(), read, 0, LARGE))
        with pytest.raises(OSError):
            store.adopt((1, 1), Spot(os.getpid(), write, 0, LARGE))
    finally:
        os.close(read)
        os.close(write)


# --- what comes from elsewhere -------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [10, SMALL, LARGE])
def test_what_comes_in_is_there_once_all_of_it_is(store, slot, nbytes):
    view = store.receive((1, 1), nbytes)
    assert (1, 1) not in store
    view[:] = b"r" * nbytes
    store.commit_received((1, 1))
    assert store.view((1, 1)) == b"r" * nbytes
    found = store.supply((1, 1))
    assert (found if isinstance(found, bytes) else slot.open(found)) == b"r" * nbytes


@pytest.mark.parametrize("nbytes", [10, SMALL, LARGE])
def test_what_does_not_come_in_is_given_up(store, nbytes):
    view = store.receive((1, 1), nbytes)
    store.discard((1, 1))
    view[:2] = b"ok"  # the rest of it may still be on its way
    with pytest.raises(KeyError):
        store.commit_received((1, 1))
    assert store.nbytes == 0


@BOTH
def test_memory_of_another_process_is_taken_over(store, slot, nbytes):
    shared = Shared(Packed([b"s" * nbytes], nbytes))
    store.adopt((1, 1), shared.spot)
    shared.close()
    assert slot.open(store.supply((1, 1))) == b"s" * nbytes
    assert store.view((1, 1)) == b"s" * nbytes
    store.discard((1, 1))
    assert store.segments <= 1


def test_memory_that_is_taken_over_cannot_change_any_more(store):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(fd, b"t" * LARGE)
        store.adopt((1, 1), Spot(os.getpid(), fd, 0, LARGE))
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 10)
        with pytest.raises(PermissionError):
            os.pwrite(fd, b"u", 0)
    finally:
        os.close(fd)


def test_memory_that_its_maker_still_maps_cannot_shrink_nor_be_mapped_again(store):
    fd = os.memfd_create("test", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    try:
        os.write(fd, b"t" * LARGE)
        mapped = _memory.map_memory(fd, LARGE, access="write")
        store.adopt((1, 1), Spot(os.getpid(), fd, 0, LARGE))
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 10)
        with pytest.raises(OSError):
            _memory.map_memory(fd, LARGE, access="write")
        mapped.close()
    finally:
        os.close(fd)


def test_memory_that_cannot_be_sealed_is_refused(store, tmp_path):
    fd = os.memfd_create("test", os.MFD_CLOEXEC)  # without MFD_ALLOW_SEALING
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    try:
        for number in (fd, file):
            os.write(number, b"t" * LARGE)
            with pytest.raises(OSError):
                store.adopt((1, 1), Spot(os.getpid(), number, 0, LARGE))
            assert (1, 1) not in store
        assert store.segments == 0
    finally:
        os.close(fd)
        os.close(file)


def test_several_objects_of_one_piece_of_memory_are_taken_over(store, slot):
    whole = Shared(Packed([b"a" * 4096, b"b" * LARGE, b"c" * LARGE], 4096 + 2 * LARGE))
    spot = whole.spot
    for i, (offset, letter) in enumerate([(4096, b"b"), (4096 + LARGE, b"c")]):
        part = Spot(spot.pid, spot.fd, offset, LARGE, spot.inode)
        store.adopt((i, 1), part)
        view = slot.open(store.supply((i, 1)))
        assert view == letter * LARGE
        assert store.view((i, 1)) == letter * LARGE
        mine = slot.open(store.supply((i, 1)), writable=True)
        mine[:2] = b"ok"
    whole.close()


# --- limits --------------------------------------------------------------------------------------


def test_our_own_memory_cannot_change_its_size(store, slot):
    spot = make(store, slot, (1, 1), b"1" * LARGE)
    assert fcntl.fcntl(spot.fd, fcntl.F_GET_SEALS) == fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW
    with pytest.raises(PermissionError):
        os.ftruncate(spot.fd, 0)


def test_where_descriptors_are_few_large_objects_share_them_too(store, slot):
    store._roomy = 3
    seen = []
    for i in range(20):
        make(store, slot, (i, 1), b"%c" % (65 + i) * LARGE)
        seen.append(slot.open(store.supply((i, 1))))
    assert store.segments <= 5
    for i in range(20):
        store.discard((i, 1))
    store._closer.close()
    for i, view in enumerate(seen):
        assert view == b"%c" % (65 + i) * LARGE


def test_objects_beyond_4_gib_have_room():
    store = ObjectStore()
    try:
        nbytes = (5 << 30) + 3  # never written, so it occupies nothing
        spot = store.allocate(nbytes, 0)
        assert os.fstat(spot.fd).st_size >= nbytes
        with open(f"/proc/self/fd/{spot.fd}", "r+b", buffering=0) as file:
            file.seek(nbytes - 3)
            file.write(b"end")
        store.commit((1, 1), spot, nbytes)
        reader = Mapper()
        assert reader.open(store.supply((1, 1)))[-3:] == b"end"
        assert store.view((1, 1))[-3:] == b"end"
    finally:
        store.close()


def test_a_closed_store_has_no_room(store):
    store.close()
    with pytest.raises(OSError, match="closed"):
        store.allocate(10, 0)


def test_readers_keep_what_they_have_when_the_store_is_closed(store, slot):
    make(store, slot, (1, 1), b"1" * LARGE)
    view = slot.open(store.supply((1, 1)))
    store.close()
    assert view == b"1" * LARGE


def test_the_limit_of_descriptors_is_raised_to_what_is_allowed():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lower = min(soft, 1024)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lower, hard))
    try:
        assert objects.raise_descriptor_limit() == lower
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# --- without memfds ------------------------------------------------------------------------------


def test_files_take_the_place_of_memfds(tmp_path):
    folder = tmp_path / "memory"
    folder.mkdir()
    store, slot = ObjectStore(directory=str(folder)), Mapper(str(folder))
    for nbytes in (SMALL, LARGE):
        make(store, slot, (nbytes, 1), b"f" * nbytes)
        assert slot.open(store.supply((nbytes, 1))) == b"f" * nbytes
        shared = Shared(Packed([b"g" * nbytes], nbytes), str(folder))
        store.adopt((nbytes, 2), shared.spot)
        shared.close()
        assert slot.open(store.supply((nbytes, 2))) == b"g" * nbytes
    view = slot.open(store.supply((LARGE, 1)))
    slot.close()
    store.close()
    assert view == b"f" * LARGE
    assert list(folder.iterdir()) == []


def test_a_value_comes_through_the_store(store, slot):
    import numpy as np

    value = {"a": np.arange(500_000), "b": ["text", np.zeros(3)]}
    packed = pack(value, home=True)
    spot = store.allocate(packed.nbytes, 0)
    slot.write(spot, packed)
    store.commit((1, 1), spot, packed.nbytes)
    back = unpack(slot.open(store.supply((1, 1))), writable=False)
    assert (back["a"] == value["a"]).all()
    assert not back["a"].flags.writeable
    store.discard((1, 1))
    assert (back["a"] == value["a"]).all()
