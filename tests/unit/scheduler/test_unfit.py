"""Where no other worker can come, what none could ever run fails; elsewhere it waits."""

from __future__ import annotations

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire


def failures(cluster: Cluster) -> dict[wire.TaskId, wire.Failure]:
    return {m.id: m.failure for _, m in cluster.sent if type(m) is wire.Erred}


def test_a_task_that_asks_for_too_much_fails_and_says_what_there_is():
    cluster = Cluster({"w": 2}, closed=True)
    cluster.submit("ann", task("x", slots=5))
    failure = failures(cluster)["x"]
    assert failure.kind == "unfit"
    assert failure.text.startswith("no worker can ever run it: of 1 worker, ")
    assert "5" in failure.text


def test_what_came_before_the_first_worker_is_judged_when_it_comes():
    cluster = Cluster(closed=True)
    cluster.submit("ann", task("x", slots=5), task("y", slots=1))
    assert failures(cluster) == {}
    cluster.join("w", 2)
    assert set(failures(cluster)) == {"x"}
    cluster.finish("y")
    assert cluster.books.tasks["y"].state == "memory"


def test_what_depends_on_it_fails_with_it():
    cluster = Cluster({"w": 1}, closed=True)
    cluster.submit("ann", task("x", hosts=("nowhere",)), task("y", "x"), wants="xy")
    assert set(failures(cluster)) == {"x", "y"}


def test_a_wish_is_no_demand():
    cluster = Cluster({"w": 1}, closed=True)
    cluster.submit("ann", task("x", hosts=("nowhere",), loose=True))
    assert failures(cluster) == {}


def test_a_worker_that_drains_is_no_judge():
    cluster = Cluster({"w": 1}, closed=True)
    cluster.worker("w", wire.Leaving("it must go", 30.0))
    cluster.submit("ann", task("x"))
    assert failures(cluster) == {}


def test_where_more_workers_may_come_it_waits():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("x", slots=5))
    assert failures(cluster) == {}
    assert cluster.books.tasks["x"].state == "no-worker"
    cluster.join("big", 8)
    assert cluster.books.tasks["x"].state == "processing"
