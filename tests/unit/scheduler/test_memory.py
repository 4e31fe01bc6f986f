"""What is forgotten leaves nothing behind, though the garbage collector does not look at tasks."""

from __future__ import annotations

import gc
import tracemalloc

from tests.unit.scheduler.harness import Cluster, task


def life(cluster: Cluster) -> None:
    """Tasks that depend on each other, fail, are actors and their calls, and are forgotten."""
    cluster.submit("ann", task("a"), task("b", "a"), task("c", "a", "b"))
    cluster.finish("a")
    cluster.fail("b")
    cluster.submit("ann", task("actor", actor=True), task("call", home="actor"))
    cluster.finish("actor")
    cluster.finish("call")
    cluster.release("ann", "a", "b", "c", "actor", "call")
    assert not cluster.books.tasks
    cluster.seen.clear()
    cluster.sent.clear()
    for runs in cluster.runs.values():
        runs.clear()


def test_tasks_that_are_forgotten_are_freed():
    cluster = Cluster({"w": 4})
    for _ in range(20):
        life(cluster)
    gc.collect()
    tracemalloc.start()
    try:
        life(cluster)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(100):
            life(cluster)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert grown < 100 * 200, "less than one task for each life"
