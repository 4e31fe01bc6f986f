"""Beyond its slots a worker is given milliseconds of work, never long tasks."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.placing import given, learn, loads, submit, where
from treadle.scheduler._placement import LEAST_S


@pytest.mark.parametrize("duration_s", [0.25, 60.0, 3600.0])
def test_nothing_waits_at_a_worker_behind_a_long_task(duration_s):
    cluster = Cluster({"w": 2})
    learn(cluster, "f", duration_s)
    submit(cluster, 20)
    assert len(given(cluster, "w")) == 2


def test_long_tasks_are_bound_late_to_whoever_is_free_first():
    cluster = Cluster({"slow": 1, "fast": 1})
    learn(cluster, "f", 60.0)
    submit(cluster, 4)
    other = where(cluster, "t0")
    for id in ("t1", "t2"):
        cluster.finish(id, duration_s=60.0)
    assert where(cluster, "t3") != other
    assert where(cluster, "t0") == other


def test_of_an_unknown_duration_each_slot_gets_one_until_the_first_answer():
    cluster = Cluster({"w": 3})
    submit(cluster, 50)
    assert len(given(cluster, "w")) == 3
    cluster.finish("t0", duration_s=0.001)
    assert len(given(cluster, "w")) > 3


def test_a_worker_is_fed_milliseconds_of_work():
    cluster = Cluster({"w": 1}, prefetch_s=0.005)
    learn(cluster, "f", 0.001)
    submit(cluster, 50)
    assert len(given(cluster, "w")) == 5


def test_each_slot_is_fed_so_much():
    cluster = Cluster({"w": 4}, prefetch_s=0.005)
    learn(cluster, "f", 0.001)
    submit(cluster, 100)
    assert len(given(cluster, "w")) == 20


def test_what_takes_no_time_is_not_fed_without_end():
    cluster = Cluster({"w": 1}, prefetch_s=0.005)
    learn(cluster, "f", 0.0)
    submit(cluster, 1000)
    assert len(given(cluster, "w")) == round(0.005 / LEAST_S)


def test_a_worker_is_fed_again_when_something_has_ended():
    cluster = Cluster({"w": 1})
    learn(cluster, "f", 0.001)
    submit(cluster, 50)
    for i in range(20):
        cluster.finish(f"t{i}", duration_s=0.001)
        assert len(given(cluster, "w")) == 5


def test_nothing_is_fed_ahead_while_a_slot_is_free_elsewhere():
    cluster = Cluster({"a": 1, "b": 1})
    learn(cluster, "f", 0.001)
    submit(cluster, 2)
    assert loads(cluster) == [1, 1]


def test_what_is_fed_ahead_is_spread():
    cluster = Cluster({"a": 1, "b": 1, "c": 1})
    learn(cluster, "f", 0.001)
    submit(cluster, 9)
    assert loads(cluster) == [3, 3, 3]


def test_one_long_task_does_not_end_prefetch_for_the_other_slots():
    cluster = Cluster({"w": 4})
    learn(cluster, "f", 0.001)
    learn(cluster, "long", 60.0)
    cluster.submit("ann", task("l", name="long"))
    submit(cluster, 100)
    assert len(given(cluster, "w")) == 1 + 3 * 5


def test_nothing_is_fed_behind_long_tasks_on_all_slots():
    cluster = Cluster({"w": 2})
    learn(cluster, "f", 0.001)
    learn(cluster, "long", 60.0)
    submit(cluster, 2, first="l", name="long")
    submit(cluster, 10)
    assert given(cluster, "w") == ["l0", "l1"]
    cluster.finish("l0", duration_s=60.0)
    assert len(given(cluster, "w")) == 1 + 5


def test_a_task_that_takes_a_resource_is_never_fed_ahead():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 100})
    learn(cluster, "f", 0.0001)
    submit(cluster, 10, resources={"gpu": 1})
    assert len(given(cluster, "w")) == 2


def test_a_task_of_two_slots_is_never_fed_ahead():
    cluster = Cluster({"w": 4})
    learn(cluster, "f", 0.0001)
    submit(cluster, 10, slots=2)
    assert len(given(cluster, "w")) == 2


def test_only_what_is_known_to_be_very_short_is_fed_to_a_slot_behind_another():
    cluster = Cluster({"w": 1}, ahead_s=0.001)
    learn(cluster, "tiny", 0.0005)
    learn(cluster, "small", 0.002)
    cluster.submit("ann", task("a", name="tiny"), task("b", name="small"), task("c", name="new"))
    assert cluster.run_of("a")[1].ahead
    assert not cluster.run_of("b")[1].ahead
    cluster.finish("a", duration_s=0.0005)
    cluster.finish("b", duration_s=0.002)
    assert not cluster.run_of("c")[1].ahead


def test_a_task_that_turned_out_long_is_fed_ahead_no_longer():
    cluster = Cluster({"w": 1})
    learn(cluster, "f", 0.001)
    submit(cluster, 10)
    for i in range(5):
        cluster.finish(f"t{i}", duration_s=60.0)
    assert len(given(cluster, "w")) == 1


def test_prefetch_of_nothing_leaves_one_task_for_each_slot():
    cluster = Cluster({"w": 2}, prefetch_s=0.0)
    learn(cluster, "f", 0.0001)
    submit(cluster, 10)
    assert len(given(cluster, "w")) == 2


def test_a_later_root_is_held_back_until_what_was_begun_is_finished():
    cluster = Cluster({"w": 1})
    for i in range(5):
        cluster.submit("ann", task(f"root{i}", name="root"))
        cluster.submit("ann", task(f"leaf{i}", f"root{i}", name="leaf"))
        cluster.release("ann", f"root{i}")
    peak = 0
    while given(cluster, "w"):
        (id,) = given(cluster, "w")
        cluster.finish(id, 1000, 60.0)
        peak = max(peak, sum(f"root{i}" in cluster.holds["w"] for i in range(5)))
        peak = max(peak, sum(str(id).startswith("root") for id, _ in cluster.holds["w"]))
    assert peak == 1
