"""Clients that wait for workers, look at what these have to do, and have them begin anew."""

from __future__ import annotations

from typing import Any

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import register
from treadle import wire


def replies(messages: list[Any]) -> list[tuple[int, Any]]:
    return [(m.ask, m.error or m.value) for m in messages if type(m) is wire.Reply]


def test_what_workers_have_to_do_is_told():
    cluster = Cluster({"a": 2, "b": 1})
    cluster.submit("ann", task("x", workers=("a",)), task("y", workers=("a",)))
    both = {"a": ["x", "y"], "b": []}
    assert replies(cluster.client("ann", wire.Processing(1))) == [(1, both)]
    assert replies(cluster.client("ann", wire.Processing(2, ("b",)))) == [(2, {"b": []})]
    ((_, error),) = replies(cluster.client("ann", wire.Processing(3, ("b", "zoe"))))
    assert "zoe" in error


# --- waiting for workers -----------------------------------------------------------------------


def test_who_waits_for_workers_is_told_when_they_are_there():
    cluster = Cluster({"a": 1})
    assert replies(cluster.client("ann", wire.Muster(1, 1))) == [(1, 1)]
    assert cluster.client("ann", wire.Muster(2, 3)) == []
    assert replies(cluster.join("b")) == []
    assert replies(cluster.join("c")) == [(2, 3)]
    assert replies(cluster.join("d")) == []
    assert not cluster.books.watch.musters


def test_who_waits_in_vain_is_told_so_in_time():
    cluster = Cluster()
    assert cluster.client("ann", wire.Muster(1, 1, 5.0)) == []
    assert cluster.scheduler.wake_at is not None
    assert replies(cluster.tick(4.9)) == []
    assert cluster.scheduler.wake_at <= cluster.now + 0.1001
    assert replies(cluster.tick(0.2)) == [(1, None)]
    assert replies(cluster.join("a")) == []


def test_a_worker_that_is_going_or_absent_is_not_there():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.client("ann", wire.Retire(1, ("a",)))
    cluster.lose_link("worker/b")
    assert cluster.client("ann", wire.Muster(2, 1)) == []
    assert replies(register(cluster, "b")) == [(2, 1)]


def test_asked_again_it_is_the_same_request():
    cluster = Cluster()
    cluster.client("ann", wire.Muster(1, 1, 5.0))
    cluster.lose_link("client/ann")
    cluster.tick(3.0)
    cluster.attach("ann")
    cluster.client("ann", wire.Muster(1, 1, 5.0))
    assert replies(cluster.tick(2.5)) == [(1, None)]


def test_nobody_is_told_who_has_left():
    cluster = Cluster(clients=("ann", "bob"))
    cluster.client("ann", wire.Muster(1, 1))
    cluster.client("ann", wire.Leave())
    assert not cluster.books.watch.musters
    assert replies(cluster.join("a")) == []


# --- anew --------------------------------------------------------------------------------------


def busy() -> Cluster:
    """Two workers, two clients, and something of every kind."""
    cluster = Cluster({"a": 2, "b": 2}, ("ann", "bob"))
    cluster.submit("ann", task("done"), task("bad"), task("after-bad", "bad"))
    cluster.finish("done")
    cluster.fail("bad")
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.submit("ann", task("call", "counter", home="counter"))
    cluster.submit("ann", *[task(f"t{i}") for i in range(6)], task("last", "t0", "done"))
    cluster.submit("bob", task("nobody", resources={"gpu": 1.0}))
    cluster.client("bob", wire.Desire(("done",)), wire.Publish(7, "figures", ("done",)))
    cluster.client("bob", wire.Linger(("t5",)), wire.FireAndForget(("t4",)))
    cluster.client("bob", wire.Scatter(8, (wire.DataSpec("data", "data", 10),), patient=True))
    return cluster


def anew(cluster: Cluster, *names: str) -> list[Any]:
    """The workers do as they were told."""
    said = []
    for name in names:
        cluster.runs[name], cluster.holds[name] = {}, {}
        said += register(cluster, name, 2)
    return said


