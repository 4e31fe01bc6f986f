"""Cancelling, as far as nobody else wants it; and trying again."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire


def cancel(cluster, *ids, client="ann", **more):
    return cluster.client(client, wire.Cancel(ids, **more))


def retry(cluster, *ids, client="ann"):
    return cluster.client(client, wire.Retry(ids))


def cancelled(cluster, client="ann"):
    return sorted(m.id for m in cluster.told(f"client/{client}", wire.Cancelled))


# --- cancel ------------------------------------------------------------------------------------


def test_a_running_task_is_stopped_with_what_waits_for_it():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    run = cluster.run_of("x")[1]
    told = cancel(cluster, "x", reason="enough")
    assert cluster.story("x").endswith("processing > released > forgotten")
    assert cluster.story("y").endswith("waiting > released > forgotten")
    assert wire.Stop("x", run.attempt) in told
    assert [m for m in told if type(m) is wire.Cancelled] == [
        wire.Cancelled("x", "enough"),
        wire.Cancelled("y", "enough"),
    ]
    assert not cluster.books.tasks


def test_what_stands_between_two_wanted_tasks_and_is_not_wanted_harms_nobody():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"), task("other"))
    cluster.release("ann", "y")
    cancel(cluster, "x")
    assert cancelled(cluster) == ["x", "z"]
    assert [cluster.state(id) for id in "xyz"] == ["forgotten"] * 3
    cluster.finish("other")
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["other"]


def test_a_slot_is_free_at_once_for_the_next():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.submit("ann", task("y"))
    cancel(cluster, "x")
    assert cluster.state("y") == "processing"


def test_the_late_outcome_of_what_was_cancelled_is_refused():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    run = cluster.run_of("x")[1]
    cancel(cluster, "x")
    told = cluster.worker("a", wire.Finished("x", run.attempt, 10, "int", 0.1))
    assert told == [wire.Free("x", run.attempt)]
    cluster.submit("ann", task("x"))
    cluster.worker("a", wire.Finished("x", run.attempt, 10, "int", 0.1))
    assert cluster.state("x") == "processing"


def test_what_somebody_else_wants_too_goes_on_for_him():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"))
    cluster.client("bob", wire.Desire(("x",)))
    cancel(cluster, "x")
    assert cancelled(cluster) == ["x"]
    cluster.finish("x")
    assert [m.id for m in cluster.told("client/bob", wire.Done)] == ["x"]
    assert not cluster.told("client/ann", wire.Done)


def test_what_somebody_else_needs_goes_on_and_so_does_all_on_the_way_there():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"), task("w", "x"))
    cluster.client("bob", wire.Desire(("z",)))
    cancel(cluster, "x")
    assert cancelled(cluster) == ["w", "x"]
    assert cluster.state("w") == "forgotten"
    cluster.drive()
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["y", "z"]
    assert [m.id for m in cluster.told("client/bob", wire.Done)] == ["z"]


def test_force_stops_it_for_everybody():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.client("bob", wire.Desire(("x", "y")), wire.FireAndForget(("y",)))
    cancel(cluster, "x", force=True)
    assert cancelled(cluster) == cancelled(cluster, "bob") == ["x", "y"]
    assert not cluster.books.tasks


def test_what_is_fired_and_forgotten_or_published_is_wanted_by_somebody_else():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.client("ann", wire.FireAndForget(("x",)), wire.Publish(1, "table", ("y",)))
    cancel(cluster, "x", "y")
    assert [cluster.state(id) for id in "xy"] == ["processing"] * 2


def test_what_has_ended_cannot_be_cancelled():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"), task("z", "x"))
    cluster.finish("x")
    cluster.fail("y")
    assert cancel(cluster, "x", "y", "unknown") == []
    assert [cluster.state(id) for id in "xyz"] == ["memory", "erred", "processing"]
    assert cluster.books.refused == {"cancel of an unknown task": 1}


def test_what_depends_on_it_and_has_a_result_keeps_it():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.finish("x")
    cluster.finish("y")
    cluster.client("ann", wire.Desire(("x",)))
    assert cluster.state("x") == "processing"
    cancel(cluster, "x")
    assert cluster.story("x").endswith("processing > released")
    assert cluster.state("y") == "memory"


def test_who_names_what_he_never_wanted_stops_nobody_elses_work():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("bob", task("x"), task("y", "x"))
    assert cancel(cluster, "x", "y") == []
    assert [cluster.state(id) for id in "xy"] == ["processing", "waiting"]


def test_a_chain_of_any_length_is_cancelled():
    cluster = Cluster({"a": 1})
    n = 3_000
    cluster.scheduler.handle(
        wire.Submit(
            tuple(wire.TaskSpec(f"t{i}", "f", b"", (f"t{i - 1}",) if i else ()) for i in range(n)),
            graph=True,
        ),
        source="client/ann",
        now=cluster.now,
    )
    cancel(cluster, "t0")
    assert not cluster.books.tasks
    assert len(cluster.told("client/ann", wire.Cancelled)) == n


@given(st.data())
def test_after_a_cancel_exactly_what_others_still_want_goes_on(data):
    n = data.draw(st.integers(1, 8))
    deps = [data.draw(st.lists(st.integers(0, i - 1), max_size=3)) if i else [] for i in range(n)]
    cluster = Cluster({"a": 2}, ("ann", "bob"))
    specs = [task(str(i), *map(str, dict.fromkeys(its))) for i, its in enumerate(deps)]
    wants = {c: data.draw(st.sets(st.integers(0, n - 1))) for c in ("ann", "bob")}
    everything = [str(i) for i in range(n)]
    cluster.submit("ann", *specs, wants=everything)
    cluster.client("bob", wire.Desire(tuple(map(str, sorted(wants["bob"])))))
    cluster.release("ann", *(str(i) for i in range(n) if i not in wants["ann"]))
    for _ in range(data.draw(st.integers(0, 5))):
        runs = [run.id for run in cluster.runs["a"].values()]
        if runs:
            id = data.draw(st.sampled_from(runs))
            cluster.fail(id) if data.draw(st.integers(0, 4)) == 4 else cluster.finish(id)
    before = {i: cluster.state(str(i)) for i in range(n) if str(i) in cluster.seen}
    active = {i for i in before if before[i] in ("waiting", "no-worker", "processing")}
    named = data.draw(st.lists(st.integers(0, n - 1), max_size=3))
    force = data.draw(st.booleans())
    cancel(cluster, *map(str, named), force=force)

    reach = closure(active.intersection(named), lambda i: {j for j in active if i in deps[j]})
    others = set() if force else reach & wants["bob"]
    going_on = closure(others, lambda i: reach.intersection(deps[i]))
    gone = {i for i in reach if i not in going_on or i in named}
    for client in ("ann", "bob") if force else ("ann",):
        assert cancelled(cluster, client) == sorted(str(i) for i in gone & wants[client])
        wants[client] -= gone
    wanted = active & (wants["ann"] | wants["bob"])
    alive = closure(wanted, lambda i: active.intersection(deps[i]))
    after = {i for i in before if cluster.state(str(i)) in ("waiting", "no-worker", "processing")}
    assert after == alive


def closure(start: Iterable[int], neighbours) -> set[int]:
    found = set(start)
    stack = list(found)
    while stack:
        for other in neighbours(stack.pop()) - found:
            found.add(other)
            stack.append(other)
    return found


# --- another try -------------------------------------------------------------------------------


def test_another_try_begins_with_the_first_that_failed():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"))
    cluster.fail("x")
    told = retry(cluster, "z")
    assert [m for m in told if type(m) is wire.Retried] == [
        wire.Retried("z"),
        wire.Retried("y"),
        wire.Retried("x"),
    ]
    cluster.drive()
    for id in "xyz":
        assert cluster.story(id).endswith("erred > released > waiting > processing > memory")
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["x", "y", "z"]


def test_what_failed_by_the_same_is_tried_again_too():
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.submit("bob", task("z", "x"))
    cluster.fail("x")
    retry(cluster, "y")
    assert cluster.told("client/bob", wire.Retried) == [wire.Retried("z")]
    cluster.drive()
    assert [cluster.state(id) for id in "xyz"] == ["memory"] * 3


def test_a_task_that_failed_by_two_is_tried_again_from_both():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"), task("z", "x", "y"))
    cluster.fail("x")
    cluster.fail("y")
    retry(cluster, "z")
    cluster.drive()
    assert [cluster.state(id) for id in "xyz"] == ["memory"] * 3


def test_what_still_depends_on_another_failure_fails_by_that():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("x"), task("y"), task("z", "x", "y"))
    cluster.fail("x")
    cluster.fail("y")
    assert cluster.ts("z").exception_blame is cluster.ts("x")
    retry(cluster, "x")
    assert cluster.state("z") == "erred"
    assert cluster.ts("z").exception_blame is cluster.ts("y")
    assert cluster.told("client/ann", wire.Erred)[-1].blame == "y"
    retry(cluster, "y")
    cluster.drive()
    assert cluster.state("z") == "memory"


def test_an_error_that_nobody_wants_any_longer_becomes_lineage_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.fail("x")
    cluster.release("ann", "x")
    retry(cluster, "x")
    assert [cluster.state(id) for id in "xy"] == ["processing", "waiting"]
    cluster.fail("x")
    cluster.submit("ann", task("z", "y"))
    cluster.release("ann", "y")
    retry(cluster, "z")
    cluster.drive()
    assert [cluster.state(id) for id in "xyz"] == ["released", "released", "memory"]


def test_retries_are_whole_again_and_the_failures_told_are_not_told_twice():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x", retries=2))
    for _ in range(3):
        cluster.fail("x")
    assert len(cluster.told("client/ann", wire.Erred)[-1].earlier) == 3
    retry(cluster, "x")
    assert cluster.ts("x").retries == 2
    cluster.fail("x")
    cluster.finish("x")
    (done,) = cluster.told("client/ann", wire.Done)
    assert len(done.earlier) == 1


@pytest.mark.parametrize("state", ["processing", "memory"])
def test_only_what_has_erred_is_tried_again(state):
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    if state == "memory":
        cluster.finish("x")
    assert retry(cluster, "x") == []
    assert cluster.state("x") == state
    assert retry(cluster, "u")[0].ids == ("u",)


# --- bundles -----------------------------------------------------------------------------------

ID = 1 << 40 | 100


def test_a_bundle_is_cancelled_whole():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task(ID, rows=(b"0", b"1", b"2")))
    cancel(cluster, *(ts.id for ts in list(cluster.books.tasks.values())))
    assert sum(m.rows for m in cluster.told("client/ann", wire.Cancelled)) == 3
    assert not cluster.books.tasks


def test_a_row_that_has_not_been_sent_is_cancelled_alone():
    cluster = Cluster()
    cluster.submit("ann", task(ID, rows=(b"0", b"1", b"2")))
    cancel(cluster, ID + 1)
    assert cluster.told("client/ann", wire.Cancelled) == [
        wire.Cancelled(ID + 1, "cancelled by its client")
    ]
    assert sorted(cluster.books.tasks) == [ID, ID + 2]


# --- actors ------------------------------------------------------------------------------------


def test_another_try_of_a_call_makes_its_actor_anew_and_leaves_other_calls_alone():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.submit("ann", task("one", home="counter"), task("two", home="counter"))
    cluster.submit("ann", task("after", "two"))
    cluster.kill("a")
    assert [cluster.state(id) for id in ("counter", "one", "two", "after")] == ["erred"] * 4
    cluster.join("b")
    retry(cluster, "one")
    cluster.drive()
    assert [cluster.state(id) for id in ("counter", "one")] == ["memory"] * 2
    assert [cluster.state(id) for id in ("two", "after")] == ["erred"] * 2
    assert cluster.ts("after").exception_blame is cluster.ts("two")
    assert cluster.ts("two").failure.kind == "actor"


def test_another_try_of_what_needs_a_call_tries_the_call_again():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.submit("ann", task("one", home="counter"), task("after", "one"))
    cluster.kill("a")
    cluster.join("b")
    retry(cluster, "after")
    cluster.drive()
    assert [cluster.state(id) for id in ("counter", "one", "after")] == ["memory"] * 3


def test_what_a_worker_has_been_given_is_left_alone_by_who_asks_for_that():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"), task("y"), task("z", "x"))
    told = cluster.client("ann", wire.Cancel(("x", "y", "z"), waiting=True))
    assert [m.id for m in told if type(m) is wire.Cancelled] == ["y", "z"]
    assert cluster.state("x") == "processing"
    cluster.finish("x")
    assert [m.id for m in cluster.told("client/ann", wire.Done)] == ["x"]


def test_after_a_retry_a_task_may_be_in_as_many_deaths_as_before():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    for _ in range(2):
        for _ in range(3):
            assert cluster.state("x") == "processing"
            cluster.die("x")
        assert cluster.state("x") == "erred"
        cluster.client("ann", wire.Retry(("x",)))
        assert cluster.ts("x").suspicious == 0


def test_a_cancel_beside_a_dependent_that_nobody_holds_ends_no_client():
    """x, and y of x, and z of y: the client holds x and z alone."""
    cluster = Cluster({"a": 1}, ("ann", "bob"))
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"), wants=("x", "z"))
    cluster.submit("ann", task("other"))
    told = cluster.client("ann", wire.Cancel(("x",)))
    assert [m.id for m in told if type(m) is wire.Cancelled] == ["x", "z"]
    assert "client/ann" in cluster.books.clients
    assert cluster.state("other") == "processing"
