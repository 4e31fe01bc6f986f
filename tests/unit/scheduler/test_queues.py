"""Ready tasks wait in order, block nobody, and are in state no-worker if and only if they must."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, finished, task
from tests.unit.scheduler.placing import given, learn, loads, paused, submit, where
from treadle import wire


def order_of(cluster: Cluster) -> list[wire.TaskId]:
    """The order in which a single slot is given the tasks."""
    order = []
    while given(cluster, "w"):
        (id,) = given(cluster, "w")
        order.append(id)
        cluster.finish(id, duration_s=60.0)
    return order


# --- order ---------------------------------------------------------------------------------------


def test_tasks_are_placed_as_they_came():
    cluster = Cluster({"w": 1})
    ids = submit(cluster, 5)
    assert order_of(cluster) == ids


def test_a_lower_priority_is_placed_first():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("running"))
    cluster.submit("ann", task("late", priority=1.0), task("usual"), task("early", priority=-1.0))
    assert order_of(cluster) == ["running", "early", "usual", "late"]


def test_priority_decides_between_what_asks_for_different_things():
    cluster = Cluster()
    cluster.join("w", 1, resources={"gpu": 1})
    cluster.submit("ann", task("running"))
    cluster.submit(
        "ann",
        task("plain", priority=2.0),
        task("gpu", priority=1.0, resources={"gpu": 1}),
        task("host", priority=0.0, hosts=("host",)),
    )
    assert order_of(cluster) == ["running", "host", "gpu", "plain"]


def test_rank_decides_between_what_asks_for_different_things():
    cluster = Cluster()
    cluster.join("w", 1, resources={"gpu": 1})
    cluster.submit("ann", task("running"))
    cluster.submit("ann", task("a", resources={"gpu": 1}), task("b"), task("c", workers=("w",)))
    assert order_of(cluster) == ["running", "a", "b", "c"]


def test_what_was_begun_is_finished_before_something_new_begins():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("root1"), task("root2"), task("root3"))
    cluster.submit("ann", task("after1", "root1"), task("after2", "root2"))
    assert order_of(cluster) == ["root1", "after1", "root2", "after2", "root3"]


def test_a_task_that_is_tried_again_comes_before_later_ones():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", retries=1), task("b"))
    cluster.fail("a")
    assert given(cluster, "w") == ["a"]


def test_a_task_that_is_withdrawn_is_not_placed():
    cluster = Cluster({"w": 1})
    submit(cluster, 3)
    cluster.release("ann", "t1")
    assert order_of(cluster) == ["t0", "t2"]


def test_a_task_that_is_withdrawn_and_asked_for_again_is_placed_once():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("running"), task("a"))
    for _ in range(5):
        cluster.release("ann", "a")
        cluster.submit("ann", task("a"))
    assert order_of(cluster) == ["running", "a"]


def test_cancelled_tasks_are_not_kept():
    cluster = Cluster({"w": 1})
    ids = submit(cluster, 100)
    cluster.release("ann", *ids[1:])
    (demand,) = cluster.books.queues.demands.values()
    assert demand.n == 0
    assert not list(demand.each())
    assert not demand._heap
    assert not demand._run


def test_equal_clusters_decide_alike():
    def decisions() -> list[tuple[str, wire.TaskId]]:
        cluster = Cluster({f"w{i}": 2 for i in range(5)})
        cluster.join("gpu", 2, resources={"gpu": 2})
        for i in range(40):
            more = {"resources": {"gpu": 1}} if i % 7 == 0 else {}
            deps = [f"a{i - 3}"] if i > 3 else []
            cluster.submit("ann", task(f"a{i}", *deps, name=f"f{i % 3}", **more))
        cluster.drive()
        return [(to, m.id) for to, m in cluster.sent if type(m) is wire.Run]

    assert decisions() == decisions()


# --- nothing blocks another ------------------------------------------------------------------------


def test_a_task_for_one_resource_does_not_block_one_for_another():
    cluster = Cluster()
    cluster.join("w", 4, resources={"a": 1, "b": 1})
    cluster.submit("ann", task("a1", resources={"a": 1}))
    cluster.submit("ann", task("a2", resources={"a": 1}), task("b1", resources={"b": 1}))
    assert given(cluster, "w") == ["a1", "b1"]


def test_a_task_that_no_worker_can_run_blocks_nobody():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("never", workers=("elsewhere",)), task("a"))
    assert given(cluster, "w") == ["a"]


def test_a_task_for_a_busy_host_does_not_block_one_for_another_host():
    cluster = Cluster()
    cluster.join("u", 1, host="attic")
    cluster.join("v", 1, host="cellar")
    cluster.submit("ann", task("a1", hosts=("attic",)), task("a2", hosts=("attic",)))
    cluster.submit("ann", task("c1", hosts=("cellar",)))
    assert given(cluster, "v") == ["c1"]


def test_a_large_amount_does_not_block_a_small_one():
    cluster = Cluster()
    cluster.join("w", 4, resources={"memory": 8})
    cluster.submit("ann", task("six", resources={"memory": 6}))
    cluster.submit(
        "ann",
        task("four", resources={"memory": 4}),
        task("two", resources={"memory": 2}, priority=-1),
    )
    assert given(cluster, "w") == ["six", "two"]


# --- no-worker -------------------------------------------------------------------------------------

IMPOSSIBLE = [
    {"hosts": ("elsewhere",)},
    {"workers": ("other",)},
    {"resources": {"gpu": 1}},
    {"resources": {"memory": 9}},
    {"slots": 3},
    {"walltime_s": 200.0},
]


def small(cluster: Cluster) -> None:
    cluster.join("w", 2, host="attic", resources={"memory": 8}, ends_in_s=100.0)


def large(cluster: Cluster, name: str = "other") -> None:
    cluster.join(name, 4, host="elsewhere", resources={"memory": 16, "gpu": 1})


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_what_no_worker_could_ever_run_is_in_state_no_worker(options):
    cluster = Cluster()
    small(cluster)
    cluster.submit("ann", task("a", **options))
    assert cluster.state("a") == "no-worker"
    assert loads(cluster) == [0]


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_it_is_placed_at_once_when_a_worker_comes_that_can(options):
    cluster = Cluster()
    small(cluster)
    cluster.submit("ann", task("a", **options))
    large(cluster)
    assert cluster.story("a") == "released > waiting > no-worker > processing"
    assert where(cluster, "a") == "other"


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_what_has_no_room_there_waits_from_then_on(options):
    cluster = Cluster()
    small(cluster)
    submit(cluster, 8, **options)
    large(cluster)
    states = {cluster.state(f"t{i}") for i in range(8)}
    assert states == {"processing", "waiting"}


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_it_has_no_worker_again_when_the_last_that_could_is_gone(options):
    cluster = Cluster()
    large(cluster)
    ids = submit(cluster, 8, **options)
    assert {cluster.state(id) for id in ids} == {"processing", "waiting"}
    small(cluster)
    cluster.kill("other", accuses=False)
    assert {cluster.state(id) for id in ids} == {"no-worker"}


@pytest.mark.parametrize("options", IMPOSSIBLE)
def test_it_waits_while_another_worker_could(options):
    cluster = Cluster()
    cluster.join("other", 4, host="elsewhere", resources={"memory": 16, "gpu": 1})
    cluster.submit("ann", *[task(f"t{i}", **options) for i in range(8)])
    if "workers" in options:
        return  # there can be no second one of this name
    large(cluster, "another")
    cluster.kill("other", accuses=False)
    assert "no-worker" not in {cluster.state(f"t{i}") for i in range(8)}


def test_without_any_worker_all_is_in_state_no_worker():
    cluster = Cluster()
    cluster.submit("ann", task("a"))
    assert cluster.state("a") == "no-worker"
    cluster.join("w", 1)
    assert where(cluster, "a") == "w"


def test_a_task_without_worker_that_nobody_wants_is_forgotten():
    cluster = Cluster()
    cluster.submit("ann", task("a"))
    cluster.release("ann", "a")
    assert cluster.state("a") == "forgotten"
    cluster.join("w", 1)
    assert given(cluster, "w") == []


def test_a_draining_worker_counts_no_longer():
    cluster = Cluster({"w": 1})
    ids = submit(cluster, 2)
    cluster.worker("w", wire.Leaving("preempted", 60.0))
    cluster.give_back(ids[0], "drained")
    assert {cluster.state(id) for id in ids} == {"no-worker"}


def test_a_paused_worker_counts_but_takes_nothing():
    cluster = Cluster({"w": 1})
    paused(cluster, "w")
    cluster.submit("ann", task("a"))
    assert cluster.state("a") == "waiting"
    assert given(cluster, "w") == []
    paused(cluster, "w", now=False)
    assert given(cluster, "w") == ["a"]


def test_an_absent_worker_counts_but_takes_nothing():
    cluster = Cluster({"w": 1})
    cluster.lose_link("worker/w")
    cluster.submit("ann", task("a"))
    assert cluster.state("a") == "waiting"
    assert given(cluster, "w") == []


def test_a_worker_that_is_paused_gets_nothing_fed_ahead():
    cluster = Cluster({"w": 1})
    learn(cluster, "f", 0.0005)
    submit(cluster, 100)
    before = len(given(cluster, "w"))
    paused(cluster, "w")
    cluster.finish("t0")
    assert len(given(cluster, "w")) == before - 1


def test_many_tasks_without_worker_all_run_in_the_end():
    cluster = Cluster()
    ids = submit(cluster, 50, resources={"gpu": 0.5})
    cluster.join("w", 4, resources={"gpu": 1})
    cluster.drive()
    assert {cluster.state(id) for id in ids} == {"memory"}


def test_a_task_that_lost_an_input_while_it_had_no_worker_waits_for_it():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.submit("ann", task("y", "x", workers=("other",)))
    assert cluster.state("y") == "no-worker"
    cluster.join("v", 1)
    cluster.kill("w")
    assert cluster.state("y") == "waiting"
    assert where(cluster, "x") == "v"


# --- blocks that end -----------------------------------------------------------------------------


def test_a_task_is_not_put_where_it_cannot_finish():
    cluster = Cluster()
    cluster.join("brief", 1, ends_in_s=30.0)
    cluster.join("long", 1, ends_in_s=300.0)
    cluster.submit("ann", task("a", walltime_s=60.0), task("b", walltime_s=60.0))
    assert (given(cluster, "brief"), given(cluster, "long")) == ([], ["a"])
    assert cluster.state("b") == "waiting"


def test_a_task_that_takes_just_as_long_as_the_block_lives_is_put_there():
    cluster = Cluster()
    cluster.join("w", 1, ends_in_s=60.0)
    cluster.submit("ann", task("a", walltime_s=60.0))
    assert where(cluster, "a") == "w"


def test_as_time_goes_by_no_block_lives_long_enough():
    cluster = Cluster()
    cluster.join("w", 1, ends_in_s=100.0)
    cluster.submit("ann", task("a", walltime_s=60.0), task("b", walltime_s=60.0))
    cluster.tick(39.0)
    assert cluster.state("b") == "waiting"
    wanted = cluster.scheduler.wake_at
    assert wanted is not None
    cluster.tick(2.0)
    assert cluster.state("b") == "no-worker"
    cluster.join("v", 1)
    assert where(cluster, "b") == "v"


def test_the_scheduler_wants_to_be_woken_when_a_block_ends_too_early():
    cluster = Cluster()
    cluster.join("w", 1, ends_in_s=1.0)
    cluster.submit("ann", task("a"), task("b", walltime_s=0.5))
    wanted = cluster.scheduler.wake_at
    assert wanted is not None
    assert wanted <= 100.5 + 1e-6


def test_what_has_a_walltime_is_not_fed_ahead_where_a_block_ends():
    cluster = Cluster()
    cluster.join("w", 1, ends_in_s=100.0)
    learn(cluster, "f", 0.0005)
    submit(cluster, 10, walltime_s=60.0)
    assert len(given(cluster, "w")) == 1


# --- cost ------------------------------------------------------------------------------------------


def test_a_step_looks_at_nothing_that_has_not_changed():
    cluster = Cluster({f"w{i}": 1 for i in range(20)})
    submit(cluster, 200)
    (demand,) = cluster.books.queues.demands.values()
    assert not demand.idle, "all workers are full, and were struck off"
    cluster.finish("t0", duration_s=60.0)
    assert not demand.idle


def test_demands_that_nobody_has_are_dropped():
    cluster = Cluster({"w": 1})
    for i in range(200):
        cluster.submit("ann", task(f"a{i}", resources={"memory": i + 1}))
        cluster.release("ann", f"a{i}")
    assert len(cluster.books.queues.demands) < 70
    assert len(cluster.books.queues.by_options) < 70


def test_a_demand_that_was_dropped_is_made_again():
    cluster = Cluster()
    cluster.join("w", 1, resources={"memory": 1000})
    for _ in range(2):
        for i in range(100):
            cluster.submit("ann", task(f"a{i}", resources={"memory": i + 1}))
            assert given(cluster, "w") == [f"a{i}"]
            cluster.drive(finished)
            cluster.release("ann", f"a{i}")


def test_a_worker_that_is_gone_is_in_no_table():
    cluster = Cluster({"w": 1, "v": 1})
    submit(cluster, 4)
    submit(cluster, 4, first="h", hosts=("host",))
    cluster.kill("w", accuses=False)
    queues = cluster.books.queues
    assert [room.ws.id for room in queues.rooms.values()] == ["v"]
    assert [ws.id for ws in queues.hosts["host"]] == ["v"]