def test_nothing_is_left_after_a_restart():
    cluster = busy()
    wanted = {
        "client/ann": {"done", "bad", "after-bad", "counter", "call", "last"}
        | {f"t{i}" for i in range(6)},
        "client/bob": {"nobody", "done", "data"},
    }
    said = cluster.client("bob", wire.Restart(9))
    told = {
        peer: {m.id for to, m in cluster.last if to == peer and type(m) is wire.Cancelled}
        for peer in wanted
    }
    assert told == wanted
    assert {m.reason for m in said if type(m) is wire.Cancelled} == {
        "the cluster was restarted by bob"
    }
    assert not cluster.books.tasks
    assert not cluster.books.workers
    for name in ("a", "b"):
        (reset,) = [m for to, m in cluster.last if to == f"worker/{name}"]
        assert type(reset) is wire.Reset
    assert not replies(said)
    assert replies(anew(cluster, "a", "b")) == [(9, 2)]
    cluster.submit("ann", task("t0"))
    cluster.drive()
    assert cluster.state("t0") == "memory"
    assert replies(cluster.client("ann", wire.ListPublished(3))) == [(3, [])]


def test_a_restart_without_workers_is_over_at_once():
    cluster = Cluster()
    cluster.submit("ann", task("x"))
    said = cluster.client("ann", wire.Restart(1))
    assert [type(m) for m in said] == [wire.Cancelled, wire.Reply]


def test_who_waits_for_a_restart_in_vain_is_told_so():
    cluster = busy()
    cluster.client("ann", wire.Restart(1, 5.0))
    anew(cluster, "a")
    assert (1, None) in replies(cluster.tick(5.0))


def test_a_restart_that_is_asked_for_again_is_the_same():
    cluster = busy()
    cluster.client("ann", wire.Restart(1))
    assert (1, 2) in replies(anew(cluster, "a", "b"))
    cluster.submit("ann", task("new"))
    cluster.lose_link("client/ann")
    cluster.attach("ann")
    assert replies(cluster.client("ann", wire.Restart(1))) == [(1, 2)]
    assert cluster.state("new") == "processing"


def test_a_worker_without_a_link_begins_anew_when_it_is_back():
    cluster = busy()
    cluster.lose_link("worker/b")
    cluster.client("ann", wire.Restart(1))
    assert replies(anew(cluster, "a")) == [(1, 1)]
    (reset,) = register(cluster, "b", 2)
    assert type(reset) is wire.Reset
    assert "b" not in cluster.books.workers
    anew(cluster, "b")
    assert "b" in cluster.books.workers


def test_a_worker_that_did_not_hear_of_it_is_told_again():
    cluster = busy()
    cluster.client("ann", wire.Restart(1))
    cluster.lose_link("worker/b")
    held = wire.Held("old", 1, 10)
    (reset,) = register(cluster, "b", 2, holds=(held,), queued=())
    assert type(reset) is wire.Reset
    anew(cluster, "b")
    assert "b" in cluster.books.workers


def test_a_worker_that_has_been_replaced_is_not_told():
    cluster = busy()
    cluster.client("ann", wire.Restart(1))
    assert wire.Reset not in [type(m) for m in cluster.join("b")]
    assert "b" in cluster.books.workers


def test_a_worker_that_drains_is_sent_away_by_a_restart():
    cluster = busy()
    cluster.client("bob", wire.Retire(5, ("b",)))
    said = cluster.client("ann", wire.Restart(1))
    assert (5, None) in replies(said)
    assert [m for to, m in cluster.last if to == "worker/b"] == [wire.Depart()]
    assert replies(anew(cluster, "a")) == [(1, 1)]


def test_a_client_without_a_link_is_told_what_a_restart_has_cancelled():
    cluster = busy()
    cluster.lose_link("client/bob")
    cluster.client("ann", wire.Restart(1))
    told = {m.id for m in cluster.attach("bob") if type(m) is wire.Cancelled}
    assert told == {"nobody", "done", "data"}
