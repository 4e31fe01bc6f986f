"""Of tasks that begin at about the same time, a slot takes the one whose input is on its worker."""

from __future__ import annotations

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.placing import made_on, where
from treadle import wire

MB = 10**6


def full(slots: int = 4, **policy) -> Cluster:
    """Two workers with a result each, `x` on w1 and `y` on w2, and all their slots taken."""
    cluster = Cluster({"w1": slots, "w2": slots}, **policy)
    made_on(cluster, "w1", "x", 10 * MB)
    made_on(cluster, "w2", "y", 10 * MB)
    for worker in ("w1", "w2"):
        busy = [task(f"busy-{worker}-{i}", name="busy", workers=(worker,)) for i in range(slots)]
        cluster.submit("ann", *busy)
    return cluster


def graph(cluster: Cluster, *tasks) -> None:
    cluster.submit("ann", *tasks, graph=True)


def test_a_slot_takes_the_task_whose_input_is_there():
    cluster = full()
    graph(cluster, task("a", "x"), task("b", "y"))
    first = min(("a", "b"), key=lambda id: cluster.ts(id).rank)
    other = {"a": "b", "b": "a"}[first]
    free = {"a": "w2", "b": "w1"}[first]  # the worker that lacks what the best task needs
    cluster.finish(f"busy-{free}-0")
    assert where(cluster, other) == free
    assert where(cluster, first) == ""
    cluster.finish(f"busy-{free}-1")
    assert where(cluster, first) == free  # it is passed over once


def test_it_is_so_for_tasks_that_come_one_by_one():
    cluster = full()
    cluster.submit("ann", task("a", "x"))
    cluster.submit("ann", task("b", "y"))
    cluster.finish("busy-w2-0")
    assert where(cluster, "b") == "w2"


def test_a_task_that_comes_much_later_is_not_preferred():
    cluster = Cluster({"w1": 2, "w2": 2})
    made_on(cluster, "w1", "x", 10 * MB)
    for i in range(5):
        made_on(cluster, "w1", f"between{i}", 10)
    made_on(cluster, "w2", "y", 10 * MB)  # and what needs it has its place in line
    for worker in ("w1", "w2"):
        cluster.submit(
            "ann", *[task(f"busy-{worker}-{i}", name="busy", workers=(worker,)) for i in (0, 1)]
        )
    cluster.submit("ann", task("a", "x"))
    cluster.submit("ann", task("b", "y"))
    cluster.finish("busy-w2-0")
    assert where(cluster, "a") == "w2"


def test_priority_comes_before_inputs():
    cluster = full()
    cluster.submit("ann", task("b", "y", priority=1.0))
    cluster.submit("ann", task("a", "x", priority=0.0))
    cluster.finish("busy-w2-0")
    assert where(cluster, "a") == "w2"


def test_small_inputs_do_not_count():
    cluster = Cluster({"w1": 2, "w2": 2})
    made_on(cluster, "w1", "x", 100)
    made_on(cluster, "w2", "y", 100)
    for worker in ("w1", "w2"):
        cluster.submit(
            "ann", *[task(f"busy-{worker}-{i}", name="busy", workers=(worker,)) for i in (0, 1)]
        )
    cluster.submit("ann", task("a", "x"))
    cluster.submit("ann", task("b", "y"))
    cluster.finish("busy-w2-0")
    assert where(cluster, "a") == "w2"


def test_who_was_listed_and_is_cancelled_is_passed_by():
    cluster = full()
    cluster.submit("ann", task("a", "x"))
    cluster.submit("ann", task("b", "y"))
    cluster.client("ann", wire.Cancel(("b",)))
    cluster.finish("busy-w2-0")
    assert where(cluster, "a") == "w2"
