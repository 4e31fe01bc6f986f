"""Processes that share the memory of a store: an agent's, its slots', and the user's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.leaks import open_descriptors
from treadle.errors import DeserializationError
from treadle.serialize import pack, unpack
from treadle.store.mapping import Mapper
from treadle.store.objects import ObjectStore
from treadle.wire import Spot

#: A process that does what it is told, one line of JSON each, and answers with one.
PROGRAM = """
import json, os, signal, sys
import numpy as np
from treadle.cluster._values import load
from treadle.serialize import pack
from treadle.store.mapping import Mapper, Shared
from treadle.store.objects import ObjectStore
from treadle.wire import Spot

mapper, held, store = Mapper(), {}, None

def private_kb():
    for line in open("/proc/self/status"):
        if line.startswith("RssAnon"):
            return int(line.split()[1])

def tell(spot):
    return [spot.pid, spot.fd, spot.offset, spot.nbytes, spot.inode]

def do(command, *arguments):
    global store
    if command == "write":
        spot, number, count = arguments
        packed = pack(np.full(count, number, "u4"), home=True)
        mapper.write(Spot(*spot), packed)
        return packed.nbytes
    if command == "write_half_and_die":
        fd = os.open(f"/proc/{arguments[0][0]}/fd/{arguments[0][1]}", os.O_RDWR)
        os.pwrite(fd, b"half", arguments[0][2])
        os.kill(os.getpid(), signal.SIGKILL)
    if command == "load":
        name, spot, writable = arguments
        before = private_kb()
        value = held[name] = load(mapper, Spot(*spot), writable=writable)
        return [int(value.sum()), bool(value.flags.writeable), private_kb() - before]
    if command == "sum":
        return int(held[arguments[0]].sum())
    if command == "set":
        held[arguments[0]][:] = arguments[1]
        return None
    if command == "sum_in_child":
        read, write = os.pipe()
        pid = os.fork()
        if not pid:
            os.write(write, str(int(held[arguments[0]].sum())).encode())
            os._exit(0)
        os.close(write)
        text = os.read(read, 100)
        os.close(read)
        os.waitpid(pid, 0)
        return int(text)
    if command == "drop":
        held.pop(arguments[0])
        return None
    if command == "descriptors":
        return len(os.listdir("/proc/self/fd"))
    if command == "share":
        held[arguments[0]] = Shared(pack(np.full(arguments[2], arguments[1], "u4"), home=False))
        return tell(held[arguments[0]].spot)
    if command == "store":
        number, count = arguments
        store = ObjectStore()
        packed = pack(np.full(count, number, "u4"), home=True)
        spot = store.allocate(packed.nbytes, 0)
        mapper.write(spot, packed)
        store.commit((1, 1), spot, packed.nbytes)
        return tell(store.supply((1, 1)))

for line in sys.stdin:
    print(json.dumps(do(*json.loads(line))), flush=True)
