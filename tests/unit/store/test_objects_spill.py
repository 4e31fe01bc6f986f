"""Objects of a worker that go to disk and come back."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from treadle.errors import StoreDamaged
from treadle.serialize import Packed
from treadle.store import _spill
from treadle.store._packing import Packing
from treadle.store.mapping import Mapper
from treadle.store.objects import ObjectStore

SIZES = [1, 5_000, (1 << 20) - 1, (2 << 20) + 5]
EACH_SIZE = pytest.mark.parametrize("nbytes", SIZES)


@pytest.fixture
def store(tmp_path):
    store = ObjectStore(str(tmp_path / "spill"))
    yield store
    store.close()


def content(nbytes):
    return (b"0123456789abcdefghijk" * (nbytes // 21 + 1))[:nbytes]


def put(store, key, data):
    store.receive(key, len(data))[:] = data
    store.commit_received(key)


@EACH_SIZE
def test_an_object_goes_to_disk_and_comes_back(store, nbytes):
    put(store, (1, 1), content(nbytes))
    store.spill((1, 1))
    assert (1, 1) in store
    assert (store.nbytes, store.spilled_bytes) == (0, nbytes)
    for ask in (store.supply, store.view):
        with pytest.raises(KeyError):
            ask((1, 1))
    store.restore((1, 1))
    assert (store.nbytes, store.spilled_bytes) == (nbytes, 0)
    assert store.view((1, 1)) == content(nbytes)


@EACH_SIZE
def test_an_object_can_be_discarded_on_disk(store, nbytes):
    put(store, (1, 1), content(nbytes))
    store.spill((1, 1))
    store.discard((1, 1))
    assert (1, 1) not in store
    assert store.spilled_bytes == 0


def test_to_spill_or_restore_what_is_not_there_is_nothing(store):
    store.spill((1, 1))
    store.restore((1, 1))
    put(store, (1, 1), b"x")
    store.restore((1, 1))
    store.spill((1, 1))
    store.spill((1, 1))
    assert store.spilled_bytes == 1


def test_files_have_no_names_and_the_directory_goes_with_the_store(store, tmp_path):
    put(store, (1, 1), content(10_000))
    store.spill((1, 1))
    assert list(tmp_path.rglob("*")) == [tmp_path / "spill"]
    store.close()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_was_there_stays(tmp_path):
    store = ObjectStore(str(tmp_path))
    put(store, (1, 1), b"x")
    store.spill((1, 1))
    store.close()
    assert tmp_path.is_dir()


def test_a_file_system_without_unnamed_files_will_do(store, tmp_path, monkeypatch):
    real = os.open

    def no_tmpfile(path, flags, *rest, **more):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not here")
        return real(path, flags, *rest, **more)

    monkeypatch.setattr(os, "open", no_tmpfile)
    put(store, (1, 1), content(10_000))
    store.spill((1, 1))
    assert list((tmp_path / "spill").iterdir()) == []
    store.restore((1, 1))
    assert store.view((1, 1)) == content(10_000)


def test_many_objects_share_a_file(store):
    for i in range(200):
        put(store, (i, 1), content(6_000 + i))
    before = len(os.listdir("/proc/self/fd"))
    for i in range(200):
        store.spill((i, 1))
    assert len(os.listdir("/proc/self/fd")) == before + 1
    for i in range(200):
        store.restore((i, 1))
        assert store.view((i, 1)) == content(6_000 + i)


def test_disk_is_given_back(store):
    for i in range(10):
        put(store, (i, 1), content(3 << 20))
        store.spill((i, 1))
    (file,) = store._files._files
    occupied = os.fstat(file.fd).st_blocks * 512
    for i in range(9):
        store.discard((i, 1))
    assert occupied >= 30 << 20
    assert os.fstat(file.fd).st_blocks * 512 <= 6 << 20
    store.restore((9, 1))
    assert store.view((9, 1)) == content(3 << 20)


def test_full_files_go_with_their_last_object(store, monkeypatch):
    monkeypatch.setattr(_spill, "FILE_BYTES", 100_000)
    monkeypatch.setattr(_spill, "SHARED_BYTES", 60_000)
    sizes = [30_000] * 10 + [70_000] * 3
    for i, nbytes in enumerate(sizes):
        put(store, (i, 1), content(nbytes))
        store.spill((i, 1))
    assert len(store._files._files) == 4 + 3
    for i, nbytes in enumerate(sizes):
        store.restore((i, 1))
        assert store.view((i, 1)) == content(nbytes)
    assert len(store._files._files) == 1


# --- what goes wrong -----------------------------------------------------------------------------


@EACH_SIZE
def test_what_the_disk_changed_is_not_given_out(store, nbytes):
    put(store, (1, 1), content(nbytes))
    store.spill((1, 1))
    (file,) = store._files._files
    os.pwrite(file.fd, b"\xff", nbytes // 2)
    with pytest.raises(StoreDamaged, match=f"an object of {nbytes} bytes came back"):
        store.restore((1, 1))
    assert store.spilled_bytes == nbytes
    store.discard((1, 1))
    assert (store.nbytes, store.spilled_bytes) == (0, 0)


def test_what_the_disk_lost_is_an_error(store):
    put(store, (1, 1), content(3 << 20))
    store.spill((1, 1))
    (file,) = store._files._files
    os.ftruncate(file.fd, 2 << 20)
    with pytest.raises(OSError, match="bytes are missing"):
        store.restore((1, 1))
    assert store.segments == store.recycled_bytes // (3 << 20)


@EACH_SIZE
def test_on_a_full_disk_the_object_stays_in_memory(store, nbytes, monkeypatch):
    put(store, (1, 1), content(nbytes))
    put(store, (2, 1), content(nbytes))
    store.spill((2, 1))
    real = os.pwritev
    left = [nbytes // 2]

    def full(fd, pieces, offset):
        if not left[0]:
            raise OSError(errno.ENOSPC, "no space left on device")
        written = real(fd, [memoryview(pieces[0])[: left[0]]], offset)
        left[0] -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(OSError, match="no space left"):
            store.spill((1, 1))
    assert store.view((1, 1)) == content(nbytes)
    assert (store.nbytes, store.spilled_bytes) == (nbytes, nbytes)
    store.spill((1, 1))
    for key in ((1, 1), (2, 1)):
        store.restore(key)
        assert store.view(key) == content(nbytes)


def test_without_a_directory_nothing_is_spilled():
    store = ObjectStore()
    store.keep((1, 1), b"x")
    with pytest.raises(OSError, match="no directory to spill to"):
        store.spill((1, 1))
    assert store.view((1, 1)) == b"x"
    store.close()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    store = ObjectStore(str(tmp_path / "file" / "spill"))
    store.keep((1, 1), b"x")
    with pytest.raises(OSError):
        store.spill((1, 1))
    assert store.nbytes == 1
    store.close()


# --- while it goes on ----------------------------------------------------------------------------


class Gate:
    """Stops who writes or reads a file until it is opened."""

    def __init__(self, monkeypatch, name):
        self.reached, self.go_on = threading.Event(), threading.Event()
        real = getattr(_spill, name)

        def wait(*arguments):
            self.reached.set()
            assert self.go_on.wait(10)
            return real(*arguments)

        monkeypatch.setattr(_spill, name, wait)


def run(function, *arguments):
    errors = []

    def target():
        try:
            function(*arguments)
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    return thread, errors


@EACH_SIZE
@pytest.mark.parametrize("end", ["discard", "close"])
def test_an_object_may_go_while_it_is_spilled(store, nbytes, end, monkeypatch):
    put(store, (1, 1), content(nbytes))
    gate = Gate(monkeypatch, "write_pieces")
    thread, errors = run(store.spill, (1, 1))
    assert gate.reached.wait(10)
    if end == "discard":
        store.discard((1, 1))
    else:
        store.close()
    gate.go_on.set()
    thread.join()
    assert errors == []
    assert (store.nbytes, store.spilled_bytes) == (0, 0)


@EACH_SIZE
@pytest.mark.parametrize("end", ["discard", "close"])
def test_an_object_may_go_while_it_is_restored(store, nbytes, end, monkeypatch):
    put(store, (1, 1), content(nbytes))
    store.spill((1, 1))
    gate = Gate(monkeypatch, "read_into")
    thread, errors = run(store.restore, (1, 1))
    assert gate.reached.wait(10)
    if end == "discard":
        store.discard((1, 1))
    else:
        store.close()
    gate.go_on.set()
    thread.join()
    assert all(isinstance(error, StoreDamaged) for error in errors)  # its disk was given back
    assert (store.nbytes, store.spilled_bytes) == (0, 0)


def test_others_are_served_while_objects_move(store, monkeypatch):
    put(store, (1, 1), content(2 << 20))
    gate = Gate(monkeypatch, "write_pieces")
    thread, errors = run(store.spill, (1, 1))
    assert gate.reached.wait(10)
    store.keep((2, 1), b"x")
    spot = store.allocate(2 << 20, 0)
    mapper = Mapper()
    mapper.write(spot, Packed([b"y" * (2 << 20)], 2 << 20))
    store.commit((3, 1), spot, 2 << 20)
    assert mapper.open(store.supply((3, 1)))[:1] == b"y"
    gate.go_on.set()
    thread.join()
    assert errors == []
    mapper.close()


def test_several_threads_spill_and_restore(store, rng):
    data = {(i, 1): content(rng.choice([10, 5_000, 70_000, 1_500_000])) for i in range(60)}
    for key, value in data.items():
        put(store, key, value)
    keys = list(data)

    def work(mine):
        for key in mine:
            store.spill(key)
        for key in mine:
            store.restore(key)

    threads = [run(work, keys[i::4]) for i in range(4)]
    for thread, _ in threads:
        thread.join()
    assert [errors for _, errors in threads if errors] == []
    for key, value in data.items():
        assert store.view(key) == value
    assert store.nbytes == sum(map(len, data.values()))
    assert store.spilled_bytes == 0


# --- which ranges are free -----------------------------------------------------------------------


def test_ranges_are_free_once_nothing_stands_in_them(rng):
    for _ in range(6):
        capacity, size = 60_000, rng.choice([256, 1000, 4096])
        packing = Packing(capacity, size, rng.choice([0, 4096]))
        placed, free, head = {}, set(), 0
        while True:
            nbytes = rng.choice([1, 64, 100, 3_000, 9_000])
            offset = packing.place(nbytes)
            if offset is None:
                break
            assert offset >= head
            assert offset % 64 == 0
            head = offset + nbytes
            placed[offset] = nbytes
            while placed and rng.random() < 0.6:
                gone = rng.choice(sorted(placed))
                packing.free(gone, placed.pop(gone))
            for start, length in packing.take_punchable():
                told = set(range(start, start + length))
                assert not told & free, "told twice"
                free |= told
            for start, length in placed.items():
                assert not free & set(range(start, start + length))
            assert not free or max(free) < head
        for gone in list(placed):
            packing.free(gone, placed.pop(gone))
        for start, length in packing.take_punchable():
            free |= set(range(start, start + length))
        assert packing.live == 0
        assert len(free) >= head // size * size - 4096 - size


def test_ranges_of_what_somebody_looks_at_stay():
    packing = Packing(100_000, 1000)
    first, second = packing.place(10_000), packing.place(10_000)
    packing.place(10_000)
    packing.free(first, 10_000, keep=True)
    packing.free(second, 10_000)
    told = packing.take_punchable()
    assert told
    assert min(start for start, _ in told) >= 10_000
