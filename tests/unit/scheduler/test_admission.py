"""Tasks come in whole messages, or not at all."""

from __future__ import annotations

import re

import pytest

from tests.unit.scheduler.harness import Cluster, task
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