"""

SMALL, LARGE = 5_000, 25_000_000
BOTH = pytest.mark.parametrize("count", [SMALL, LARGE // 10])


class Process:
    """One that runs the program above."""

    def __init__(self):
        self.popen = subprocess.Popen(
            [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self.popen.pid

    def do(self, *command):
        self.popen.stdin.write(json.dumps(command).encode() + b"\n")
        self.popen.stdin.flush()
        line = self.popen.stdout.readline()
        assert line, f"the process ended in {command}"
        return json.loads(line)

    def dies(self, *command):
        self.popen.stdin.write(json.dumps(command).encode() + b"\n")
        self.popen.stdin.flush()
        assert self.popen.wait(10) == -signal.SIGKILL

    def kill(self):
        self.popen.kill()
        self.popen.wait()
        self.popen.stdin.close()
        self.popen.stdout.close()


@pytest.fixture
def start():
    started = []

    def start():
        started.append(Process())
        return started[-1]

    yield start
    for process in started:
        process.kill()


@pytest.fixture
def store(tmp_path):
    store = ObjectStore(str(tmp_path / "spill"))
    yield store
    store.close()
    assert list(tmp_path.iterdir()) == []


def tell(spot):
    return [spot.pid, spot.fd, spot.offset, spot.nbytes, spot.inode]


def made_by(process, store, key, number, count, slot=0):
    """The slot writes an array, as long as `count`, full of a number."""
    nbytes = pack(np.empty(count, "u4"), home=True).nbytes
    spot = store.allocate(nbytes, slot)
    assert process.do("write", tell(spot), number, count) == nbytes
    store.commit(key, spot, nbytes)


def maps_of(pid):
    return Path(f"/proc/{pid}/maps").read_text().count("memfd:treadle")


@pytest.mark.timeout(60)
def test_a_large_array_is_read_where_it_was_written(store, start):
    writer, reader = start(), start()
    made_by(writer, store, (1, 1), 3, LARGE)
    spot = tell(store.supply((1, 1)))
    total, writable, grown_kb = reader.do("load", "a", spot, False)
    assert (total, writable) == (3 * LARGE, False)
    assert grown_kb < 4_000, "100 MB were not copied"
    assert maps_of(reader.pid) == 1
    total, writable, grown_kb = reader.do("load", "own", spot, True)
    assert (total, writable) == (3 * LARGE, True)
    assert grown_kb < 4_000, "nothing was written to, so nothing was copied"
    reader.do("set", "own", 1)
    assert reader.do("sum", "own") == LARGE
    assert reader.do("sum", "a") == 3 * LARGE
    assert writer.do("load", "b", spot, False)[0] == 3 * LARGE
    for name in ("a", "own"):
        reader.do("drop", name)
    assert maps_of(reader.pid) == 0


@BOTH
def test_what_was_read_outlives_its_writer_and_the_store(store, start, count):
    writer, reader = start(), start()
    made_by(writer, store, (1, 1), 5, count)
    assert reader.do("load", "a", tell(store.supply((1, 1))), False)[0] == 5 * count
    writer.kill()
    store.slot_gone(0)
    other = start()
    assert other.do("load", "a", tell(store.supply((1, 1))), False)[0] == 5 * count
    store.discard((1, 1))
    made_by(other, store, (2, 1), 6, count)
    store.close()
    assert reader.do("sum", "a") == 5 * count
    assert other.do("sum", "a") == 5 * count


def test_what_was_read_outlives_the_process_of_the_store(start):
    agent, reader = start(), start()
    spot = agent.do("store", 7, LARGE // 10)
    assert reader.do("load", "a", spot, False)[0] == 7 * (LARGE // 10)
    agent.kill()
    assert reader.do("sum", "a") == 7 * (LARGE // 10)
    with pytest.raises(OSError):
        Mapper().open(Spot(*spot))


@BOTH
def test_a_slot_that_is_killed_while_it_writes_leaves_nothing(store, start, count):
    writer = start()
    nbytes = pack(np.empty(count, "u4"), home=True).nbytes
    spot = store.allocate(nbytes, 0)
    writer.dies("write_half_and_die", tell(spot))
    store.slot_gone(0)
    with pytest.raises(ValueError, match="its slot may have ended"):
        store.commit((1, 1), spot, nbytes)
    assert store.segments == 0
    assert store.nbytes == 0
    made_by(start(), store, (1, 1), 4, count, slot=1)
    assert int(unpack(store.view((1, 1)), writable=False).sum()) == 4 * count


def test_what_was_half_written_is_no_value(store, start):
    writer = start()
    spot = store.allocate(LARGE, 0)
    writer.dies("write_half_and_die", tell(spot))
    store.commit((1, 1), spot, LARGE)  # an agent that believed it
    with pytest.raises(DeserializationError):
        unpack(store.view((1, 1)), writable=False)


@BOTH
def test_a_client_that_dies_leaves_what_it_gave(store, start, count):
    client, reader = start(), start()
    store.adopt((1, 1), Spot(*client.do("share", "a", 9, count)))
    client.kill()
    assert reader.do("load", "a", tell(store.supply((1, 1))), False)[0] == 9 * count
    assert int(unpack(store.view((1, 1)), writable=False).sum()) == 9 * count


def test_a_child_of_a_task_reads_what_the_task_reads(store, start):
    slot = start()
    for i in range(3):  # the third time it is written in a map that children do not have
        made_by(slot, store, (i, 1), 2, LARGE // 10)
        if i < 2:
            store.discard((i, 1))
    assert maps_of(slot.pid) == 1
    slot.do("load", "a", tell(store.supply((2, 1))), False)
    assert maps_of(slot.pid) == 1
    assert slot.do("sum_in_child", "a") == 2 * (LARGE // 10)


def test_descriptors_are_bounded_on_both_sides(store, start):
    writer, reader = start(), start()
    made_by(writer, store, (-1, 1), 1, SMALL)
    reader.do("load", "a", tell(store.supply((-1, 1))), False)
    ours, its, theirs = len(open_descriptors()), writer.do("descriptors"), reader.do("descriptors")
    for i in range(300):
        made_by(writer, store, (i, 1), i, SMALL)
        assert reader.do("load", i, tell(store.supply((i, 1))), False)[0] == i * SMALL
    assert len(open_descriptors()) == ours
    for i in range(300, 350):
        made_by(writer, store, (i, 1), i, SMALL * 60)
        assert reader.do("load", i, tell(store.supply((i, 1))), False)[0] == i * SMALL * 60
        store.discard((i, 1))
    store._closer.close()
    assert len(open_descriptors()) <= ours
    assert writer.do("descriptors") <= its + 2
    assert reader.do("descriptors") <= theirs + 2
    assert maps_of(reader.pid) == 50


def test_memory_is_given_back_once_nobody_holds_it(store, start):
    writer, reader = start(), start()
    made_by(writer, store, (1, 1), 8, LARGE)
    reader.do("load", "a", tell(store.supply((1, 1))), False)
    store.discard((1, 1))
    store._closer.close()
    assert [maps_of(p.pid) for p in (writer, reader)] == [0, 1]
    reader.do("drop", "a")
    held = [
        os.readlink(entry)
        for pid in (os.getpid(), writer.pid, reader.pid)
        for entry in Path(f"/proc/{pid}/fd").iterdir()
        if entry.is_symlink() and "memfd:treadle" in os.readlink(entry)
    ]
    assert held == []
    assert maps_of(reader.pid) == 0
