"""Deaths: who is accused, what is computed again, and what a death does not cost."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import live, register
from treadle import wire


def suspicions(cluster, *ids):
    return [cluster.ts(id).suspicious for id in ids]


def test_the_death_of_a_worker_accuses_what_had_begun_there_and_nothing_else():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.start("y")
    cluster.kill("a")
    assert suspicions(cluster, "x", "y") == [0, 1]
    assert cluster.state("x") == cluster.state("y") == "no-worker"


def test_who_does_not_report_what_begins_has_all_of_it_accused():
    cluster = Cluster()
    cluster.join("a", 2, starts=False)
    cluster.submit("ann", task("x"), task("y"))
    cluster.kill("a")
    assert suspicions(cluster, "x", "y") == [1, 1]


def test_nothing_is_accused_where_nothing_ran():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.kill("a")
    assert suspicions(cluster, "x") == [0]
    assert cluster.state("x") == "no-worker"


def test_the_death_of_a_slot_accuses_one_task():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.start("x")
    cluster.start("y")
    cluster.die("x")
    assert suspicions(cluster, "x", "y") == [1, 0]
    assert cluster.state("y") == "processing"


def test_three_deaths_end_a_task_and_the_error_names_the_signal():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x", retries=7))
    for _ in range(3):
        assert cluster.state("x") == "processing"
        cluster.die("x", -11)
    assert cluster.state("x") == "erred"
    assert cluster.ts("x").retries == 7
    (erred,) = cluster.told("client/ann", wire.Erred)
    assert erred.failure.kind == "killed"
    assert "SIGSEGV" in erred.failure.text
    assert "3 of 3" in erred.failure.text
    assert [row.failure.kind for row in erred.earlier] == ["killed"] * 3
    assert len({row.attempt for row in erred.earlier}) == 3


@pytest.mark.parametrize(
    ("code", "words"),
    [(-9, "signal 9 (SIGKILL)"), (-64, "signal 64"), (3, "exit code 3"), (None, "unknown reason")],
)
def test_the_error_says_how_the_worker_died(code, words):
    cluster = Cluster({"a": 1}, deaths=1)
    cluster.submit("ann", task("x"))
    cluster.start("x")
    cluster.kill("a", code)
    (erred,) = cluster.told("client/ann", wire.Erred)
    assert words in erred.failure.text
    assert "worker a" in erred.failure.text


def test_deaths_of_slots_and_of_workers_add_up():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"))
    cluster.die("x")
    for _ in range(2):
        cluster.start("x")
        cluster.kill(cluster.run_of("x")[0])
    assert cluster.state("x") == "erred"


def test_exceptions_and_deaths_have_accounts_of_their_own():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x", retries=1))
    cluster.die("x")
    cluster.fail("x")
    assert (cluster.ts("x").retries, cluster.ts("x").suspicious) == (0, 1)
    cluster.die("x")
    cluster.finish("x")
    assert cluster.state("x") == "memory"
    (done,) = cluster.told("client/ann", wire.Done)
    assert [row.failure.kind for row in done.earlier] == ["killed", "exception", "killed"]


def test_a_death_that_has_another_cause_accuses_nobody():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.start("x")
    cluster.kill("a", accuses=False)
    assert suspicions(cluster, "x") == [0]
    cluster.join("a")
    assert cluster.state("x") == "processing"


def test_a_worker_that_was_told_to_go_accuses_nobody_however_it_ends():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.start("x")
    cluster.worker("a", wire.Leaving("preempted", 5.0))
    cluster.kill("a", -9, accuses=True)
    assert suspicions(cluster, "x") == [0]


def test_an_ended_lease_accuses_what_ran():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.start("x")
    cluster.lose_link("worker/a")
    live(cluster, 20.0, "client/ann")
    assert suspicions(cluster, "x", "y") == [1, 0]


def test_another_try_begins_with_a_clean_slate():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x", retries=1))
    cluster.fail("x")
    for _ in range(3):
        cluster.die("x")
    cluster.client("ann", wire.Retry(("x",)))
    assert (cluster.ts("x").retries, cluster.ts("x").suspicious) == (1, 0)
    cluster.die("x")
    cluster.die("x")
    assert cluster.state("x") == "processing"
    cluster.die("x")
    assert cluster.state("x") == "erred"


def test_what_only_the_dead_worker_had_is_computed_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.finish("x")
    cluster.finish("y")
    assert cluster.state("x") == "released"
    cluster.kill("a")
    assert cluster.told("client/ann", wire.Lost) == [wire.Lost("y")]
    cluster.join("a")
    cluster.drive()
    assert cluster.story("y").endswith("memory > released > waiting > processing > memory")
    assert cluster.state("x") == "released"


def test_what_somebody_else_has_too_is_not_computed_again():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"))
    worker, run = cluster.run_of("x")
    cluster.finish("x")
    other = "ab".replace(worker, "")
    cluster.holds[other]["x", run.attempt] = 10
    register(cluster, other)
    assert len(cluster.ts("x").who_has) == 2
    cluster.kill(worker)
    assert cluster.state("x") == "memory"
    assert not cluster.told("client/ann", wire.Lost)


def test_a_storm_of_ending_blocks_only_delays():
    cluster = Cluster({"a": 2, "b": 2})
    ids = [f"t{i}" for i in range(8)]
    cluster.submit("ann", *[task(id) for id in ids], task("sum", *ids), graph=True)
    for round in range(12):
        victim = "ab"[round % 2]
        given = [run.id for runs in cluster.runs.values() for run in runs.values()]
        cluster.finish(given[0])
        cluster.kill(victim, accuses=False)
        cluster.join(victim, 2)
    cluster.drive()
    assert cluster.state("sum") == "memory"
    assert not cluster.told("client/ann", wire.Erred)
    assert not any(cluster.ts(id).suspicious for id in ids)


def test_a_worker_that_dies_before_it_said_what_began_has_all_accused():
    # else a task that kills its worker at once would do so for ever
    cluster = Cluster()
    for _ in range(3):
        cluster.join("a")
        if not cluster.seen:
            cluster.submit("ann", task("x"))
        cluster.kill("a")
    assert cluster.state("x") == "erred"
