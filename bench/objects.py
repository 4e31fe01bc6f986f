"""What values cost on their way through shared memory: `scripts/bench objects`.

Writing, mapping and loading of an array, packing of small values, and the memory of a million of
them; beside NumPy, pickle and `multiprocessing.shared_memory` in the same run. Prints tables and
writes them into `bench/results/`.
"""

from __future__ import annotations

import argparse
import pickle
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from _clock import memory_bytes
from _machine import facts
from treadle.cluster._values import load
from treadle.serialize import pack, unpack
from treadle.store.mapping import Mapper
from treadle.store.objects import ObjectStore

RESULTS = Path(__file__).parent / "results"

#: How often what takes microseconds is done in one measurement.
AGAIN = 50

#: What is done before each measurement, and what is measured.
Case = tuple[str, Callable[[], object], Callable[[], object]]


def best_s(cases: list[Case], repeats: int) -> dict[str, float]:
    """The best time of each case, in passes over all of them."""
    best: dict[str, float] = {}
    for _ in range(repeats):
        for name, prepare, act in cases:
            prepare()
            started = time.perf_counter()
            act()
            took = time.perf_counter() - started
            best[name] = min(best.get(name, took), took)
    return best


class Large:
    """An array on its way through a store, and through what the standard library has."""

    def __init__(self, nbytes: int, spill_dir: str) -> None:
        self.array = np.random.default_rng(0).random(nbytes // 8)
        self.target = np.zeros_like(self.array)
        self.store, self.slot = ObjectStore(spill_dir, recycle_bytes=4 * nbytes), Mapper()
        self.reader = Mapper()
        self.serial = 0
        self.peer: shared_memory.SharedMemory | None = None
        self.pickled = pickle.dumps(self.array, 5)
        self.spot = None

    def put(self) -> None:
        """What a slot and its agent do with a result."""
        self.serial += 1
        packed = pack(self.array, home=True)
        spot = self.store.allocate(packed.nbytes, 0)
        self.slot.write(spot, packed)
        self.store.commit((self.serial, 1), spot, packed.nbytes)

    def forget(self, *, read: bool) -> None:
        """Let go of the last; `read`: somebody was told of it, so its memory goes, too."""
        if self.serial:
            if read:
                self.store.supply((self.serial, 1))
            self.store.discard((self.serial, 1))
        self.store._closer.close()

    def prepare_fresh(self) -> None:
        self.forget(read=True)
        self.store.slot_gone(0)
        self.store._closer.close()
        self.slot = Mapper()

    def prepare_again(self) -> None:
        self.slot = Mapper(written_bytes=1 << 40)
        for _ in range(3):
            self.forget(read=False)
            self.put()
        self.forget(read=False)

    def prepare_read(self) -> None:
        self.loaded = None
        self.prepare_fresh()
        self.put()

    def map_and_load(self) -> None:
        self.loaded = load(self.reader, self.store.supply((self.serial, 1)))

    def map_and_load_often(self) -> None:
        for _ in range(AGAIN):
            self.loaded = None
            self.map_and_load()

    def peer_attach_often(self) -> None:
        for _ in range(AGAIN):
            self.peer_attach()

    def peer_new(self) -> None:
        self.peer_end()
        self.peer = shared_memory.SharedMemory(create=True, size=self.array.nbytes)

    def peer_write(self) -> None:
        assert self.peer is not None
        np.ndarray(self.array.shape, self.array.dtype, self.peer.buf)[:] = self.array

    def peer_attach(self) -> None:
        assert self.peer is not None
        other = shared_memory.SharedMemory(self.peer.name)
        np.ndarray(self.array.shape, self.array.dtype, other.buf)
        other.close()

    def peer_end(self) -> None:
        if self.peer is not None:
            self.peer.close()
            self.peer.unlink()
            self.peer = None

    def close(self) -> None:
        self.peer_end()
        self.loaded = None
        self.store.close()
        self.slot.close()
        self.reader.close()


def nothing() -> None:
    pass


def large(options: argparse.Namespace) -> Iterator[str]:
    nbytes = options.megabytes * 10**6
    with TemporaryDirectory() as folder:
        it = Large(nbytes, folder)

        def peer_used() -> None:
            it.peer_new()
            it.peer_write()

        writes = best_s(
            [
                ("numpy: into memory that it has", nothing, lambda: np.copyto(it.target, it.array)),
                ("numpy: into fresh memory", nothing, lambda: it.array.copy()),
                ("shared_memory: fresh", it.peer_new, it.peer_write),
                ("shared_memory: used before", peer_used, it.peer_write),
                ("treadle: fresh", it.prepare_fresh, it.put),
                ("treadle: recycled", it.prepare_again, it.put),
            ],
            options.repeat,
        )
        yield f"\n| a result of {options.megabytes} MB is written | GB/s | of the copy in memory |"
        yield "|---|---:|---:|"
        copy = writes["numpy: into memory that it has"]
        for name, took in writes.items():
            yield f"| {name} | {nbytes / took / 1e9:.1f} | {copy / took:.2f} |"
        it.peer_new()
        it.peer_write()
        reads = best_s(
            [
                (
                    "treadle: map and unpack, processor's caches cold",
                    it.prepare_read,
                    it.map_and_load,
                ),
                ("treadle: map, unpack and unmap, warm", nothing, it.map_and_load_often),
                ("shared_memory: attach, cold", it.prepare_read, it.peer_attach),
                ("shared_memory: attach and detach, warm", nothing, it.peer_attach_often),
                ("pickle: loads", nothing, lambda: pickle.loads(it.pickled)),
            ],
            options.repeat,
        )
        yield "\n| and read in another process | us |"
        yield "|---|---:|"
        for name, took in reads.items():
            yield f"| {name} | {1e6 * took / (AGAIN if 'warm' in name else 1):,.0f} |"
        key = (it.serial, 1)
        disk = best_s(
            [
                ("to disk", nothing, lambda: it.store.spill(key)),
                ("and back", nothing, lambda: it.store.restore(key)),
            ],
            min(options.repeat, 3),
        )
        yield "\n| treadle, a copy on disk with a checksum | GB/s |"
        yield "|---|---:|"
        for name, took in disk.items():
            yield f"| {name} | {nbytes / took / 1e9:.1f} |"
        it.close()


def each_us(act: Callable[[], object], count: int) -> float:
    """Microseconds of one, the best of five passes."""

    def many() -> None:
        for _ in range(count):
            act()

    return 1e6 * best_s([("it", nothing, many)], 5)["it"] / count


def small(options: argparse.Namespace) -> Iterator[str]:
    values = {
        "None": None,
        "an int": 7,
        "a dict of two": {"name": "value", "count": 3},
        "a nested list": [1, {"a": [2.0, "b"]}],
        "a NumPy array of 100": np.arange(100),
    }
    yield "\n| us | pack | pickle.dumps | unpack | pickle.loads |"
    yield "|---|---:|---:|---:|---:|"
    for name, value in values.items():
        data = pack(value, home=True).to_bytes()
        cells = [
            each_us(lambda v=value: pack(v, home=True), options.small),
            each_us(lambda v=value: pickle.dumps(v, 5), options.small),
            each_us(lambda d=data: unpack(d, writable=False), options.small),
            each_us(lambda d=data: pickle.loads(d), options.small),
        ]
        yield f"| {name} | {' | '.join(f'{cell:.2f}' for cell in cells)} |"
    yield "\n| us an object | allocate, write, commit | supply, load | discard |"
    yield "|---|---:|---:|---:|"
    for nbytes in (5_000, 100_000, 1_000_000):
        yield f"| array of {nbytes:,} bytes | {' | '.join(through_store(nbytes, options))} |"


def through_store(nbytes: int, options: argparse.Namespace) -> list[str]:
    store, slot, reader = ObjectStore(), Mapper(), Mapper()
    packed = pack(np.zeros(nbytes, "u1"), home=True)
    keys = [(i, 1) for i in range(max(options.small // (nbytes // 1000), 5))]

    def put() -> None:
        for key in keys:
            spot = store.allocate(packed.nbytes, 0)
            slot.write(spot, packed)
            store.commit(key, spot, packed.nbytes)

    def get() -> None:
        for key in keys:
            load(reader, store.supply(key))

    def drop() -> None:
        for key in keys:
            store.discard(key)

    best = best_s([("put", nothing, put), ("get", nothing, get), ("drop", nothing, drop)], 5)
    store.close()
    slot.close()
    reader.close()
    return [f"{1e6 * took / len(keys):.1f}" for took in best.values()]


def many(options: argparse.Namespace) -> Iterator[str]:
    """Small objects by the million: what they occupy beside a dict of the same bytes."""
    payload = bytes(range(1, 101))
    store = ObjectStore()
    before = memory_bytes()
    for i in range(options.objects):
        store.keep((1 << 40 | i, 1000 + i), payload[:-1] + b"%d" % (i % 10))
    ours = memory_bytes() - before
    store.close()
    before = memory_bytes()
    kept = {
        (1 << 40 | i, 1000 + i): payload[:-1] + b"%d" % (i % 10) for i in range(options.objects)
    }
    theirs = memory_bytes() - before
    yield f"\n| {options.objects:,} results of {len(payload)} bytes | bytes each |"
    yield "|---|---:|"
    yield f"| treadle | {ours / options.objects:.0f} |"
    yield f"| a dict of the same keys and bytes | {theirs / len(kept):.0f} |"


def report(options: argparse.Namespace) -> Iterator[str]:
    """The page, line by line, as the figures come in."""
    yield "# What values cost on their way through shared memory\n"
    for name, value in facts(shlex.join(["scripts/bench", "objects", *sys.argv[1:]])).items():
        yield f"- {name}: {value}"
    yield f"\nThe best of {options.repeat} passes over all rows of a table."
    yield from many(options)
    yield from large(options)
    yield from small(options)


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench objects", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100, help="size of the array (100)")
    parser.add_argument("--objects", type=int, default=1_000_000, help="small objects (1000000)")
    parser.add_argument("--small", type=int, default=20_000, help="times a small value (20000)")
    parser.add_argument("--repeat", type=int, default=10, help="passes of each (10)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where objects.md is written")
    options = parser.parse_args()
    if options.repeat < 1 or options.megabytes < 2 or options.objects < 1 or options.small < 1:
        parser.error("--megabytes must be at least 2, the other numbers at least 1")
    lines = []
    for line in report(options):
        print(line, flush=True)
        lines.append(line)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "objects.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
