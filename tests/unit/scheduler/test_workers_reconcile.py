"""A worker that registers again: nothing is lost that is there, and nothing is believed that is
not."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, finished, task
from tests.unit.scheduler.peers import attempts, live, objects, register
from treadle import wire


def given(cluster, worker):
    return [id for id, _ in cluster.runs[worker]]


def stopped(told):
    return [m for m in told if type(m) is wire.Stop]


def freed(told):
    return [m for m in told if type(m) is wire.Free]


def given_up(cluster, worker):
    """The worker's lease ends, while its process goes on."""
    runs, holds = dict(cluster.runs[worker]), dict(cluster.holds[worker])
    cluster.lose_link(f"worker/{worker}")
    live(cluster, 20.0, "client/ann")
    assert worker not in cluster.books.workers
    cluster.runs[worker], cluster.holds[worker] = runs, holds


# --- within its lease --------------------------------------------------------------------------


@pytest.mark.parametrize("link_lost", [True, False])
def test_a_worker_that_has_all_it_should_goes_on_as_if_nothing_had_been(link_lost):
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"), task("z"))
    cluster.finish("x")
    cluster.start("y")
    runs = attempts(cluster, "a")
    began = cluster.books.workers["a"].executing[cluster.ts("y")]
    if link_lost:
        cluster.lose_link("worker/a")
        assert cluster.books.workers["a"].status == "absent"
    told = register(cluster, "a", 2, running=runs[:1], queued=runs[1:])
    assert told == [wire.Registered(3.0, 12.0)]
    assert attempts(cluster, "a") == runs
    assert cluster.state("x") == "memory"
    assert cluster.books.workers["a"].executing == {cluster.ts("y"): began}
    cluster.drive()
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["x", "y", "z"]


def test_a_worker_without_a_link_gets_nothing_new_and_keeps_what_it_has():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.lose_link("worker/a")
    cluster.submit("ann", task("y"))
    assert given(cluster, "a") == []
    assert (cluster.state("x"), cluster.state("y")) == ("memory", "waiting")
    register(cluster, "a", 2)
    assert given(cluster, "a") == ["y"]


def test_what_began_while_there_was_no_link_is_known_to_have_begun():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    runs = attempts(cluster, "a")
    cluster.lose_link("worker/a")
    register(cluster, "a", 2, running=runs[:1], queued=runs[1:])
    cluster.kill("a")
    assert [cluster.ts(id).suspicious for id in "xy"] == [1, 0]


def test_what_was_lost_on_the_way_is_sent_again_and_accuses_nobody():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (first,) = attempts(cluster, "a")
    cluster.lose_link("worker/a")
    cluster.runs["a"] = {}
    register(cluster, "a")
    (second,) = attempts(cluster, "a")
    assert (second.id, second.attempt > first.attempt) == ("x", True)
    assert cluster.ts("x").suspicious == 0


def test_outcomes_whose_report_was_lost_count():
    cluster = Cluster({"a": 3})
    cluster.submit("ann", task("x"), task("y"), task("z"))
    runs = [cluster.run_of(id)[1] for id in "xyz"]
    cluster.lose_link("worker/a")
    cluster.runs["a"] = {}
    cluster.holds["a"] = {("x", runs[0].attempt): 10}
    ended = (
        finished(runs[0]),
        wire.Failed("y", runs[1].attempt, wire.Failure("exception", "E", ""), 0.1, True),
        wire.Died("z", runs[2].attempt, -9),
    )
    told = register(cluster, "a", 3, ended=ended)
    assert not freed(told)
    assert [cluster.state(id) for id in "xyz"] == ["memory", "erred", "processing"]
    assert cluster.ts("z").suspicious == 1
    assert cluster.books.prefixes["f"].duration_s == 0.25


def test_outcomes_that_were_known_already_change_nothing():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    x = cluster.run_of("x")[1]
    cluster.finish("x")
    cluster.lose_link("worker/a")
    told = register(cluster, "a", 2, ended=(finished(x),))
    assert told == [wire.Registered(3.0, 12.0)]
    assert cluster.state("x") == "memory"
    assert len(cluster.told("client/ann", wire.Done)) == 1


def test_what_was_released_meanwhile_is_freed_and_stopped():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    (held,) = objects(cluster, "a")
    (running,) = attempts(cluster, "a")
    cluster.lose_link("worker/a")
    assert cluster.release("ann", "x", "y") == []
    told = register(cluster, "a", 2, holds=(held,), running=(running,), queued=())
    assert freed(told) == [wire.Free("x", held.attempt)]
    assert stopped(told) == [wire.Stop("y", running.attempt)]


