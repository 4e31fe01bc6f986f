"""Results that nobody wants, but that somebody may be about to want."""

from __future__ import annotations

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import live
from treadle import scheduler, wire
from treadle.scheduler import Policy

LINGER_S = Policy().linger_s


def test_a_result_is_there_for_whoever_wants_it_soon():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.client("ann", wire.Linger(("x",)))
    cluster.client("ann", wire.Leave())
    assert cluster.state("x") == "memory"
    live(cluster, LINGER_S / 2, "worker/a", "client/bob")
    told = cluster.client("bob", wire.Desire(("x",)))
    assert [type(m) for m in told] == [wire.Done]
    live(cluster, LINGER_S, "worker/a", "client/bob")
    assert cluster.state("x") == "memory"
    cluster.release("bob", "x")
    assert cluster.state("x") == "forgotten"
    assert not cluster.books.lingering


def test_after_a_while_it_is_let_go():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y"))
    cluster.client("ann", wire.Linger(("x",)))
    cluster.drive()
    live(cluster, LINGER_S - 0.5, "worker/a", "client/ann")
    assert cluster.state("x") == "memory"
    live(cluster, 1.0, "worker/a", "client/ann")
    assert cluster.state("x") == "forgotten"
    assert cluster.state("y") == "memory"


def test_each_time_it_is_said_the_time_begins_anew():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y"))
    cluster.client("bob", wire.Desire(("x", "y")))
    cluster.drive()
    cluster.client("ann", wire.Linger(("x", "y")))
    live(cluster, 0.75 * LINGER_S, "worker/a", "client/ann", "client/bob")
    cluster.client("bob", wire.Linger(("x",)), wire.Release(("y",)))
    live(cluster, 0.5 * LINGER_S, "worker/a", "client/ann", "client/bob")
    assert (cluster.state("x"), cluster.state("y")) == ("memory", "forgotten")
    live(cluster, 0.5 * LINGER_S, "worker/a", "client/ann", "client/bob")
    assert cluster.state("x") == "forgotten"


def test_nobody_is_told_of_what_lingers():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("bad"))
    cluster.client("ann", wire.Linger(("x", "bad")))
    cluster.finish("x")
    cluster.fail("bad")
    assert not cluster.told("client/ann", wire.Done, wire.Erred)


def test_an_error_lingers_too():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("bad"))
    cluster.client("ann", wire.Linger(("bad",)))
    cluster.fail("bad")
    told = cluster.client("bob", wire.Desire(("bad",)))
    assert [type(m) for m in told] == [wire.Erred]


def test_what_lingers_can_be_cancelled():
    """A future of it went to a task and came back: nothing keeps it from being stopped."""
    cluster = Cluster({"a": 1}, ("ann", "slot"))
    cluster.submit("ann", task("x"))
    cluster.client("slot", wire.Desire(("x",)))
    cluster.client("slot", wire.Linger(("x",)))
    told = cluster.client("ann", wire.Cancel(("x",)))
    assert [type(m) for m in told] == [wire.Cancelled, wire.Stop]
    assert cluster.state("x") == "forgotten"
    cluster.tick(LINGER_S + 1)
    assert not cluster.books.lingering


def test_what_lingers_does_not_keep_what_it_waits_for_from_being_cancelled():
    cluster = Cluster({"a": 1}, ("ann", "slot"))
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.client("slot", wire.Linger(("y",)))
    told = cluster.client("ann", wire.Cancel(("x",)))
    assert [m.id for m in told if type(m) is wire.Cancelled] == ["x", "y"]
    assert not cluster.books.tasks


def test_a_row_lingers():
    cluster = Cluster({}, ("ann", "bob"))
    first = wire.task_id(1, 10)
    cluster.submit("ann", task(first, rows=(b"1", b"2", b"3")))
    cluster.client("ann", wire.Linger((first + 1,)))
    cluster.release("ann", first, first + 2)
    assert [ts.id for ts in cluster.books.tasks.values()] == [first + 1]


def test_what_is_not_known_does_not_linger():
    cluster = Cluster()
    assert cluster.client("ann", wire.Linger(("x",))) == []
    assert cluster.books.refused == {"linger of an unknown task": 1}
    assert not cluster.books.lingering


def test_what_only_lingers_says_so():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.client("ann", wire.Linger(("x",)))
    sentence = scheduler.explain(cluster.scheduler, "x", cluster.now + 10)
    assert f"nobody wants it: it is kept for {LINGER_S - 10:.1f} s more" in sentence
