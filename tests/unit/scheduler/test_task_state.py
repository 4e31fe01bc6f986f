"""Every attribute of the page of `TaskState` is true at each instant of a task's life."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.harness import OOPS, Cluster, task
from treadle import wire
from treadle.scheduler import TaskState
from treadle.wire import task_id

#: Attributes of the page, as a task shows them by the names of others.
SETS = ("dependencies", "dependents", "waiting_on", "waiters")


def shown(ts: TaskState) -> dict[str, Any]:
    """What a task shows, by names; what is empty, None or False is left out."""
    values: dict[str, Any] = {
        "state": ts.state,
        "processing_on": ts.processing_on and ts.processing_on.id,
        "who_has": {ws.id for ws in ts.who_has},
        "who_wants": {client.peer.removeprefix("client/") for client in ts.who_wants},
        "exception_blame": ts.exception_blame and ts.exception_blame.id,
        "exception": ts.exception,
        "traceback": ts.traceback,
        "nbytes": ts.nbytes,
        "type": ts.type,
        "retries": ts.retries,
        "suspicious": ts.suspicious,
        "has_lost_dependencies": ts.has_lost_dependencies,
    }
    for name in SETS:
        values[name] = {other.id for other in getattr(ts, name)}
    return {name: value for name, value in values.items() if value}


#: What is done; then what x, and y which depends on it, show. y is wanted, x is not.
LIFE: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "submit",
        {"state": "processing", "processing_on": "w", "dependents": {"y"}, "waiters": {"y"}},
        {"state": "waiting", "dependencies": {"x"}, "waiting_on": {"x"}, "who_wants": {"ann"}},
    ),
    (
        "finish x",
        {
            "state": "memory", "who_has": {"w"}, "dependents": {"y"}, "waiters": {"y"},
            "nbytes": 10, "type": "int",
        },
        {
            "state": "processing", "processing_on": "w", "dependencies": {"x"},
            "who_wants": {"ann"},
        },
    ),
    (
        "finish y",
        {"state": "released", "dependents": {"y"}, "nbytes": 10, "type": "int"},
        {
            "state": "memory", "who_has": {"w"}, "dependencies": {"x"}, "who_wants": {"ann"},
            "nbytes": 10, "type": "int",
        },
    ),
    (
        "desire x",
        {
            "state": "processing", "processing_on": "w", "dependents": {"y"}, "nbytes": 10,
            "type": "int", "who_wants": {"ann"},
        },
        {
            "state": "memory", "who_has": {"w"}, "dependencies": {"x"}, "who_wants": {"ann"},
            "nbytes": 10, "type": "int",
        },
    ),
    (
        "fail x",
        {
            "state": "erred", "dependents": {"y"}, "nbytes": 10, "type": "int",
            "who_wants": {"ann"}, "exception_blame": "x", "exception": OOPS,
            "traceback": OOPS.traceback,
        },
        {
            "state": "memory", "who_has": {"w"}, "dependencies": {"x"}, "who_wants": {"ann"},
            "nbytes": 10, "type": "int",
        },
    ),
    (
        "release y",
        {
            "state": "erred", "nbytes": 10, "type": "int", "who_wants": {"ann"},
            "exception_blame": "x", "exception": OOPS, "traceback": OOPS.traceback,
        },
        {"state": "forgotten", "nbytes": 10, "type": "int"},
    ),
    (
        "release x",
        {"state": "forgotten"},
        {"state": "forgotten", "nbytes": 10, "type": "int"},
    ),
]  # fmt: skip


def test_a_life_of_two_tasks():
    cluster = Cluster({"w": 1})
    for what, x, y in LIFE:
        verb, _, id = what.partition(" ")
        if verb == "submit":
            cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
        elif verb == "desire":
            cluster.client("ann", wire.Desire((id,)))
        elif verb == "release":
            cluster.release("ann", id)
        else:
            getattr(cluster, verb)(id)
        gone = shown(cluster.ts("x"))
        if gone["state"] == "forgotten":
            gone = {"state": "forgotten"}  # of what is gone only that is promised
        assert (what, gone) == (what, x)
        assert (what, shown(cluster.ts("y"))) == (what, y)


def test_waiting_on_and_waiters_are_not_the_reverse_of_each_other():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("a"), task("b"), task("c", "a", "b"), wants=["c"])
    cluster.finish("a")
    a, b, c = (cluster.ts(id) for id in "abc")
    assert c.waiting_on == {b}
    assert a.waiters == b.waiters == {c}


def test_a_dependency_that_runs_again_is_waited_for_again():
    cluster = Cluster({"w": 1, "v": 1})
    cluster.submit("ann", task("a"), task("b"), task("c", "a", "b"), wants=["c"])
    where, _ = cluster.run_of("a")
    cluster.finish("a")
    cluster.kill(where)
    assert cluster.ts("c").waiting_on == {cluster.ts("a"), cluster.ts("b")}
    cluster.drive()
    assert cluster.state("c") == "memory"


@pytest.mark.parametrize(
    ("id", "name", "key"),
    [
        (task_id(1, 7), "inc", "inc-1-7"),
        (task_id(1, 0xABC), "inc", f"inc-1-{0xABC}"),
        ("mine", "inc", "mine"),
    ],
)
def test_the_key_is_the_users_or_derived_from_the_number(id, name, key):
    cluster = Cluster()
    cluster.submit("ann", task(id, name=name))
    assert cluster.ts(id).key == key


def test_the_priority_is_the_users_number_the_submission_and_the_order():
    cluster = Cluster()
    cluster.submit("ann", task("a"), task("b", priority=-2.5))
    cluster.submit("ann", task("c"))
    a, b, c = (cluster.ts(id).priority for id in "abc")
    assert (a, b, c) == ((0.0, 1, 0), (-2.5, 1, 1), (0.0, 2, 0))
    assert b < a < c


def test_what_continues_earlier_work_comes_before_later_work():
    cluster = Cluster()
    cluster.submit("ann", task("a"))
    cluster.submit("ann", task("b"))
    cluster.submit("ann", task("c", "a"))
    assert cluster.ts("c").priority <= cluster.ts("a").priority < cluster.ts("b").priority


def test_a_graph_is_ordered_depth_first_as_a_whole():
    cluster = Cluster()
    cluster.submit(
        "ann",
        task("a1"), task("b1"), task("a2", "a1"), task("b2", "b1"), task("a3", "a2"),
        graph=True,
    )  # fmt: skip
    order = sorted(("a1", "a2", "a3", "b1", "b2"), key=lambda id: cluster.ts(id).priority)
    assert "".join(order) in ("a1a2a3b1b2", "b1b2a1a2a3")


def test_restrictions_are_shown_as_sets_or_not_at_all():
    cluster = Cluster()
    cluster.submit(
        "ann",
        task("free"),
        task("bound", hosts=("h1", "h2"), workers=("w",), resources={"gpu": 2}, loose=True),
    )
    free, bound = cluster.ts("free"), cluster.ts("bound")
    assert free.host_restrictions is None
    assert free.worker_restrictions is None
    assert free.resource_restrictions is None
    assert free.loose_restrictions is False
    assert bound.host_restrictions == {"h1", "h2"}
    assert bound.worker_restrictions == {"w"}
    assert bound.resource_restrictions == {"gpu": 2}
    assert bound.loose_restrictions is True


def test_metadata_is_shown_as_it_was_given():
    cluster = Cluster()
    cluster.submit("ann", task("a", metadata={"colour": "red"}), task("b"))
    assert cluster.ts("a").metadata == {"colour": "red"}
    assert cluster.ts("b").metadata == {}


def test_a_task_belongs_to_the_prefix_of_its_name_and_a_group_of_that():
    cluster = Cluster({"w": 2}, clients=("ann", "bob"))
    one, two, bobs = task_id(1, 1), task_id(1, 2), task_id(2, 1)
    cluster.submit("ann", task(one, name="inc"), task(two, name="inc"), wants=[one, two])
    cluster.submit("bob", task(bobs, name="inc"), task("sum", bobs, name="sum"), graph=True)
    first = cluster.ts(one)
    assert first.prefix is cluster.ts(two).prefix is cluster.ts(bobs).prefix
    assert first.group is cluster.ts(two).group
    assert first.group is not cluster.ts(bobs).group
    assert cluster.ts("sum").prefix.name == "sum"
    assert first.prefix.states["processing"] + first.prefix.states["waiting"] == 3
    assert len(first.group) == 2


def test_a_prefix_learns_how_long_its_tasks_take():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", *[task(id, name="inc") for id in "abc"])
    prefix = cluster.ts("a").prefix
    assert prefix.duration_s is None
    cluster.finish("a", nbytes=100, duration_s=1.0)
    assert (prefix.duration_s, prefix.nbytes, prefix.finished) == (1.0, 100, 1)
    cluster.drive(lambda run: wire.Finished(run.id, run.attempt, 200, "int", 2.0))
    assert (prefix.duration_s, prefix.nbytes, prefix.finished) == (1.75, 175, 3)
    assert cluster.ts("a").group.nbytes == 500


def test_the_run_spec_is_opaque_and_none_for_data():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    assert cluster.ts("a").run_spec == b"run a"
    cluster.client("ann", wire.Scatter(1, (wire.DataSpec("d", "data", 8),)))
    assert cluster.ts("d").run_spec is None


def test_an_actor_shows_that_it_is_one():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("counter", actor=True), task("a"))
    assert cluster.ts("counter").actor is True
    assert cluster.ts("a").actor is False


def test_clients_are_shown_who_want_it():
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", task("a"))
    cluster.client("bob", wire.Desire(("a",)))
    a = cluster.ts("a")
    assert {client.peer for client in a.who_wants} == {"client/ann", "client/bob"}
    for client in a.who_wants:
        assert a in client.wants_what
    cluster.release("ann", "a")
    assert len(a.who_wants) == 1


@pytest.mark.parametrize(
    ("do", "text"),
    [
        ((), "<TaskState 'x' processing on w>"),
        (("finish",), "<TaskState 'x' memory, 10 bytes on 1 worker(s)>"),
        (("fail",), "<TaskState 'x' erred, blames x>"),
    ],
)
def test_a_task_prints_what_matters_in_its_state(do, text):
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    assert repr(cluster.ts("y")) == "<TaskState 'y' waiting on 1>"
    for step in do:
        getattr(cluster, step)("x")
    assert repr(cluster.ts("x")) == text


def test_tasks_are_equal_only_to_themselves():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    first = cluster.ts("x")
    cluster.release("ann", "x")
    cluster.submit("ann", task("x"))
    assert cluster.ts("x") != first
    assert len({first, cluster.ts("x")}) == 2


def test_a_task_without_a_worker_says_no_worker():
    cluster = Cluster()
    cluster.submit("ann", task("x"))
    assert cluster.state("x") == "no-worker"
    assert cluster.ts("x").processing_on is None