def test_results_that_it_has_no_longer_are_computed_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.finish("x")
    cluster.finish("y")
    cluster.lose_link("worker/a")
    cluster.holds["a"] = {}
    register(cluster, "a")
    assert cluster.told("client/ann", wire.Lost) == [wire.Lost("y"), wire.Lost("x")]
    cluster.drive()
    assert cluster.state("x") == cluster.state("y") == "memory"


def test_a_copy_that_it_has_no_longer_is_missed_by_nobody():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"))
    worker, run = cluster.run_of("x")
    cluster.finish("x")
    other = "ab".replace(worker, "")
    cluster.holds[other]["x", run.attempt] = 10
    register(cluster, other)
    assert {ws.id for ws in cluster.ts("x").who_has} == {"a", "b"}
    cluster.holds[worker] = {}
    register(cluster, worker)
    assert {ws.id for ws in cluster.ts("x").who_has} == {other}
    assert not cluster.told("client/ann", wire.Lost)


def test_a_result_of_another_attempt_is_freed():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    (held,) = objects(cluster, "a")
    old = wire.Held("x", held.attempt + 5, 10, "int")
    told = register(cluster, "a", holds=(held, old))
    assert freed(told) == [wire.Free("x", old.attempt)]
    assert cluster.state("x") == "memory"


def test_a_result_whose_report_is_nowhere_counts_all_the_same():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    run = cluster.run_of("x")[1]
    cluster.runs["a"] = {}
    cluster.holds["a"] = {("x", run.attempt): 10}
    register(cluster, "a")
    assert cluster.state("x") == "memory"
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["x"]


def test_a_result_of_what_still_runs_is_left_alone():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    run = cluster.run_of("x")[1]
    cluster.holds["a"] = {("x", run.attempt): 10}
    told = register(cluster, "a", queued=(), running=attempts(cluster, "a"))
    assert not freed(told)
    assert cluster.state("x") == "processing"


# --- after it was given up ---------------------------------------------------------------------


def test_a_result_that_is_still_missed_is_taken_back():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.finish("x")
    given_up(cluster, "a")
    assert cluster.state("x") == "no-worker"
    cluster.runs["a"] = {}
    told = register(cluster, "a")
    assert not freed(told)
    assert cluster.story("x").endswith("memory > released > waiting > no-worker > memory")
    assert given(cluster, "a") == ["y"]


def test_a_chain_of_results_is_taken_back_whole_in_either_order():
    for backwards in (False, True):
        cluster = Cluster({"a": 1})
        cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"))
        cluster.finish("x")
        cluster.finish("y")
        cluster.release("ann", "x")
        given_up(cluster, "a")
        cluster.runs["a"] = {}
        holds = objects(cluster, "a")
        register(cluster, "a", holds=holds[::-1] if backwards else holds)
        assert cluster.state("y") == "memory"
        assert given(cluster, "a") == ["z"]


def test_a_result_whose_report_was_lost_is_taken_back():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    run = cluster.run_of("x")[1]
    given_up(cluster, "a")
    cluster.runs["a"] = {}
    cluster.holds["a"] = {("x", run.attempt): 10}
    told = register(cluster, "a", ended=(finished(run),))
    assert not freed(told)
    assert cluster.state("x") == "memory"


def test_a_result_that_is_computed_elsewhere_by_now_is_refused():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    (held,) = objects(cluster, "a")
    given_up(cluster, "a")
    cluster.join("b")
    assert given(cluster, "b") == ["x"]
    told = register(cluster, "a")
    assert freed(told) == [wire.Free("x", held.attempt)]
    assert cluster.state("x") == "processing"
    cluster.finish("x")
    assert [ws.id for ws in cluster.ts("x").who_has] == ["b"]


def test_what_a_worker_still_runs_after_it_was_given_up_is_stopped():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    (old,) = attempts(cluster, "a")
    given_up(cluster, "a")
    told = register(cluster, "a", running=(old,), queued=())
    assert stopped(told) == [wire.Stop("x", old.attempt)]
    (new,) = attempts(cluster, "a")
    assert new.attempt > old.attempt


def test_a_result_that_only_lineage_would_need_is_freed():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    first = cluster.run_of("x")[0]
    cluster.finish("x")
    held = objects(cluster, first)
    cluster.finish("y")
    assert cluster.state("x") == "released"
    told = register(cluster, first, holds=held + objects(cluster, first))
    assert freed(told) == [wire.Free("x", held[0].attempt)]


def test_what_others_wait_for_is_not_queued_twice():
    cluster = Cluster()
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.join("a")
    cluster.finish("x")
    given_up(cluster, "a")
    cluster.runs["a"] = {}
    register(cluster, "a")
    cluster.drive()
    assert [m.id for m in cluster.told("worker/a", wire.Run)] == ["x", "y", "y"]


