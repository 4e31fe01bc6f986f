"""A peer that does not read costs the others nothing, and loses nothing but output."""

from __future__ import annotations

import pytest

from tests.unit.cluster.server_world import ServerWorld, finished, submit
from treadle import wire
from treadle.cluster import _server_peers as peers
from treadle.wire import Done, Run, task_id


@pytest.fixture
def world():
    return ServerWorld()


def run_all(world, client, worker, numbers, inline=b"4"):
    """Submit tasks and end them, one after another."""
    client.say(submit(*numbers))
    ended = 0
    while ended < len(numbers):
        runs = worker.heard(Run)
        worker.say(*[finished(run, inline) for run in runs[-(len(runs) - ended) :]])
        ended = len(runs)


def test_a_full_link_is_sent_nothing_until_it_drains(world):
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])  # the last message that goes
    said = len(client.said)
    run_all(world, client, worker, [2, 3])
    assert len(client.said) == said
    client.drain()
    client.drain()
    assert [done.id for done in client.heard(Done)] == [task_id(1, n) for n in (1, 2, 3)]


def test_what_was_held_goes_in_slices_and_in_order(world, monkeypatch):
    monkeypatch.setattr(peers, "_SLICE", 2)
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])
    run_all(world, client, worker, [2, 3, 4])
    client.drain()
    assert len(client.heard(Done)) == 3
    run_all(world, client, worker, [5])  # while it still drains
    for _ in range(4):
        client.drain()
    assert [done.id for done in client.heard(Done)] == [task_id(1, n) for n in range(1, 6)]
    run_all(world, client, worker, [6])
    assert client.heard(Done)[-1].id == task_id(1, 6)


def test_results_that_are_held_are_fetched_when_they_are_too_many(world, monkeypatch):
    monkeypatch.setattr(peers, "_HELD_INLINE", 10)
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])
    run_all(world, client, worker, [2, 3], inline=b"12345678")
    client.drain()
    assert [done.inline for done in client.heard(Done)] == [b"4", b"12345678", None]


def test_results_are_held_again_when_those_before_have_left(world, monkeypatch):
    monkeypatch.setattr(peers, "_HELD_INLINE", 10)
    client, worker = world.client(), world.worker()
    for number in (1, 4):
        client.backlog = peers.BACKLOG_BYTES + 1
        run_all(world, client, worker, [number])
        run_all(world, client, worker, [number + 1, number + 2], inline=b"12345678")
        client.drain()
        client.drain()
    inline = [done.inline for done in client.heard(Done)]
    assert inline == [b"4", b"12345678", None] * 2


def test_output_for_a_slow_client_is_dropped_and_counted(world):
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])
    for _ in range(3):
        worker.say(wire.Printed(task_id(1, 1), "f", 1, "12345"))
    client.drain()
    client.drain()
    assert client.heard(wire.Printed) == []
    worker.say(wire.Printed(task_id(1, 1), "f", 1, "more"))
    worker.say(wire.Printed(task_id(1, 1), "f", 1, "again"))
    assert [(m.text, m.dropped) for m in client.heard(wire.Printed)] == [("more", 15), ("again", 0)]


def test_who_lets_too_many_messages_wait_is_closed(world, monkeypatch):
    monkeypatch.setattr(peers, "MOST_HELD", 5)
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])
    run_all(world, client, worker, range(2, 9))
    assert "has not read" in client.closed


def test_a_slow_link_that_is_lost_takes_what_it_held_with_it(world):
    client, worker = world.client(), world.worker()
    client.backlog = peers.BACKLOG_BYTES + 1
    run_all(world, client, worker, [1])
    run_all(world, client, worker, [2])
    client.lose()
    client.drain()
    again = world.client()
    assert [done.id for done in again.heard(Done)] == [task_id(1, 1), task_id(1, 2)]
