"""Clients come, say what they want, come back and leave; results are published."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import OOPS, Cluster, task
from tests.unit.scheduler.peers import live
from tests.unit.scheduler.test_data import holding, scatter
from treadle import wire
from treadle.scheduler import PeerGone

# --- coming and going --------------------------------------------------------------------------


def told_but_refused(told):
    return [m for m in told if type(m) is not wire.Refused]


def test_a_client_is_known_by_its_session():
    cluster = Cluster(clients=())
    assert cluster.attach("ann", 7) == [wire.Attached(7, False)]
    client = cluster.books.clients["client/ann"]
    assert (client.session, client.name, client.lease_s) == (7, "ann", 30.0)


def test_the_session_of_another_client_is_refused():
    cluster = Cluster()
    (told,) = cluster.attach("bob", 1)
    assert type(told) is wire.Refused
    assert cluster.last[0][0] == "client/bob"
    assert "client/bob" not in cluster.books.clients
    assert not told_but_refused(cluster.client("bob", wire.ListPublished(1)))


def test_who_comes_back_is_told_again_how_all_it_wants_has_ended():
    cluster = Cluster({"a": 3})
    cluster.submit("ann", task("x"), task("y"), task("z"), task("w", "y"))
    cluster.lose_link("client/ann")
    assert cluster.finish("x") == []
    assert cluster.fail("y") == []
    told = cluster.attach("ann")
    assert [type(m) for m in told] == [wire.Attached, wire.Done, wire.Erred, wire.Erred]
    assert told[0] == wire.Attached(1, True)
    assert told[1].holders == ("a",)
    assert [(m.id, m.blame) for m in told[2:]] == [("y", "y"), ("w", "y")]
    cluster.finish("z")
    assert cluster.told("client/ann", wire.Done)[-1].id == "z"


def test_who_comes_back_is_told_how_tasks_ended_that_are_forgotten():
    cluster = Cluster({"a": 1, "b": 1})
    scatter(cluster, "d", workers=("a",))
    holding(cluster, "a", "d")
    cluster.submit("ann", task("x", "d"), task("y", "x"))
    cluster.lose_link("client/ann")
    cluster.kill("a")
    cluster.kill("b")
    assert not cluster.books.tasks
    _, *ends = cluster.attach("ann")
    assert {m.id: m.failure.kind for m in ends} == {"d": "lost", "x": "lost", "y": "lost"}
    assert [type(m) for m in cluster.attach("ann")] == [wire.Attached]


def test_of_two_ends_of_one_task_the_last_is_told():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.lose_link("client/ann")  # what comes now was on its way
    cluster.client("ann", wire.Cancel(("x",), reason="first"))
    cluster.submit("ann", task("x"))
    cluster.client("ann", wire.Cancel(("x",), reason="second"))
    _, *ends = cluster.attach("ann")
    assert ends == [wire.Cancelled("x", "second")]


def test_to_attach_twice_changes_nothing():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    assert cluster.attach("ann") == [wire.Attached(1, True)]
    cluster.finish("x")
    assert cluster.state("x") == "memory"


def test_a_new_session_of_a_client_forgets_the_old_one():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    told = cluster.attach("ann", 9)
    assert wire.Attached(9, False) in told
    assert cluster.state("x") == "forgotten"
    assert not cluster.books.clients["client/ann"].wants_what


@pytest.mark.parametrize("event", [None, PeerGone("client/ann", -9)])
def test_who_leaves_wants_nothing_any_longer(event):
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"), task("z"))
    cluster.client("bob", wire.Desire(("z",)))
    cluster.client("ann", wire.Leave()) if event is None else cluster.shell(event)
    assert [cluster.state(id) for id in "xyz"] == ["forgotten", "forgotten", "processing"]
    assert not told_but_refused(cluster.client("ann", wire.Desire(("z",))))
    assert cluster.books.refused == {"message of a client that is not attached": 1}


def test_who_was_never_there_can_be_gone():
    cluster = Cluster()
    cluster.shell(PeerGone("client/zoe"))
    cluster.lose_link("client/zoe")
    cluster.shell(PeerGone("worker/zoe"))
    cluster.lose_link("worker/zoe")
    assert list(cluster.books.clients) == ["fire-and-forget", "lingering", "client/ann"]


def test_that_it_is_new_is_told_until_the_client_knows():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.lose_link("client/ann")
    live(cluster, 31.0, "worker/a")
    for _ in range(2):  # the first answer is lost with the link
        assert cluster.attach("ann", 1) == [wire.Attached(1, False)]
        cluster.lose_link("client/ann")
        cluster.now += 1.0
    cluster.attach("ann", 1)
    cluster.now += 1.0
    cluster.client("ann", wire.ClientBeat(1))
    assert cluster.attach("ann", 1) == [wire.Attached(1, True)]


def test_who_was_forgotten_and_still_speaks_is_told_so_once_a_beat():
    cluster = Cluster({"a": 1})
    live(cluster, 31.0, "worker/a")
    (refused,) = tell_unknown(cluster)
    assert (refused.what, "attach anew" in refused.reason) == ("client", True)
    assert tell_unknown(cluster) == []
    cluster.now += 3.0
    assert len(tell_unknown(cluster)) == 1
    assert cluster.attach("ann", 1) == [wire.Attached(1, False)]


def tell_unknown(cluster):
    return cluster.client("ann", wire.ClientBeat(1))


def test_a_beat_is_answered():
    assert Cluster().client("ann", wire.ClientBeat(3)) == [wire.Beaten(3)]


# --- wanting -----------------------------------------------------------------------------------


def test_who_wants_what_is_there_is_told_so():
    cluster = Cluster({"a": 2}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    cluster.fail("y")
    told = cluster.client("bob", wire.Desire(("x", "y")))
    assert [(type(m), m.id) for m in told] == [(wire.Done, "x"), (wire.Erred, "y")]


def test_who_wants_what_is_not_known_is_told_which():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"))
    (refused,) = cluster.client("bob", wire.Desire(("u", "x", "v")))
    assert (refused.what, refused.ids) == ("desire", ("u", "v"))
    assert len(cluster.ts("x").who_wants) == 2


def test_what_is_released_and_was_not_wanted_is_counted():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"))
    cluster.release("bob", "x", "unknown")
    assert cluster.state("x") == "processing"
    assert cluster.books.refused == {"release of what is not wanted": 2}


def test_what_is_fired_and_forgotten_runs_to_its_end():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.client("ann", wire.FireAndForget(("y",)), wire.Leave())
    assert [cluster.state(id) for id in "xy"] == ["processing", "waiting"]
    cluster.drive()
    assert cluster.story("y").endswith("processing > memory > forgotten")
    assert not cluster.books.tasks


def test_what_is_fired_and_forgotten_may_fail():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.client("ann", wire.FireAndForget(("y",)), wire.Leave())
    cluster.fail("x")
    assert cluster.story("y").endswith("erred > forgotten")
    assert not cluster.books.tasks


def test_what_has_ended_is_not_kept_by_fire_and_forget():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    cluster.fail("y")
    (refused,) = cluster.client("ann", wire.FireAndForget(("x", "y", "u")))
    assert refused.ids == ("u",)
    cluster.release("ann", "x", "y")
    assert not cluster.books.tasks


def test_lineage_that_is_fired_and_forgotten_is_computed():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.finish("x")
    cluster.finish("y")
    assert cluster.state("x") == "released"
    cluster.client("ann", wire.FireAndForget(("x",)))
    assert cluster.state("x") == "processing"
    cluster.finish("x")
    assert cluster.state("x") == "released"


# --- publishing --------------------------------------------------------------------------------


def publish(cluster, name, *ids, ask=1, **more):
    return cluster.client("ann", wire.Publish(ask, name, ids, **more))


def test_what_is_published_stays_when_its_client_leaves():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"))
    assert publish(cluster, "table", "y", note=b"two columns") == [wire.Reply(1)]
    cluster.client("ann", wire.Leave())
    cluster.drive()
    assert [cluster.state(id) for id in "xy"] == ["released", "memory"]
    told = cluster.client("bob", wire.GetPublished(4, "table"))
    assert told == [wire.Reply(4, [["y"], b"two columns"])]
    assert not cluster.books.clients["client/bob"].wants_what


def test_nobody_is_told_how_what_is_published_ends_but_who_wants_it():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    publish(cluster, "table", "x")
    cluster.finish("x")
    assert {peer for peer, _ in cluster.sent} == {"client/ann", "worker/a"}
    live(cluster, 60.0, "worker/a")
    assert cluster.state("x") == "memory"


def test_what_is_unpublished_is_let_go():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    publish(cluster, "table", "x")
    cluster.finish("x")
    cluster.release("ann", "x")
    assert cluster.state("x") == "memory"
    told = cluster.client("ann", wire.Unpublish(2, "table"))
    assert wire.Reply(2) in told
    assert cluster.state("x") == "forgotten"


def test_names_are_listed_sorted():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    for name in ("b", "c", "a"):
        publish(cluster, name, "x")
    told = cluster.client("ann", wire.ListPublished(9))
    assert told == [wire.Reply(9, ["a", "b", "c"])]


def test_a_name_is_taken_until_somebody_says_override():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    publish(cluster, "table", "x")
    (reply,) = publish(cluster, "table", "y", ask=2)
    assert reply.ask == 2
    assert "table" in reply.error
    cluster.release("ann", "x", "y")
    cluster.submit("ann", task("y"))
    told = publish(cluster, "table", "y", ask=3, override=True)
    assert wire.Reply(3) in told
    assert cluster.state("x") == "forgotten"
    assert [ts.id for ts in cluster.books.clients["published/table"].wants_what] == ["y"]


def test_to_publish_again_what_stands_there_keeps_it():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    publish(cluster, "table", "x")
    cluster.release("ann", "x")
    publish(cluster, "table", "x", override=True, note=b"new")
    assert cluster.state("x") == "processing"
    assert cluster.books.clients["published/table"].note == b"new"


@pytest.mark.parametrize(
    ("request_", "word"),
    [
        (wire.Publish(5, "table", ("x", "nope")), "nope"),
        (wire.Unpublish(5, "nope"), "nope"),
        (wire.GetPublished(5, "nope"), "nope"),
    ],
)
def test_a_wrong_request_is_answered_once_and_changes_nothing(request_, word):
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (reply,) = cluster.client("ann", request_)
    assert reply.ask == 5
    assert word in reply.error
    assert list(cluster.books.clients) == ["fire-and-forget", "lingering", "client/ann"]
    assert len(cluster.ts("x").who_wants) == 1


def test_a_published_name_is_no_client_that_could_be_lost():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    publish(cluster, "table", "x")
    cluster.shell(PeerGone("published/table"))
    assert "published/table" in cluster.books.clients


def test_what_somebody_published_that_fails_is_told_to_who_wants_it_later():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"))
    publish(cluster, "table", "x")
    cluster.client("ann", wire.Leave())
    cluster.fail("x")
    (erred,) = cluster.client("bob", wire.Desire(("x",)))
    assert erred.failure == OOPS