# --- copies of a registration ------------------------------------------------------------------


def test_a_late_copy_of_a_registration_does_not_wipe_what_was_given_since():
    cluster = Cluster()
    cluster.join("a", 2, number=1)
    register(cluster, "a", 2, number=2)
    cluster.submit("ann", task("x"), task("y"))
    cluster.finish("x")
    for number in (1, 2):
        told = register(cluster, "a", 2, number=number, holds=(), queued=())
        assert told == []
    assert [cluster.state(id) for id in "xy"] == ["memory", "processing"]
    assert cluster.books.refused == {"late copy of a register": 2}
    register(cluster, "a", 2, number=3, queued=())
    assert cluster.story("y").count("processing") == 2


def test_a_late_copy_does_not_raise_the_dead():
    cluster = Cluster()
    cluster.join("a", number=1)
    cluster.kill("a")
    assert register(cluster, "a", number=1) == []
    assert not cluster.books.workers
    register(cluster, "a", number=2)
    assert list(cluster.books.workers) == ["a"]


def test_an_older_process_does_not_come_after_a_newer_one_that_is_gone():
    cluster = Cluster()
    cluster.join("a")
    cluster.join("a")
    cluster.kill("a")
    assert register(cluster, "a", epoch=1, number=9) == [wire.Depart()]
    assert register(cluster, "a", epoch=1, number=10) == []  # it has been told
    assert not cluster.books.workers


# --- bundles, actors, data, long lists -----------------------------------------------------------


ID = 1 << 40 | 100


def bundle(cluster, rows):
    """Rows that are sent together, for their kind is known to be short."""
    for _ in range(8):
        cluster.submit("ann", task("short"))
        cluster.finish("short", duration_s=1e-6)
        cluster.release("ann", "short")
    cluster.submit("ann", task(ID, rows=tuple(b"%d" % i for i in range(rows))))


def part_of(run, at, rows):
    return wire.Finished(run.id + at, run.attempt, 10, "list", 0.1, rows=rows)


def test_the_rest_of_a_bundle_that_still_runs_goes_on():
    cluster = Cluster()
    cluster.join("a", number=1)
    bundle(cluster, 8)
    _, run = cluster.run_of(ID)
    n = len(run.rows)
    assert n == 8
    cluster.worker("a", part_of(run, 0, 2))
    mine = wire.Attempt(run.id, run.attempt)
    told = register(
        cluster,
        "a",
        number=2,
        running=(mine,),
        queued=(),
        holds=(wire.Held(ID, run.attempt, 10, "list", 2),),
    )
    assert not freed(told)
    assert not stopped(told)
    assert cluster.state(ID) == "memory"
    assert cluster.books.workers["a"].executing
    cluster.worker("a", part_of(run, 2, n - 2))
    assert cluster.state(ID + 2) == "memory"


def test_rows_whose_report_was_lost_count_and_the_rest_is_sent_again():
    cluster = Cluster()
    cluster.join("a", number=1)
    bundle(cluster, 8)
    _, run = cluster.run_of(ID)
    cluster.runs["a"] = {}
    told = register(
        cluster,
        "a",
        number=2,
        queued=(),
        ended=(part_of(run, 0, 2),),
        holds=(wire.Held(ID, run.attempt, 10, "list", 2),),
    )
    assert not freed(told)
    assert cluster.state(ID) == "memory"
    assert cluster.ts(ID).rows == 2
    assert given(cluster, "a") == [ID + 2]
    assert cluster.run_of(ID + 2)[1].attempt > run.attempt


def test_data_that_a_client_gave_is_known_by_a_registration_too():
    cluster = Cluster({"a": 1})
    cluster.client("ann", wire.Scatter(1, (wire.DataSpec("x", "data", 8, "int"),)))
    ((_, number, _),) = cluster.told("client/ann", wire.Upload)[0].items
    cluster.holds["a"]["x", number] = 8
    register(cluster, "a")
    assert cluster.state("x") == "memory"
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["x"]


def test_in_a_list_that_is_full_nothing_is_missed(monkeypatch):
    monkeypatch.setattr("treadle.scheduler._reconcile.MAX_ITEMS", 1)
    cluster = Cluster({"a": 4})
    cluster.submit("ann", task("x"), task("y"), task("z"), task("w"))
    cluster.finish("x")
    cluster.finish("y")
    register(cluster, "a", 4, holds=objects(cluster, "a")[:1], queued=attempts(cluster, "a")[:1])
    assert [cluster.state(id) for id in "xyzw"] == ["memory"] * 2 + ["processing"] * 2
    assert not cluster.told("client/ann", wire.Lost)
