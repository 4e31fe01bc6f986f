"""The scheduler's shell and time: ticks, leases, ends that are certain."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.unit.cluster.server_world import ServerWorld, submit
from treadle import wire
from treadle.wire import Run


@pytest.fixture
def world():
    return ServerWorld(beat_s=1.0, lease_s=4.0)


@pytest.fixture
def process():
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield child
    child.kill()
    child.wait()
    child.stdin.close()


def test_without_peers_no_timer_runs(world):
    assert world.loop.timers == []


def test_a_silent_worker_is_given_up_when_its_lease_is_over(world):
    world.client()
    world.worker()
    world.loop.advance(3.5)
    assert "w" in world.server.machine.books.workers
    world.loop.advance(2.0)
    assert world.server.machine.books.workers == {}


def test_a_deadline_that_comes_sooner_is_not_waited_for_longer(world):
    world.client()
    worker = world.worker()
    world.loop.advance(0.5)
    worker.say(wire.Leaving("its block ends", 60.0))
    world.loop.advance(0.01)
    assert worker.heard(wire.Depart)


def test_a_worker_that_beats_stays(world):
    worker = world.worker()
    for number in range(1, 10):
        world.loop.advance(1.0)
        worker.say(wire.Beat(number))
    assert "w" in world.server.machine.books.workers


def test_a_silent_client_on_this_machine_stays_as_long_as_its_link(world):
    world.client(same_machine=True)
    world.loop.advance(1000.0)
    assert "client/c" in world.server.machine.books.clients


def test_a_silent_client_on_another_machine_is_forgotten(world):
    world.client(same_machine=False)
    world.loop.advance(1000.0)
    assert "client/c" not in world.server.machine.books.clients


def test_a_silent_client_of_a_task_stays_as_long_as_its_worker_beats(world):
    """The task may hold the interpreter's lock for as long as it likes."""
    worker = world.worker("w")
    world.client("w/task-1-a", same_machine=False)
    for number in range(1, 60):
        world.loop.advance(1.0)
        worker.say(wire.Beat(number))
    assert "client/w/task-1-a" in world.server.machine.books.clients
    world.loop.advance(100.0)
    assert "client/w/task-1-a" not in world.server.machine.books.clients


def test_a_client_that_said_goodbye_is_not_kept_alive(world):
    client = world.client()
    client.say(wire.Leave())
    world.loop.advance(100.0)
    assert client.heard(wire.Refused) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no process descriptors here")
def test_a_worker_whose_process_has_ended_is_gone_at_once(world, process):
    client = world.client()
    worker = world.worker(pid=process.pid)
    client.say(submit(1))
    worker.lose()
    (descriptor,) = world.loop.readers
    process.kill()
    process.wait()
    call, args = world.loop.readers[descriptor]
    call(*args)
    assert world.server.machine.books.workers == {}
    assert world.loop.readers == {}
    world.worker("other")
    assert len(world.server.peers["worker/other"].link.heard(Run)) == 1


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no process descriptors here")
def test_the_end_of_an_older_process_does_not_hurt_its_successor(world, process):
    old = world.worker(pid=process.pid, epoch=1)
    old.lose()
    ((call, args),) = world.loop.readers.values()
    world.worker(epoch=2)
    call(*args)
    assert world.server.machine.books.workers["w"].linked


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no process descriptors here")
def test_closing_lets_go_of_processes(world, process):
    world.worker(pid=process.pid)
    before = len(os.listdir("/proc/self/fd"))
    world.server.close("enough")
    assert len(os.listdir("/proc/self/fd")) == before - 1


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no process descriptors here")
def test_a_link_that_was_replaced_holds_on_to_no_process(world, process):
    old = world.worker(pid=process.pid)
    before = len(os.listdir("/proc/self/fd"))
    world.worker(number=2)
    old.lose()
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_who_is_alone_is_known(world):
    assert world.server.alone_since == 100.0
    client = world.client()
    assert world.server.alone_since is None
    world.loop.advance(10)
    client.say(wire.Leave())
    client.lose()
    assert world.server.alone_since == 110.0


def test_clients_of_tasks_are_no_company(world):
    client = world.client()
    inside = world.client("w/task-1-ab", 2)
    client.lose()
    assert world.server.alone_since == 100.0
    world.loop.advance(10)
    inside.lose()
    assert world.server.alone_since == 100.0
