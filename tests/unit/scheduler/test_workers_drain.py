"""A draining worker's data moves away before it goes."""

from __future__ import annotations

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import live
from treadle import wire


def fetches(cluster, worker):
    return cluster.told(f"worker/{worker}", wire.Fetch)


def deliver(cluster, worker):
    """The worker gets all that it was told to fetch."""
    for m in fetches(cluster, worker):
        cluster.worker(worker, wire.Holding((wire.Held(m.id, m.attempt, m.nbytes, "int"),)))


def drained_with_data(*more):
    """Worker a has x, which somebody wants, and is asked to leave."""
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    for name in more:
        cluster.join(name)
    cluster.client("ann", wire.Retire(7, ("a",)))
    live(cluster, 0.0)
    return cluster


def test_what_is_needed_moves_before_the_worker_goes():
    cluster = drained_with_data("b")
    assert [(m.id, m.holders) for m in fetches(cluster, "b")] == [("x", ("a",))]
    assert not cluster.told("worker/a", wire.Depart)
    deliver(cluster, "b")
    told = live(cluster, 0.0)
    assert [type(m) for m in told] == [wire.Reply, wire.Depart]
    assert [ws.id for ws in cluster.ts("x").who_has] == ["b"]
    assert not cluster.told("client/ann", wire.Lost)


def test_what_nobody_needs_keeps_nobody():
    cluster = drained_with_data()
    assert not cluster.told("worker/a", wire.Depart)
    cluster.release("ann", "x")
    assert wire.Depart() in live(cluster, 0.0)


def test_where_there_is_nobody_else_it_waits_for_somebody():
    cluster = drained_with_data()
    live(cluster, 9.0, "worker/a", "client/ann")
    cluster.join("b")
    live(cluster, 4.0, "worker/a", "worker/b", "client/ann")
    assert [m.id for m in fetches(cluster, "b")] == ["x"]
    deliver(cluster, "b")
    assert wire.Depart() in live(cluster, 0.0)


def test_a_move_whose_worker_is_lost_is_made_to_another():
    cluster = drained_with_data("b")
    cluster.kill("b")
    cluster.join("c")
    live(cluster, 4.0, "worker/a", "worker/c", "client/ann")
    assert [m.id for m in fetches(cluster, "c")] == ["x"]
    deliver(cluster, "c")
    assert wire.Depart() in live(cluster, 0.0)
    assert [ws.id for ws in cluster.ts("x").who_has] == ["c"]


def test_what_ends_there_while_it_drains_moves_too():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.client("ann", wire.Retire(7, ("a",)))
    cluster.join("b")
    assert not fetches(cluster, "b")
    cluster.finish("x")
    live(cluster, 0.0)
    assert [m.id for m in fetches(cluster, "b")] == ["x"]
    deliver(cluster, "b")
    assert wire.Depart() in live(cluster, 0.0)


def test_two_that_leave_together_do_not_give_their_data_to_each_other():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    cluster.finish("y")
    cluster.join("c")
    cluster.client("ann", wire.Retire(7, ("a", "b")))
    live(cluster, 0.0)
    assert sorted(m.id for m in fetches(cluster, "c")) == ["x", "y"]
    deliver(cluster, "c")
    live(cluster, 0.0)
    assert list(cluster.books.workers) == ["c"]
    assert cluster.told("client/ann", wire.Reply) == [wire.Reply(7)]


def test_between_ticks_a_drain_costs_no_tick_when_nothing_changes():
    cluster = drained_with_data()
    assert cluster.scheduler.wake_at > cluster.now
    cluster.worker("a", wire.Beat(1))
    assert cluster.scheduler.wake_at > cluster.now
    cluster.release("ann", "x")
    assert cluster.scheduler.wake_at <= cluster.now


def test_who_lives_with_an_actor_stays_until_it_is_released():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.client("ann", wire.Retire(7, ("a",)))
    live(cluster, 5.0, "worker/a", "client/ann")
    assert "a" in cluster.books.workers
    cluster.release("ann", "counter")
    assert [type(m) for m in live(cluster, 0.0)] == [wire.Reply, wire.Depart]


def test_the_last_workers_are_not_retired_with_care_while_results_are_wanted():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x", workers=("a",)))
    cluster.finish("x")
    (reply,) = cluster.client("ann", wire.Retire(7, ("b", "a"), careful=True))
    assert "no other worker is there to take what they have: result x" in reply.error
    assert not cluster.books.watch.draining
    assert wire.Drain() in cluster.client("ann", wire.Retire(8, ("b",), careful=True))
    (reply,) = cluster.client("ann", wire.Retire(9, ("a",), careful=True))
    assert "result x" in reply.error
    cluster.release("ann", "x")
    assert wire.Drain() in cluster.client("ann", wire.Retire(10, ("a",), careful=True))


def test_who_has_an_actor_is_not_retired_with_care():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("counter", actor=True, workers=("a",)))
    for does in ("being made", "alive"):
        (reply,) = cluster.client("ann", wire.Retire(7, ("b", "a"), careful=True))
        assert "counter is on a" in reply.error
        assert "nothing was done" in reply.error
        assert not cluster.books.watch.draining
        if does == "being made":
            cluster.finish("counter")
    cluster.release("ann", "counter")
    assert wire.Drain() in cluster.client("ann", wire.Retire(8, ("a",), careful=True))


def test_an_actor_ends_with_a_worker_that_must_leave():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.worker("a", wire.Leaving("preempted", 5.0))
    cluster.kill("a")
    assert cluster.state("counter") == "erred"
    (erred,) = cluster.told("client/ann", wire.Erred)
    assert "worker a" in erred.failure.text
    assert erred.failure.kind == "actor"


def test_calls_go_to_an_actor_whose_worker_drains():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("actor", actor=True))
    cluster.finish("actor")
    cluster.client("ann", wire.Retire(7, ("a",)))
    cluster.submit("ann", task("call", home="actor"))
    assert cluster.state("call") == "processing"
    cluster.finish("call")
    cluster.release("ann", "call", "actor")
    assert wire.Depart() in live(cluster, 0.0)


def test_who_says_that_it_drains_is_given_nothing_more():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    attempt = cluster.ts("x").attempt
    cluster.worker("a", wire.Returned("x", attempt, "drained"))
    assert cluster.books.workers["a"].draining
    assert cluster.state("x") == "no-worker"
