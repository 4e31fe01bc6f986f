"""A task goes where its inputs are, waits for that worker if it is worth it, and never for ever."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.placing import given, learn, loads, made_on, paused, submit, where
from treadle import wire

MB, GB = 10**6, 10**9


def occupied(cluster: Cluster, worker: str, n: int = 1, **more) -> list[str]:
    """Tasks that run on the worker, and take its slots."""
    first = f"busy-{worker}-"
    return submit(cluster, n, first=first, workers=(worker,), name="busy", **more)


def test_a_task_goes_where_its_input_is():
    cluster = Cluster({f"w{i}": 2 for i in range(5)})
    made_on(cluster, "w3", "x", MB)
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == "w3"


def test_a_task_goes_where_most_of_its_inputs_are():
    cluster = Cluster({f"w{i}": 2 for i in range(5)})
    made_on(cluster, "w1", "small", MB)
    made_on(cluster, "w2", "large", 9 * MB)
    made_on(cluster, "w3", "medium", 5 * MB)
    cluster.submit("ann", task("a", "small", "large", "medium"))
    assert where(cluster, "a") == "w2"


def test_two_small_inputs_together_outweigh_a_larger_one():
    cluster = Cluster({f"w{i}": 2 for i in range(5)})
    made_on(cluster, "w1", "x", 4 * MB)
    made_on(cluster, "w1", "y", 4 * MB)
    made_on(cluster, "w2", "z", 5 * MB)
    cluster.submit("ann", task("a", "x", "y", "z"))
    assert where(cluster, "a") == "w1"


def test_of_two_that_have_all_inputs_the_emptier_one_is_taken():
    cluster = Cluster({"w1": 2, "w2": 2})
    made_on(cluster, "w1", "x", MB)
    held = wire.Held("x", cluster.ts("x").attempt, MB, "int")
    cluster.worker("w2", wire.Holding((held,)))
    made_on(cluster, "w1", "more", MB)
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == "w2"


def test_a_chain_stays_on_its_worker():
    cluster = Cluster({f"w{i}": 2 for i in range(4)})
    cluster.submit("ann", task("c0"), *[task(f"c{i}", f"c{i - 1}") for i in range(1, 10)])
    home = where(cluster, "c0")
    for i in range(10):
        assert where(cluster, f"c{i}") == home
        cluster.finish(f"c{i}", MB)


def test_a_small_input_does_not_keep_a_task_from_an_idle_worker():
    cluster = Cluster({"w1": 1, "w2": 1})
    made_on(cluster, "w1", "x", 1000)
    occupied(cluster, "w1")
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == "w2"


def test_a_large_input_is_waited_for_if_that_is_shorter():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "busy", 1.0)
    made_on(cluster, "w1", "x", 10 * GB)
    occupied(cluster, "w1")
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == ""
    assert cluster.state("a") == "waiting"
    cluster.finish("busy-w1-0", duration_s=1.0)
    assert where(cluster, "a") == "w1"


def test_a_large_input_travels_if_waiting_is_longer():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "busy", 60.0)
    made_on(cluster, "w1", "x", 10 * GB)
    occupied(cluster, "w1")
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == "w2"


def test_only_as_many_wait_for_a_worker_as_are_worth_it():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "busy", 1.0)
    learn(cluster, "f", 1.0)
    made_on(cluster, "w1", "x", 10 * GB)
    occupied(cluster, "w1")
    submit(cluster, 40, "x")
    assert len(given(cluster, "w2")) == 2, "one works, and one is on its way"
    assert 5 < len(cluster.books.queues.reserved) < 15


def test_who_waits_for_a_worker_does_not_block_others():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "busy", 1.0)
    made_on(cluster, "w1", "x", 10 * GB)
    occupied(cluster, "w1")
    cluster.submit("ann", task("a", "x"), task("b"))
    assert where(cluster, "b") == "w2"


def waits_for_w1(**more) -> Cluster:
    cluster = Cluster({"w1": 1, "w2": 1}, **more)
    learn(cluster, "busy", 1.0)
    made_on(cluster, "w1", "x", 10 * GB)
    occupied(cluster, "w1")
    cluster.submit("ann", task("a", "x"))
    assert where(cluster, "a") == ""
    return cluster


def test_who_has_waited_too_long_goes_elsewhere():
    cluster = waits_for_w1()
    wanted = cluster.scheduler.wake_at
    assert wanted is not None
    assert wanted < cluster.now + 5.0
    cluster.tick(wanted - cluster.now)
    if where(cluster, "a") == "":
        wanted = cluster.scheduler.wake_at
        assert wanted is not None
        cluster.tick(wanted - cluster.now)
    assert where(cluster, "a") == "w2"


def test_who_waits_for_a_worker_that_is_lost_goes_elsewhere():
    cluster = waits_for_w1()
    held = wire.Held("x", cluster.ts("x").attempt, 10 * GB, "int")
    cluster.worker("w2", wire.Holding((held,)))
    cluster.lose_link("worker/w1")
    assert where(cluster, "a") == "w2"


def test_who_waits_for_a_worker_that_is_paused_goes_elsewhere():
    cluster = waits_for_w1()
    paused(cluster, "w1")
    assert where(cluster, "a") == "w2"


def test_who_waits_for_a_worker_that_drains_goes_elsewhere():
    cluster = waits_for_w1()
    cluster.worker("w1", wire.Leaving("preempted", 60.0))
    assert where(cluster, "a") == "w2"


def test_who_waits_for_a_worker_that_dies_waits_for_its_input():
    cluster = waits_for_w1()
    cluster.kill("w1", accuses=False)
    assert where(cluster, "x") == ""
    assert cluster.ts("a").n_waiting_on == 1


def test_who_waits_for_a_worker_can_be_withdrawn():
    cluster = waits_for_w1()
    cluster.release("ann", "a")
    assert not cluster.books.queues.reserved
    cluster.finish("busy-w1-0", duration_s=1.0)
    assert loads(cluster) == [0, 0]


def test_a_more_urgent_task_comes_before_who_waits_for_the_worker():
    cluster = waits_for_w1()
    cluster.submit("ann", task("urgent", workers=("w1",), priority=-1.0))
    cluster.finish("busy-w1-0", duration_s=1.0)
    assert given(cluster, "w1") == ["urgent"]


def test_who_waits_for_a_worker_comes_before_later_tasks():
    cluster = waits_for_w1()
    cluster.submit("ann", task("later", workers=("w1",)))
    cluster.finish("busy-w1-0", duration_s=1.0)
    assert given(cluster, "w1") == ["a"]


def test_restrictions_come_before_inputs():
    cluster = Cluster({"w1": 1, "w2": 1})
    made_on(cluster, "w1", "x", GB)
    cluster.submit("ann", task("a", "x", workers=("w2",)))
    assert where(cluster, "a") == "w2"


def test_a_full_holder_takes_short_tasks_ahead():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "f", 0.0001)
    made_on(cluster, "w1", "x", MB)
    ids = submit(cluster, 5, "x")
    assert {where(cluster, id) for id in ids} == {"w1"}


def test_one_task_more_is_sent_if_its_inputs_take_longer_than_a_slot_to_get_free():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "busy", 0.05)
    learn(cluster, "f", 0.05)
    made_on(cluster, "w1", "x", 100 * MB)
    learn(cluster, "f", 0.05)
    paused(cluster, "w1")
    submit(cluster, 10, "x")
    assert len(given(cluster, "w2")) == 2


def test_no_task_more_is_sent_if_its_inputs_come_fast():
    cluster = Cluster({"w1": 1, "w2": 1})
    learn(cluster, "f", 0.05)
    made_on(cluster, "w1", "x", MB)
    paused(cluster, "w1")
    submit(cluster, 10, "x")
    assert len(given(cluster, "w2")) == 1


@pytest.mark.parametrize("n", [2, 9, 40])
def test_a_task_with_many_inputs_names_them_all(n):
    cluster = Cluster({"w1": 4, "w2": 4})
    for i in range(n):
        made_on(cluster, ("w1", "w2")[i % 2], f"x{i}", 1000)
    cluster.submit("ann", task("sum", *[f"x{i}" for i in range(n)]))
    _, run = cluster.run_of("sum")
    assert [each.id for each in run.inputs] == [f"x{i}" for i in range(n)]


def test_an_idle_worker_runs_something_if_anything_is_ready():
    cluster = Cluster({f"w{i}": 1 for i in range(6)})
    made_on(cluster, "w0", "x", MB)
    submit(cluster, 20, "x")
    assert loads(cluster) == [1] * 6


def test_a_bundle_that_waited_for_a_worker_is_cut_there():
    cluster = waits_for_w1()
    cluster.release("ann", "a")
    first = wire.task_id(1, 1)
    cluster.submit("ann", task(first, "x", rows=(b"",) * 4, name="new"))
    assert cluster.ts(first) in cluster.books.queues.reserved
    cluster.finish("busy-w1-0", duration_s=1.0)
    assert [len(run.rows) for run in cluster.runs["w1"].values()] == [1]
    cluster.drive()
    done = [m for m in cluster.told("client/ann", wire.Done) if type(m.id) is int]
    assert sum(m.rows for m in done) == 4
