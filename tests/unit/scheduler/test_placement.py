"""A task goes to the worker that can start it earliest; equal ones take turns."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unit.scheduler.harness import Cluster, finished, task
from tests.unit.scheduler.placing import given, learn, loads, made_on, submit, where
from treadle import wire

# --- slots and turns ---------------------------------------------------------------------------


def test_tasks_are_spread_over_the_workers():
    cluster = Cluster({f"w{i}": 4 for i in range(4)})
    submit(cluster, 8)
    assert loads(cluster) == [2, 2, 2, 2]


def test_tasks_that_come_one_by_one_do_not_pile_on_one_worker():
    cluster = Cluster({f"w{i}": 4 for i in range(4)})
    for i in range(8):
        submit(cluster, 1, first=f"a{i}")
    assert loads(cluster) == [2, 2, 2, 2]


def test_no_worker_is_given_more_than_it_has_slots():
    cluster = Cluster({"a": 1, "b": 3, "c": 2})
    submit(cluster, 20)
    assert loads(cluster) == [1, 3, 2]


def test_a_slot_that_gets_free_takes_the_next_task():
    cluster = Cluster({"a": 1, "b": 1})
    submit(cluster, 4)
    cluster.finish("t1", duration_s=60.0)
    assert loads(cluster) == [1, 1]
    assert where(cluster, "t2") == "b"


def test_a_worker_that_stores_less_comes_first():
    cluster = Cluster({"full": 2, "empty": 2})
    made_on(cluster, "full", "x", 1_000_000)
    cluster.submit("ann", task("a"))
    assert where(cluster, "a") == "empty"


def test_a_worker_without_slots_is_given_nothing():
    cluster = Cluster({"none": 0})
    submit(cluster, 2)
    assert cluster.state("t0") == "no-worker"
    cluster.join("one", 1)
    assert loads(cluster) == [0, 1]


def test_a_task_of_several_slots_takes_them():
    cluster = Cluster({"w": 4})
    cluster.submit("ann", task("big", slots=3), *[task(f"t{i}") for i in range(3)])
    assert given(cluster, "w") == ["big", "t0"]
    cluster.finish("big", duration_s=60.0)
    assert len(given(cluster, "w")) == 3


# --- restrictions ------------------------------------------------------------------------------


def test_a_task_goes_to_its_host():
    cluster = Cluster({"w": 4})
    cluster.join("v", 4, host="cellar")
    cluster.submit("ann", *[task(f"a{i}", hosts=("cellar",)) for i in range(3)])
    assert loads(cluster) == [0, 3]


def test_a_task_goes_to_its_worker():
    cluster = Cluster({"w": 4, "v": 4})
    cluster.submit("ann", *[task(f"a{i}", workers=("v", "gone")) for i in range(3)])
    assert loads(cluster) == [0, 3]


def test_hosts_and_workers_are_places_of_which_one_will_do():
    cluster = Cluster({"w": 1, "u": 1})
    cluster.join("v", 1, host="cellar")
    cluster.submit("ann", *[task(f"a{i}", hosts=("cellar",), workers=("w",)) for i in range(3)])
    assert loads(cluster) == [1, 0, 1]


def test_a_restricted_task_may_be_fed_ahead():
    cluster = Cluster({"w": 1, "v": 1})
    learn(cluster, "f", 0.0005)
    submit(cluster, 5, workers=("v",))
    assert loads(cluster) == [0, 5]


# --- wishes ------------------------------------------------------------------------------------

WISHES = [{"hosts": ("cellar",)}, {"workers": ("v",)}, {"resources": {"gpu": 1}}]


@pytest.mark.parametrize("wish", WISHES)
def test_a_wish_is_granted_if_there_is_room(wish):
    cluster = Cluster({"w": 2})
    cluster.join("v", 1, host="cellar", resources={"gpu": 1})
    cluster.submit("ann", task("a", loose=True, **wish))
    assert where(cluster, "a") == "v"


@pytest.mark.parametrize("wish", WISHES)
def test_who_only_wishes_goes_elsewhere_when_there_is_no_room(wish):
    cluster = Cluster({"w": 2})
    cluster.join("v", 1, host="cellar", resources={"gpu": 1})
    submit(cluster, 3, loose=True, **wish)
    assert loads(cluster) == [2, 1]


@pytest.mark.parametrize("wish", [*WISHES, {"hosts": ("nowhere",)}, {"resources": {"gpu": 9}}])
def test_a_wish_that_nobody_can_grant_keeps_no_task(wish):
    cluster = Cluster({"w": 2})
    submit(cluster, 2, loose=True, **wish)
    assert loads(cluster) == [2]


def test_a_wish_that_is_not_granted_takes_nothing():
    cluster = Cluster()
    cluster.join("w", 2, resources={"gpu": 1})
    cluster.submit("ann", task("a", loose=True, resources={"gpu": 3, "memory": 1}))
    _, run = cluster.run_of("a")
    assert run.resources == ()
    assert cluster.books.workers["w"].free == {"gpu": 1}
    cluster.finish("a")
    assert cluster.books.workers["w"].free == {"gpu": 1}


def test_a_wish_that_is_granted_takes_what_it_asks_for():
    cluster = Cluster()
    cluster.join("w", 4, resources={"gpu": 1})
    submit(cluster, 3, loose=True, resources={"gpu": 1})
    assert len(given(cluster, "w")) == 1, "where there is a GPU, wishes take their turns"
    assert cluster.books.workers["w"].free == {"gpu": 0}


def test_slots_are_no_wish():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("a", loose=True, slots=3))
    assert cluster.state("a") == "no-worker"


# --- suspects ----------------------------------------------------------------------------------


def suspects(cluster: Cluster, n: int) -> list[str]:
    """Tasks that were involved in one death each, and are queued behind one that runs."""
    ids = submit(cluster, n, first="s", name="bad", priority=1.0)
    for id in ids:
        cluster.die(id)
    return ids


def test_no_two_suspects_share_a_worker():
    cluster = Cluster({"a": 4, "b": 4})
    suspects(cluster, 6)
    assert loads(cluster) == [1, 1]


def test_the_next_suspect_goes_when_the_last_one_has_ended():
    cluster = Cluster({"a": 4})
    ids = suspects(cluster, 3)
    for id in ids:
        assert given(cluster, "a") == [id]
        cluster.finish(id, duration_s=0.0001)
    assert {cluster.state(id) for id in ids} == {"memory"}


def test_a_suspect_and_others_share_a_worker():
    cluster = Cluster({"a": 4})
    suspects(cluster, 2)
    submit(cluster, 5)
    assert len(given(cluster, "a")) == 4


def test_suspects_do_not_block_others():
    cluster = Cluster({"a": 4})
    suspects(cluster, 3)
    submit(cluster, 2)
    assert len(given(cluster, "a")) == 3


def test_a_suspect_goes_to_another_worker_than_the_last():
    cluster = Cluster({"a": 2, "b": 2, "c": 2})
    cluster.submit("ann", task("s"))
    last = where(cluster, "s")
    cluster.die("s")
    assert where(cluster, "s") != last


def test_a_suspect_goes_to_the_last_worker_if_there_is_no_other():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("s"))
    cluster.die("s")
    assert where(cluster, "s") == "a"


def test_a_suspect_is_never_fed_ahead():
    cluster = Cluster({"a": 1})
    learn(cluster, "bad", 0.0001)
    cluster.submit("ann", task("s", name="bad"), task("long", name="long"))
    cluster.die("s")
    assert given(cluster, "a") == ["s"]
    _, run = cluster.run_of("s")
    assert not run.ahead
    cluster.submit("ann", task("other", name="bad"))
    assert where(cluster, "other") == ""


# --- actors ------------------------------------------------------------------------------------


def test_actors_go_where_the_fewest_are():
    cluster = Cluster({"a": 4, "b": 4, "c": 4})
    for i in range(6):
        cluster.submit("ann", task(f"actor{i}", actor=True))
        cluster.finish(f"actor{i}")
    assert [len(ws.actors) for ws in cluster.books.workers.values()] == [2, 2, 2]


def test_actors_that_are_being_made_count():
    cluster = Cluster({"a": 4, "b": 4})
    cluster.submit("ann", *[task(f"actor{i}", actor=True) for i in range(4)])
    assert loads(cluster) == [2, 2]


def test_an_actor_keeps_its_resources_for_life():
    cluster = Cluster()
    cluster.join("w", 4, resources={"gpu": 1})
    cluster.submit("ann", task("actor", actor=True, resources={"gpu": 1}))
    cluster.finish("actor")
    cluster.submit("ann", task("a", resources={"gpu": 1}))
    assert cluster.state("a") == "waiting"
    cluster.release("ann", "actor")
    assert where(cluster, "a") == "w"


def test_an_actor_takes_no_slot_once_it_lives():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("actor", actor=True))
    cluster.finish("actor")
    cluster.submit("ann", task("a"))
    assert where(cluster, "a") == "w"


def test_what_an_actor_keeps_is_nothing_to_wait_for():
    cluster = Cluster()
    cluster.join("w", 4, resources={"gpu": 1})
    cluster.submit("ann", task("actor", actor=True, resources={"gpu": 1}))
    cluster.finish("actor")
    cluster.submit("ann", task("a", slots=4, resources={"gpu": 1}))
    submit(cluster, 8)
    assert len(given(cluster, "w")) == 4, "no slot is kept free for what cannot come"


# --- to compare with ---------------------------------------------------------------------------


def test_without_holding_back_all_is_sent_at_once():
    cluster = Cluster({"a": 1, "b": 1, "c": 2}, hold_back=False)
    submit(cluster, 40)
    assert sum(loads(cluster)) == 40
    assert min(loads(cluster)) == 10, "each slot is given its share"


def test_without_holding_back_nothing_takes_more_resources_than_there_are():
    cluster = Cluster(hold_back=False)
    cluster.join("w", 4, resources={"gpu": 2})
    submit(cluster, 10, resources={"gpu": 1})
    assert len(given(cluster, "w")) == 2


def test_without_locality_workers_are_drawn():
    cluster = Cluster({f"w{i}": 30 for i in range(4)}, locality=False)
    submit(cluster, 60)
    counts = loads(cluster)
    assert sum(counts) == 60
    assert counts != [15, 15, 15, 15]
    assert min(counts) > 3


def test_draws_depend_on_the_seed_alone():
    def drawn(seed: int) -> list[str]:
        cluster = Cluster({f"w{i}": 8 for i in range(4)}, locality=False, seed=seed)
        return [where(cluster, id) for id in submit(cluster, 20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def test_without_locality_every_slot_is_used():
    cluster = Cluster({f"w{i}": 3 for i in range(4)}, locality=False)
    ids = submit(cluster, 50)
    assert loads(cluster) == [3, 3, 3, 3]
    cluster.drive()
    assert {cluster.state(id) for id in ids} == {"memory"}


def test_without_locality_inputs_do_not_count():
    cluster = Cluster({f"w{i}": 100 for i in range(4)}, locality=False)
    made_on(cluster, "w0", "x", 10**9)
    ids = submit(cluster, 40, "x")
    assert len(Counter(where(cluster, id) for id in ids)) == 4


# --- bundles -----------------------------------------------------------------------------------


def rows_sent(cluster: Cluster) -> list[int]:
    return [len(run.rows) for runs in cluster.runs.values() for run in runs.values()]


def test_a_bundle_of_unknown_duration_starts_with_one_row_for_each_slot():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task(wire.task_id(1, 1), rows=(b"",) * 1000))
    assert rows_sent(cluster) == [1, 1]


def test_a_bundle_doubles_until_its_parts_take_a_millisecond():
    cluster = Cluster({"w": 1}, prefetch_s=0.0)
    cluster.submit("ann", task(wire.task_id(1, 1), rows=(b"",) * 1000))
    sizes = []
    while cluster.runs["w"]:
        (run,) = cluster.runs["w"].values()
        n = len(run.rows)
        sizes.append(n)
        answer = wire.Finished(run.id, run.attempt, 10, "int", n * 20e-6, rows=n)
        cluster._answer("w", run, answer)
    assert sizes[:6] == [1, 2, 6, 18, 50, 50]
    assert sum(sizes) == 1000


def test_long_rows_are_sent_one_by_one():
    cluster = Cluster({"w": 4})
    learn(cluster, "f", 2.0)
    cluster.submit("ann", task(wire.task_id(1, 1), rows=(b"",) * 10))
    assert rows_sent(cluster) == [1, 1, 1, 1]


def test_the_rest_of_a_bundle_keeps_its_place():
    cluster = Cluster({"w": 1})
    learn(cluster, "f", 2.0)
    first, other = wire.task_id(1, 1), wire.task_id(1, 100)
    cluster.submit("ann", task(first, rows=(b"",) * 3), task(other))
    order = []
    while given(cluster, "w"):
        (id,) = given(cluster, "w")
        order.append(id)
        cluster.finish(id, duration_s=2.0)
    assert order == [first, first + 1, first + 2, other]


def test_a_bundle_without_worker_runs_when_one_comes():
    cluster = Cluster()
    first = wire.task_id(1, 1)
    cluster.submit("ann", task(first, rows=(b"",) * 20))
    assert cluster.state(first) == "no-worker"
    cluster.join("w", 3)
    cluster.drive(finished)
    done = cluster.told("client/ann", wire.Done)
    assert sum(message.rows for message in done) == 20
