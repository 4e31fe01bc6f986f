"""A worker as a process of its own, from its first link to its end; the test is the scheduler."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import pytest

from tests.integration.agent_desk import RUN, Ear, is_alive, on_a_loop, until, world
from treadle import wire
from treadle.cluster._connection import Connection, write_connection
from treadle.cluster._link import this_party
from treadle.cluster._listener import Listener
from treadle.cluster._rundir import RunDirectory
from treadle.serialize import CallSpec, dumps, encode_spec, unpack

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


class Office(Ear):
    """A scheduler that links come to."""

    def __init__(self, directory, folder):
        super().__init__()
        self.listener = Listener(me=this_party("scheduler", RUN, RUN), accept=self.accept)
        self.path = directory.socket_path("scheduler")
        self.links = []
        self.refusal = ""
        self.file = str(folder / "run.json")
        connection = Connection(
            run=RUN,
            addresses=(f"unix:{self.path}",),
            pid=os.getpid(),
            host="here",
            version="0",
        )
        write_connection(self.file, connection)

    def open(self):
        self.listener.listen_unix(self.path)

    def accept(self, link):
        if self.refusal:
            return self.refusal
        self.links.append(link)
        return self

    def heard(self, link, messages):
        super().heard(link, messages)
        for message in messages:
            if isinstance(message, wire.Register):
                link.send([wire.Registered(0.5, 12.0), world()])

    async def registered(self, count=1):
        await until(lambda: len(self.all(wire.Register)) >= count)
        return self.all(wire.Register)[count - 1]

    def order(self, id, func, *args):
        spec = encode_spec(CallSpec(b"", dumps((func, args, {}))))
        self.links[-1].send([wire.Run(id, id, spec)])

    async def value(self, id):
        def found():
            return [m for m in self.all(wire.Finished) if m.id == id]

        (outcome,) = await until(found)
        return unpack(outcome.inline, writable=True)


@asynccontextmanager
async def office(folder, *, is_open=True):
    with RunDirectory.create("test") as directory:
        there = Office(directory, folder)
        if is_open:
            there.open()
        try:
            yield there
        finally:
            there.listener.close()
            for link in there.links:
                link.close()
            await asyncio.sleep(0.01)


@asynccontextmanager
async def worker(there, *options):
    command = [sys.executable, "-P", "-m", "treadle", "worker"]
    process = subprocess.Popen(
        [*command, "--connection-file", there.file, "--slots", "1", "--store", "100MB", *options],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


async def code_of(process):
    await until(lambda: process.poll() is not None, "the worker does not end")
    return process.returncode


def family_of(pid):
    """All processes that this one has started, and theirs."""
    found = [pid]
    for parent in found:
        path = f"/proc/{parent}/task/{parent}/children"
        with open(path) as file:
            found += map(int, file.read().split())
    return found


def pid_of_slot():
    import os

    return os.getpid()


def test_a_worker_finds_its_scheduler_again_with_all_it_has(tmp_path):
    async def play():
        async with office(tmp_path) as there, worker(there) as process:
            first = await there.registered()
            there.order(1, pid_of_slot)
            slot = await there.value(1)
            there.links[-1].close()
            again = await there.registered(2)
            assert (again.worker, again.epoch, again.number) == (first.worker, first.epoch, 2)
            assert [held.id for held in again.holds] == [1]
            there.order(2, pid_of_slot)
            assert await there.value(2) == slot
            assert process.poll() is None

    on_a_loop(play)


def test_a_worker_without_a_scheduler_ends_with_all_it_has_started(tmp_path):
    async def play():
        async with office(tmp_path) as there, worker(there, "--orphan", "0.5") as process:
            await there.registered()
            there.order(1, pid_of_slot)
            await there.value(1)
            family = family_of(process.pid)
            assert len(family) == 3
            there.listener.close()
            there.links[-1].close()
            assert await code_of(process) == 75
            await until(lambda: not any(map(is_alive, family)))
            assert b"no scheduler for 0.5 s" in process.stderr.read()

    on_a_loop(play)


def test_a_worker_waits_a_while_for_a_scheduler_that_is_not_there_yet(tmp_path):
    async def play():
        async with office(tmp_path, is_open=False) as there, worker(there):
            await asyncio.sleep(0.5)
            there.open()
            await there.registered()

    on_a_loop(play)


def test_a_worker_that_is_refused_ends_and_says_why(tmp_path):
    async def play():
        async with office(tmp_path) as there:
            there.refusal = "no room for you"
            async with worker(there) as process:
                assert await code_of(process) == 77
                assert b"no room for you" in process.stderr.read()

    on_a_loop(play)


def test_a_signal_lets_what_runs_end_and_then_the_worker(tmp_path):
    async def play():
        async with office(tmp_path) as there, worker(there) as process:
            await there.registered()
            there.order(1, sleep_a_little)
            await until(lambda: there.all(wire.Started))
            process.send_signal(signal.SIGTERM)
            await until(lambda: there.all(wire.Leaving))
            assert await there.value(1) == "slept"
            there.links[-1].send([wire.Depart()])
            assert await code_of(process) == 0

    on_a_loop(play)


def sleep_a_little():

    time.sleep(0.5)
    return "slept"


def test_a_second_signal_ends_it_at_once(tmp_path):
    async def play():
        async with office(tmp_path) as there, worker(there) as process:
            await there.registered()
            process.send_signal(signal.SIGTERM)
            await until(lambda: there.all(wire.Leaving))
            process.send_signal(signal.SIGTERM)
            assert await code_of(process) == 128 + signal.SIGTERM

    on_a_loop(play)


def test_a_worker_that_is_killed_takes_its_slots_along(tmp_path):
    async def play():
        async with office(tmp_path) as there, worker(there) as process:
            await there.registered()
            there.order(1, sleep_long)
            await until(lambda: there.all(wire.Started))
            family = family_of(process.pid)
            assert len(family) == 3
            process.kill()
            await until(lambda: not any(map(is_alive, family[1:])))

    on_a_loop(play)


def sleep_long():

    time.sleep(60)


def test_each_worker_keeps_its_logs_in_a_folder_of_its_own(tmp_path):
    async def play():
        options = ("--log-dir", str(tmp_path), "--id", "block/one")
        async with office(tmp_path) as there, worker(there, *options):
            await there.registered()
            there.order(1, speak)
            await there.value(1)
            await until(lambda: (tmp_path / "block-one" / "index.jsonl").exists())

    on_a_loop(play)


def speak():
    print("words")
