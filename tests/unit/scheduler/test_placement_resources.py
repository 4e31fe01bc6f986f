"""What runs never takes more of a worker than it has, and no task is starved."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.placing import given, learn, loads, paused, submit, where
from treadle import wire


def used(cluster: Cluster, worker: str, name: str) -> float:
    """What is taken of a resource by all that was given to the worker."""
    runs = cluster.runs[worker].values()
    return sum(dict(run.resources).get(name, 0.0) for run in runs)


def end(cluster: Cluster, *ids: str) -> None:
    for id in ids:
        cluster.finish(id, duration_s=60.0)


# --- amounts -----------------------------------------------------------------------------------


def test_free_resources_are_counted_and_not_totals():
    cluster = Cluster()
    cluster.join("w", 8, resources={"gpu": 2})
    submit(cluster, 10, resources={"gpu": 1})
    assert used(cluster, "w", "gpu") == 2
    end(cluster, "t0")
    assert used(cluster, "w", "gpu") == 2


def test_tasks_that_come_one_by_one_take_no_more_than_there_is():
    cluster = Cluster()
    cluster.join("v", 8, resources={"gpu": 2})
    cluster.join("w", 8, resources={"gpu": 2})
    for i in range(9):
        submit(cluster, 1, first=f"a{i}", resources={"gpu": 0.5})
        assert used(cluster, "v", "gpu") <= 2
        assert used(cluster, "w", "gpu") <= 2
    assert loads(cluster) == [4, 4]


def test_tasks_with_resources_do_not_pile_on_one_worker():
    cluster = Cluster()
    for i in range(4):
        cluster.join(f"w{i}", 8, resources={"gpu": 8})
    for i in range(8):
        submit(cluster, 1, first=f"a{i}", resources={"gpu": 1})
    assert loads(cluster) == [2, 2, 2, 2]


def test_all_of_several_resources_must_be_free():
    cluster = Cluster()
    cluster.join("w", 8, resources={"gpu": 2, "memory": 10})
    submit(cluster, 8, resources={"gpu": 1, "memory": 6})
    assert len(given(cluster, "w")) == 1


@pytest.mark.parametrize("parts", [3, 7, 10, 49])
def test_fractions_add_up_to_the_whole(parts):
    cluster = Cluster()
    cluster.join("w", 2 * parts, resources={"gpu": 1})
    ids = submit(cluster, 3 * parts, resources={"gpu": 1 / parts})
    assert len(given(cluster, "w")) == parts
    cluster.drive()
    assert {cluster.state(id) for id in ids} == {"memory"}
    assert cluster.books.workers["w"].free == {"gpu": 1}


def test_large_amounts_add_up_to_the_whole():
    cluster = Cluster()
    cluster.join("w", 8, resources={"memory": 3e11})
    submit(cluster, 8, resources={"memory": 1e11})
    assert len(given(cluster, "w")) == 3


def test_nothing_of_a_resource_can_be_asked_for():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 0})
    submit(cluster, 2, resources={"gpu": 0.0})
    assert len(given(cluster, "w")) == 2


def test_what_a_failed_task_took_is_free_again():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 1})
    submit(cluster, 2, resources={"gpu": 1})
    cluster.fail("t0")
    assert given(cluster, "w") == ["t1"]


def test_what_a_stopped_task_took_is_free_again():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 1})
    submit(cluster, 2, resources={"gpu": 1})
    cluster.release("ann", "t0")
    assert given(cluster, "w") == ["t1"]


# --- nobody is starved -------------------------------------------------------------------------


def test_a_task_of_many_slots_is_not_starved_by_small_ones():
    cluster = Cluster({"w": 4})
    submit(cluster, 4, first="a")
    cluster.submit("ann", task("big", slots=4))
    submit(cluster, 20, first="z")
    end(cluster, "a0", "a1", "a2")
    assert given(cluster, "w") == ["a3"], "it is kept free"
    end(cluster, "a3")
    assert given(cluster, "w") == ["big"]
    end(cluster, "big")
    assert len(given(cluster, "w")) == 4


def test_other_workers_go_on_meanwhile():
    cluster = Cluster({"w": 2, "v": 2})
    submit(cluster, 4, first="a")
    cluster.submit("ann", task("big", slots=2))
    submit(cluster, 20, first="z")
    held = where(cluster, "a0")
    other = "v" if held == "w" else "w"
    end(cluster, "a0")
    assert len(given(cluster, held)) + len(given(cluster, other)) >= 3


def test_a_task_of_a_whole_resource_is_not_starved_by_small_ones():
    cluster = Cluster()
    cluster.join("w", 8, resources={"gpu": 4})
    submit(cluster, 4, first="a", resources={"gpu": 1})
    cluster.submit("ann", task("big", resources={"gpu": 4}))
    submit(cluster, 8, first="z", resources={"gpu": 1})
    end(cluster, "a0", "a1", "a2")
    assert given(cluster, "w") == ["a3"]
    end(cluster, "a3")
    assert given(cluster, "w") == ["big"]


def test_what_leaves_alone_what_is_waited_for_goes_on():
    cluster = Cluster()
    cluster.join("w", 8, resources={"gpu": 4})
    submit(cluster, 4, first="a", resources={"gpu": 1})
    cluster.submit("ann", task("big", resources={"gpu": 4}))
    submit(cluster, 8, first="z")
    assert len(given(cluster, "w")) == 4 + 4, "the GPUs are kept free; they come with slots"


def test_unrelated_tasks_take_the_slots_that_come_back_with_a_resource():
    cluster = Cluster()
    cluster.join("w", 2, resources={"a": 1, "b": 1})
    submit(cluster, 2, first="a", resources={"a": 1})
    submit(cluster, 2, first="b", resources={"b": 1})
    submit(cluster, 1, first="z")
    assert given(cluster, "w") == ["a0", "b0"]
    end(cluster, "b0")
    assert given(cluster, "w") == ["a0", "b1"], "a1 waits for the resource, not for a slot"
    end(cluster, "b1")
    assert given(cluster, "w") == ["a0", "z0"]
    end(cluster, "a0")
    assert given(cluster, "w") == ["z0", "a1"]


def test_slots_are_kept_free_for_a_resource_that_does_not_bring_enough_of_them():
    cluster = Cluster()
    cluster.join("w", 4, resources={"a": 1})
    submit(cluster, 1, first="a", resources={"a": 1})
    cluster.submit("ann", task("big", slots=2, resources={"a": 1}))
    submit(cluster, 8, first="z")
    assert given(cluster, "w") == ["a0", "z0"]
    end(cluster, "a0")
    assert given(cluster, "w") == ["z0", "big", "z1"]


def test_a_resource_that_is_aside_brings_no_slot():
    cluster = Cluster()
    cluster.join("w", 2, resources={"a": 1})
    submit(cluster, 2, first="a", resources={"a": 1})
    cluster.start("a0")
    cluster.worker("w", wire.Aside((wire.Attempt("a0", cluster.ts("a0").attempt),)))
    submit(cluster, 4, first="z")
    assert len(given(cluster, "w")) == 1 + 2, "nothing is kept free for what waits for others"


def test_what_comes_before_the_large_task_does_not_wait_for_it():
    cluster = Cluster({"w": 2})
    submit(cluster, 2, first="a")
    cluster.submit("ann", task("big", slots=2, priority=1.0))
    submit(cluster, 4, first="b")
    end(cluster, "a0", "a1")
    assert given(cluster, "w") == ["b0", "b1"]


def test_what_comes_later_but_is_more_urgent_goes_first():
    cluster = Cluster({"w": 2})
    submit(cluster, 2, first="a")
    cluster.submit("ann", task("big", slots=2))
    end(cluster, "a0")
    cluster.submit("ann", task("urgent", priority=-1.0))
    assert given(cluster, "w") == ["a1", "urgent"]


def test_a_worker_is_kept_free_no_longer_when_the_large_task_is_withdrawn():
    cluster = Cluster({"w": 2})
    submit(cluster, 2, first="a")
    cluster.submit("ann", task("big", slots=2))
    submit(cluster, 4, first="z")
    end(cluster, "a0")
    assert given(cluster, "w") == ["a1"]
    cluster.release("ann", "big")
    assert given(cluster, "w") == ["a1", "z0"]


def test_a_worker_is_kept_free_no_longer_when_the_large_task_runs_elsewhere():
    cluster = Cluster({"w": 2})
    submit(cluster, 2, first="a")
    cluster.submit("ann", task("big", slots=2))
    submit(cluster, 4, first="z")
    end(cluster, "a0")
    cluster.join("v", 2)
    assert given(cluster, "v") == ["big"]
    assert given(cluster, "w") == ["a1", "z0"]


def test_another_worker_is_kept_free_when_that_one_takes_no_more_work():
    cluster = Cluster({"w": 2, "v": 2})
    submit(cluster, 4, first="a")
    cluster.submit("ann", task("big", slots=2))
    submit(cluster, 8, first="z")
    end(cluster, "a0")
    (held,) = cluster.books.queues.held
    paused(cluster, held.id)
    other = "v" if held.id == "w" else "w"
    ids = given(cluster, other)
    end(cluster, *ids)
    assert where(cluster, "big") == other


def test_large_tasks_of_two_kinds_both_run():
    cluster = Cluster({"w": 4, "v": 4})
    submit(cluster, 8, first="a")
    cluster.submit("ann", task("four", slots=4), task("three", slots=3))
    submit(cluster, 50, first="z")
    for _ in range(60):
        if cluster.state("four") == cluster.state("three") == "memory":
            break
        end(
            cluster,
            min((run.attempt, run.id) for runs in cluster.runs.values() for run in runs.values())[
                1
            ],
        )
    assert (cluster.state("four"), cluster.state("three")) == ("memory", "memory")
    begun = [id for id in (f"z{i}" for i in range(50)) if cluster.state(id) != "waiting"]
    assert len(begun) < 30, "they did not wait for all the others"


def test_nothing_is_fed_ahead_to_a_worker_that_is_kept_free():
    cluster = Cluster({"w": 2})
    learn(cluster, "f", 0.0001)
    learn(cluster, "long", 60.0)
    submit(cluster, 2, first="a", name="long")
    cluster.submit("ann", task("big", slots=2))
    submit(cluster, 50, first="z")
    end(cluster, "a0")
    assert given(cluster, "w") == ["a1"]


def test_few_workers_are_kept_free_however_many_large_tasks_wait():
    cluster = Cluster({f"w{i}": 4 for i in range(8)})
    submit(cluster, 32, first="a")
    for slots in (2, 3, 4):
        submit(cluster, 3, first=f"big{slots}-", slots=slots)
    submit(cluster, 50, first="z")
    for i in range(8):
        end(cluster, f"a{i}")
        assert len(cluster.books.queues.held) <= 1
    assert sum(loads(cluster)) >= 32 - 4


def test_a_worker_is_kept_free_for_the_best_of_large_tasks():
    cluster = Cluster({"w": 4})
    submit(cluster, 4, first="a")
    cluster.submit("ann", task("late", slots=3))
    end(cluster, "a0")
    cluster.submit("ann", task("early", slots=4, priority=-1.0))
    end(cluster, "a1", "a2")
    assert given(cluster, "w") == ["a3"]
    end(cluster, "a3")
    assert given(cluster, "w") == ["early"]


def test_a_worker_shows_what_is_taken_of_its_resources():
    cluster = Cluster()
    cluster.join("w", 2, resources=(("gpu", 2.0),))
    assert cluster.books.workers["w"].used_resources == {"gpu": 0.0}
    cluster.submit("ann", task("a", resources={"gpu": 0.5}))
    assert cluster.books.workers["w"].used_resources == {"gpu": 0.5}
