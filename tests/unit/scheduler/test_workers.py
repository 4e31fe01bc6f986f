"""Workers come, say how they are, beat, are drained and sent away."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import attempts, beat, live, objects, register
from treadle import wire
from treadle.scheduler import PeerGone


def given(cluster, worker):
    return [id for id, _ in cluster.runs[worker]]


def retire(cluster, ask, *workers):
    return cluster.client("ann", wire.Retire(ask, workers))


# --- registering -------------------------------------------------------------------------------


def test_a_worker_is_known_as_it_says_it_is():
    cluster = Cluster(beat_s=2.0, lease_s=9.0)
    told = cluster.join(
        "a", 4, "node7", resources={"gpu": 2.0}, memory_bytes=10**9, block="b1", ends_in_s=60.0
    )
    assert told == [wire.Registered(2.0, 9.0)]
    ws = cluster.books.workers["a"]
    assert (ws.epoch, ws.host, ws.slots, ws.memory_bytes, ws.block) == (1, "node7", 4, 10**9, "b1")
    assert ws.resources == ws.free == {"gpu": 2.0}
    assert ws.resources is not ws.free
    assert ws.ends_at == cluster.now + 60.0


def test_a_worker_can_speak_for_itself_alone():
    cluster = Cluster({"a": 1})
    assert cluster.worker("a", wire.Register("b", 7, "host", 1)) == []
    assert list(cluster.books.workers) == ["a"]
    assert cluster.books.refused == {"register under another name": 1}


def test_an_older_process_of_a_name_is_told_to_go():
    cluster = Cluster()
    cluster.join("a")
    cluster.join("a", 3)
    assert register(cluster, "a", epoch=1) == [wire.Depart()]
    assert cluster.books.workers["a"].slots == 3


def test_a_newer_process_of_a_name_replaces_the_old_one_which_died_unseen():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    cluster.start("y")
    cluster.join("a", 2)
    assert cluster.ts("y").suspicious == 1
    assert cluster.told("client/ann", wire.Lost) == [wire.Lost("x")]
    assert sorted(given(cluster, "a")) == ["x", "y"]
    assert cluster.books.workers["a"].slots == 2


def test_nothing_that_was_for_the_old_process_is_sent_to_the_new_one():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.submit("ann", task("y"))
    cluster.epochs["a"] = 2
    cluster.runs["a"] = {}
    ids = ("x", "y")
    sends = cluster.scheduler.handle(
        [wire.Register("a", 2, "host", 1)], source="worker/a", now=cluster.now
    )
    (send,) = sends[-1:]
    kinds = [type(m) for m in send.messages]
    assert kinds == [wire.Registered, wire.Run]
    assert send.messages[1].id in ids


def test_a_newer_process_accuses_nobody_if_the_old_one_was_draining():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.start("x")
    cluster.worker("a", wire.Leaving("preempted", 30.0))
    cluster.join("a")
    assert cluster.ts("x").suspicious == 0
    assert not cluster.books.workers["a"].draining
    assert given(cluster, "a") == ["x"]


# --- strangers ---------------------------------------------------------------------------------


def test_who_was_given_up_is_told_to_reset_once_a_beat():
    cluster = Cluster({"a": 1})
    cluster.kill("a")
    first = cluster.worker("a", wire.Beat(1), wire.Status(5))
    assert [type(m) for m in first] == [wire.Reset]
    assert cluster.worker("a", wire.Beat(2)) == []
    cluster.now += cluster.books.policy.beat_s
    assert [type(m) for m in cluster.worker("a", wire.Beat(3))] == [wire.Reset]
    assert cluster.books.refused == {"message of a worker that is not known": 4}


def test_who_comes_back_after_a_reset_is_a_worker_like_any_other():
    cluster = Cluster({"a": 1})
    cluster.kill("a")
    cluster.worker("a", wire.Beat(1))
    assert register(cluster, "a") == [wire.Registered(3.0, 12.0)]
    cluster.submit("ann", task("x"))
    assert given(cluster, "a") == ["x"]


def test_strangers_are_not_remembered_for_ever():
    cluster = Cluster()
    for name in "abc":
        cluster.worker(name, wire.Beat(1))
    assert len(cluster.books.watch.strangers) == 3
    live(cluster, 20.0)
    assert not cluster.books.watch.strangers


# --- how they are ------------------------------------------------------------------------------


def test_a_paused_worker_gets_nothing_new_until_it_goes_on():
    cluster = Cluster({"a": 2})
    cluster.worker("a", wire.Status(900, 50, paused=True))
    cluster.submit("ann", task("x"))
    assert given(cluster, "a") == []
    assert cluster.state("x") == "waiting"
    ws = cluster.books.workers["a"]
    assert (ws.memory_used, ws.spilled_bytes, ws.status) == (900, 50, "paused")
    cluster.worker("a", wire.Status(100))
    assert given(cluster, "a") == ["x"]
    assert ws.status == "running"


def test_a_beat_is_answered():
    cluster = Cluster({"a": 1})
    assert cluster.worker("a", wire.Beat(41)) == [wire.Beaten(41)]


# --- lost on the way ---------------------------------------------------------------------------


def test_what_two_beats_do_not_list_never_arrived_and_is_sent_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (first,) = attempts(cluster, "a")
    beat(cluster, "a", 1, wire.Attempt("z", 999))  # it may be on its way
    beat(cluster, "a", 2, wire.Attempt("z", 999))
    assert attempts(cluster, "a") == (first,)
    beat(cluster, "a", 3, wire.Attempt("z", 999))
    assert attempts(cluster, "a")[-1].attempt > first.attempt
    assert cluster.ts("x").suspicious == 0
    assert cluster.story("x").count("processing") == 2


def test_the_same_beat_twice_is_one_beat():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    for number in (1, 2, 2, 2):
        beat(cluster, "a", number, wire.Attempt("z", 999))
    assert len(attempts(cluster, "a")) == 1


def test_what_is_listed_in_between_has_arrived():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (here,) = attempts(cluster, "a")
    gone = wire.Attempt("z", 999)
    for number, listed in enumerate([gone, gone, here, gone, here, here]):
        beat(cluster, "a", number, listed)
    assert attempts(cluster, "a") == (here,)


def test_what_crosses_a_beat_on_its_way_is_not_missed():
    cluster = Cluster({"a": 1})
    for number in range(6):
        cluster.worker("a", wire.Beat(number))
        cluster.submit("ann", task(f"t{number}"))
        cluster.worker("a", wire.Beat(number + 100))
        cluster.finish(f"t{number}")
    assert len(cluster.told("worker/a", wire.Run)) == 6


def test_what_a_beat_lists_and_nobody_waits_for_is_stopped():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (current,) = attempts(cluster, "a")
    stale = wire.Attempt("x", current.attempt + 7)
    told = beat(cluster, "a", 1, current, stale)
    assert told == [wire.Beaten(1), wire.Stop("x", stale.attempt)]


# --- draining ----------------------------------------------------------------------------------


def test_an_idle_worker_is_sent_away_and_who_asked_is_told():
    cluster = Cluster({"a": 1, "b": 1})
    assert retire(cluster, 5, "a") == [wire.Drain()]
    told = live(cluster, 0.0)
    assert told == [wire.Reply(5), wire.Depart()]
    assert list(cluster.books.workers) == ["b"]


def test_a_draining_worker_gets_nothing_new_and_ends_what_it_runs():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    retire(cluster, 5, "a")
    cluster.submit("ann", task("y"))
    live(cluster, 0.0)
    assert given(cluster, "a") == ["x"]
    assert cluster.state("y") == "no-worker"
    assert cluster.books.workers["a"].status == "draining"
    cluster.finish("x")
    cluster.client("ann", wire.Release(("x",)))
    assert live(cluster, 0.0) == [wire.Reply(5), wire.Depart()]


def test_what_a_draining_worker_gives_back_runs_elsewhere():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.worker("a", wire.Leaving("walltime", 30.0))
    cluster.join("b")
    cluster.give_back("x", "drained")
    assert given(cluster, "b") == ["x"]
    assert wire.Depart() in live(cluster, 0.0)


def test_a_worker_that_must_leave_is_drained_and_its_end_is_known():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    assert wire.Drain() in cluster.worker("a", wire.Leaving("preempted", 30.0))
    assert cluster.books.workers["a"].ends_at == cluster.now + 30.0
    assert cluster.worker("a", wire.Leaving("preempted", 10.0)) == []
    assert cluster.books.workers["a"].ends_at == cluster.now + 10.0


def test_a_retirement_is_answered_when_the_last_of_them_has_gone():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"), task("y"))
    retire(cluster, 5, "a", "b", "a")
    cluster.kill("a")
    assert not cluster.told("client/ann", wire.Reply)
    for id in given(cluster, "b"):
        cluster.client("ann", wire.Release((id,)))
    live(cluster, 0.0)
    assert cluster.told("client/ann", wire.Reply) == [wire.Reply(5)]


def test_two_requests_to_retire_one_worker_are_both_answered():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.client("bob", wire.Retire(1, ("a",)))
    retire(cluster, 1, "a")
    live(cluster, 0.0)
    assert cluster.told("client/ann", wire.Reply) == [wire.Reply(1)]
    assert cluster.told("client/bob", wire.Reply) == [wire.Reply(1)]


def test_to_retire_an_unknown_worker_is_an_error_and_drains_nobody():
    cluster = Cluster({"a": 1})
    (reply,) = retire(cluster, 5, "a", "zoe")
    assert reply.ask == 5
    assert "zoe" in reply.error
    assert not cluster.books.workers["a"].draining


def test_to_retire_nobody_or_who_has_gone_is_answered_at_once():
    cluster = Cluster({"a": 1})
    retire(cluster, 1, "a")
    live(cluster, 0.0)
    assert retire(cluster, 2, "a") == [wire.Reply(2)]
    assert retire(cluster, 3) == [wire.Reply(3)]


def test_a_client_that_has_left_is_not_answered():
    cluster = Cluster({"a": 1})
    retire(cluster, 5, "a")
    cluster.client("ann", wire.Leave())
    cluster.attach("ann")
    live(cluster, 0.0)
    assert not cluster.told("client/ann", wire.Reply)
    assert not cluster.books.watch.asks


def test_a_draining_worker_that_lost_its_link_is_told_to_drain_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    retire(cluster, 5, "a")
    cluster.lose_link("worker/a")
    assert register(cluster, "a")[:2] == [wire.Registered(3.0, 12.0), wire.Drain()]
    assert cluster.books.workers["a"].draining


def test_who_was_sent_away_stays_away():
    cluster = Cluster({"a": 1})
    retire(cluster, 5, "a")
    live(cluster, 0.0)
    assert cluster.worker("a", wire.Beat(1)) == [wire.Depart()]
    assert register(cluster, "a") == [wire.Depart()]
    assert not cluster.books.workers
    cluster.join("a")
    assert list(cluster.books.workers) == ["a"]
    cluster.kill("a")
    assert [type(m) for m in cluster.worker("a", wire.Beat(1))] == [wire.Reset]


def test_a_worker_that_is_sent_away_has_nothing_in_the_books():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"))
    worker, run = cluster.run_of("x")
    cluster.finish("x")
    other = "ab".replace(worker, "")
    cluster.holds[other]["x", run.attempt] = 10
    register(cluster, other)
    retire(cluster, 5, worker)
    live(cluster, 0.0)
    assert [ws.id for ws in cluster.ts("x").who_has] == [other]
    cluster.shell(PeerGone(f"worker/{worker}", 0))
    assert not cluster.told("client/ann", wire.Lost)


@pytest.mark.parametrize("accuses", [True, False])
def test_what_only_a_worker_has_that_never_came_to_leave_is_computed_again(accuses):
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.worker("a", wire.Leaving("preempted", 1.0))
    assert wire.Depart() not in live(cluster, 1.0)
    cluster.kill("a", accuses=accuses)
    cluster.join("b")
    assert given(cluster, "b") == ["x"]
    assert cluster.ts("x").suspicious == 0
    assert objects(cluster, "b") == ()
