"""Leases: who is silent for too long is given up, if the judge was awake."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import live, register
from treadle import wire


def test_nobody_to_watch_wants_no_tick():
    assert Cluster(clients=()).scheduler.wake_at is None


def test_a_tick_is_wanted_within_a_beat_while_somebody_is_there():
    cluster = Cluster({"a": 1}, beat_s=2.0)
    assert cluster.now < cluster.scheduler.wake_at <= cluster.now + 2.0


def test_ticks_end_when_all_have_gone():
    cluster = Cluster({"a": 1})
    cluster.client("ann", wire.Leave())
    cluster.kill("a")
    live(cluster, 5.0)
    assert cluster.scheduler.wake_at is None


def test_who_beats_is_never_given_up():
    cluster = Cluster({"a": 1})
    live(cluster, 100.0, "worker/a", "client/ann")
    assert "a" in cluster.books.workers
    assert "client/ann" in cluster.books.clients


@pytest.mark.parametrize("how", ["silent", "without a link"])
def test_a_worker_is_given_up_when_its_lease_is_over_and_not_before(how):
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    if how != "silent":
        cluster.lose_link("worker/a")
    live(cluster, 11.9, "client/ann")
    assert "a" in cluster.books.workers
    live(cluster, 0.5, "client/ann")
    assert "a" not in cluster.books.workers
    assert cluster.ts("x").suspicious == 1


def test_the_lease_of_a_lost_link_begins_when_it_is_lost():
    cluster = Cluster({"a": 1})
    live(cluster, 50.0, "worker/a", "client/ann")
    cluster.lose_link("worker/a")
    live(cluster, 11.0, "client/ann")
    assert "a" in cluster.books.workers
    cluster.lose_link("worker/a")  # it is told twice
    live(cluster, 1.5, "client/ann")
    assert "a" not in cluster.books.workers


def test_who_comes_back_in_time_has_a_whole_lease_again():
    cluster = Cluster({"a": 1})
    cluster.lose_link("worker/a")
    live(cluster, 11.0, "client/ann")
    register(cluster, "a")
    live(cluster, 11.0, "client/ann")
    assert "a" in cluster.books.workers


@pytest.mark.parametrize("stopped_s", [4.0, 7.0, 60.0, 3600.0])
def test_a_judge_that_was_stopped_gives_nobody_up_for_it(stopped_s):
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"))
    live(cluster, 10.0, "worker/a", "worker/b", "client/ann")
    cluster.lose_link("worker/b")
    live(cluster, 2.0, "worker/a", "client/ann")
    cluster.tick(stopped_s)
    live(cluster, 5.0)
    assert list(cluster.books.workers) == ["a", "b"]
    assert "client/ann" in cluster.books.clients
    live(cluster, 15.0, "worker/a")
    assert list(cluster.books.workers) == ["a"]


def test_what_is_read_before_the_late_tick_does_not_hide_that_it_is_late():
    cluster = Cluster({"a": 1, "b": 1})
    live(cluster, 10.0, "worker/a", "worker/b", "client/ann")
    cluster.now += 60.0
    cluster.worker("a", wire.Beat(1))
    cluster.client("ann", wire.ClientBeat(1))
    live(cluster, 5.0)
    assert list(cluster.books.workers) == ["a", "b"]


def test_lost_time_never_gives_more_than_a_whole_lease():
    cluster = Cluster({"a": 1})
    live(cluster, 3.0, "worker/a", "client/ann")
    cluster.tick(1000.0)
    live(cluster, 12.5, "client/ann")
    assert "a" not in cluster.books.workers


def test_many_that_fall_silent_are_all_given_up():
    cluster = Cluster()
    for i in range(40):
        cluster.join(f"w{i}")
        live(cluster, 0.1, "client/ann")
    live(cluster, 13.0, "client/ann")
    assert not cluster.books.workers


def test_leases_are_looked_at_a_few_times_a_beat_at_the_most():
    cluster = Cluster()
    for i in range(40):
        cluster.join(f"w{i}")
        live(cluster, 0.1, "client/ann")
    looks = 0
    end = cluster.now + 12.0
    while cluster.now < end:
        wanted = cluster.scheduler.wake_at
        cluster.tick(wanted - cluster.now)
        cluster.client("ann", wire.ClientBeat(1))
        looks += 1
    assert looks <= 12.0 / 3.0 * 8 + 1


def test_a_client_has_the_lease_it_asked_for():
    cluster = Cluster({"a": 1}, ())
    cluster.attach("ann", lease_s=5.0)
    cluster.attach("bob", lease_s=50.0)
    cluster.submit("ann", task("x"))
    cluster.submit("bob", task("y"))
    cluster.lose_link("client/ann")
    cluster.lose_link("client/bob")
    live(cluster, 4.9, "worker/a")
    assert cluster.state("x") != "forgotten"
    live(cluster, 1.0, "worker/a")
    assert cluster.state("x") == "forgotten"
    assert cluster.state("y") != "forgotten"
    assert list(cluster.books.clients) == ["fire-and-forget", "lingering", "client/bob"]


def test_a_silent_client_is_forgotten():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    live(cluster, 31.0, "worker/a")
    assert cluster.state("x") == "forgotten"
