"""Tasks come in whole messages, or not at all."""

from __future__ import annotations

import re

import pytest

from tests.unit.scheduler.harness import Cluster, finished, raised, task
from treadle import wire
from treadle.wire import task_id

FAULTS = {
    "another session's number": (task(task_id(2, 1)), "another session"),
    "an unknown dependency": (task("a", "nobody"), "depends on 'nobody', which is not known"),
    "a dependency on itself": (task("a", "a"), "in a ring: a|depends on 'a', which is not known"),
    "an actor's call without the actor": (task("a", home="nobody"), "'nobody'"),
    "a call of what is no actor": (task("a", home="known"), "which is no actor"),
    "a key that is known for other work": (
        task("known", run_spec=b"other"),
        "known for other work",
    ),
    "a key that is known with other dependencies": (
        task("child"),
        "known with other dependencies",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("graph", [False, True])
def test_what_cannot_be_admitted_is_refused_with_all_that_came_with_it(name, graph):
    bad, text = FAULTS[name]
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("known"), task("child", "known"))
    before = dict(cluster.books.tasks)
    (refused,) = cluster.submit("ann", task("good"), bad, graph=graph)
    assert isinstance(refused, wire.Refused)
    assert refused.what == "submit"
    assert re.search(text, refused.reason)
    assert set(refused.ids) == {"good", bad["spec"]["id"]}
    assert cluster.books.tasks == before


@pytest.mark.parametrize("graph", [False, True])
def test_a_ring_is_refused(graph):
    cluster = Cluster({"w": 1})
    ring = (task("a", "c"), task("b", "a"), task("c", "b"))
    (refused,) = cluster.submit("ann", *ring, graph=graph)
    assert isinstance(refused, wire.Refused)
    assert ("ring" if graph else "not known") in refused.reason
    assert not cluster.books.tasks


def test_a_wish_for_what_is_not_known_is_refused():
    cluster = Cluster({"w": 1})
    (refused,) = cluster.submit("ann", task("a"), wants=["b"])
    assert isinstance(refused, wire.Refused)
    assert not cluster.books.tasks


def test_a_graph_may_name_a_task_before_it_describes_it():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("b", "a"), task("a"), graph=True)
    cluster.drive()
    assert cluster.state("b") == "memory"


def test_what_is_known_is_wanted_and_not_computed_again():
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", task("a"))
    cluster.finish("a")
    (done,) = cluster.submit("bob", task("a"))
    assert isinstance(done, wire.Done)
    assert {client.peer for client in cluster.ts("a").who_wants} == {"client/ann", "client/bob"}
    assert cluster.ts("a").attempt == 1


def test_what_has_failed_is_told_to_who_wants_it_later():
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", task("a"))
    cluster.fail("a")
    (erred,) = cluster.submit("bob", task("a"))
    assert isinstance(erred, wire.Erred)
    assert erred.blame == "a"


def test_equal_options_are_one_object():
    cluster = Cluster()
    cluster.submit("ann", task("a", retries=2))
    cluster.submit("ann", task("b", retries=2))
    assert cluster.ts("a").options is cluster.ts("b").options


def test_tasks_without_a_wish_of_anybody_are_not_kept():
    cluster = Cluster({"w": 1})
    assert cluster.submit("ann", task("a"), wants=[]) == []
    assert not cluster.books.tasks


def test_what_is_known_goes_on_though_a_copy_of_its_message_is_refused():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    (refused,) = cluster.submit("ann", task("a"), task("b", "nobody"))
    assert refused.ids == ("b",)
    assert cluster.state("a") == "processing"


def test_what_is_new_in_a_message_that_comes_again_is_told_once():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    cluster.fail("a")
    told = cluster.submit("ann", task("a"), task("b", "a"))
    assert sorted(m.id for m in told if isinstance(m, wire.Erred)) == ["a", "b"]


def again(**more):
    """Frames that let go of a task and submit it anew."""
    spec = {**task("x")["spec"], **more}
    return [wire.Release(("x",)), wire.Submit((wire.TaskSpec(**spec),))]


def test_what_has_failed_is_tried_anew_if_it_is_let_go_of_and_comes_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.drive(raised)
    cluster.step(again(), "client/ann")
    cluster.drive(finished)
    assert cluster.books.tasks["x"].state == "memory"


def test_a_key_that_is_let_go_of_is_free_for_other_work_at_once():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.drive(finished)
    sent = cluster.step(again(run_spec=b"other work"), "client/ann")
    assert not [m for m in sent if isinstance(m, wire.Refused)]
    cluster.drive(finished)
    assert cluster.books.tasks["x"].run_spec == b"other work"


def test_a_result_that_is_let_go_of_and_wanted_again_stays():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.drive(finished)
    cluster.step(again(), "client/ann")
    assert cluster.books.tasks["x"].state == "memory"


def test_a_key_that_somebody_else_wants_is_not_free():
    cluster = Cluster({"a": 1}, clients=("ann", "ben"))
    cluster.submit("ann", task("x"))
    cluster.client("ben", wire.Desire(("x",)))
    cluster.drive(finished)
    sent = cluster.step(again(run_spec=b"other work"), "client/ann")
    assert [m.kind for m in sent if isinstance(m, wire.Refused)] == ["key"]
