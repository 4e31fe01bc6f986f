"""Data that clients give, and what workers say of the objects they have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire


def items(*ids: wire.TaskId, nbytes: int = 100) -> tuple[wire.DataSpec, ...]:
    return tuple(wire.DataSpec(id, "data", nbytes, "bytes") for id in ids)


def scatter(cluster: Cluster, *ids: wire.TaskId, client: str = "ann", **more: Any) -> list[Any]:
    nbytes = more.pop("nbytes", 100)
    more.setdefault("ask", 7)
    return cluster.client(client, wire.Scatter(items=items(*ids, nbytes=nbytes), **more))


def holding(cluster: Cluster, worker: str, *ids: wire.TaskId, nbytes: int = 100) -> list[Any]:
    """The worker has been given the newest attempt of these."""
    held = [wire.Held(id, cluster.ts(id).attempt, nbytes, "bytes") for id in ids]
    for each in held:
        cluster.holds[worker][each.id, each.attempt] = nbytes
    return cluster.worker(worker, wire.Holding(tuple(held)))


def targets(told: list[Any]) -> dict[wire.TaskId, tuple[str, ...]]:
    """Where the one `Upload` says the items shall go."""
    (upload,) = [m for m in told if type(m) is wire.Upload]
    return {id: workers for id, _, workers in upload.items}


def replies(told: list[Any]) -> list[wire.Reply]:
    return [m for m in told if type(m) is wire.Reply]


# --- scatter -----------------------------------------------------------------------------------


def test_data_is_given_by_its_client_to_a_worker_and_is_there_when_that_says_so() -> None:
    cluster = Cluster({"w": 1})
    told = scatter(cluster, "x")
    assert told == [wire.Upload(7, (("x", cluster.ts("x").attempt, ("w",)),))]
    assert cluster.ts("x").attempt > 0
    assert cluster.state("x") == "released"
    assert holding(cluster, "w", "x") == [wire.Done("x", 100, "bytes", ("w",))]
    assert cluster.story("x") == "released > memory"
    assert cluster.ts("x").run_spec is None
    assert cluster.books.moves.uploads == {}


def test_items_go_round_to_the_workers_with_the_fewest_bytes() -> None:
    cluster = Cluster({"a": 1, "b": 1, "c": 1})
    assert targets(scatter(cluster, "x", "y", "z", "u", nbytes=0)) == {
        "x": ("a",), "y": ("b",), "z": ("c",), "u": ("a",),
    }  # fmt: skip


def test_a_fuller_worker_gets_less() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    scatter(cluster, "big", workers=("a",), nbytes=250)
    holding(cluster, "a", "big", nbytes=250)
    assert targets(scatter(cluster, "x", "y", "z", "u")) == {
        "x": ("b",), "y": ("b",), "z": ("b",), "u": ("a",),
    }  # fmt: skip


def test_copies_are_on_different_workers() -> None:
    cluster = Cluster({"a": 1, "b": 1, "c": 1})
    where = targets(scatter(cluster, "x", "y", copies=2))
    assert [len(set(workers)) for workers in where.values()] == [2, 2]
    assert set(targets(scatter(cluster, "z", copies=100, ask=8))["z"]) == {"a", "b", "c"}


def test_the_client_may_choose_the_workers() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    assert targets(scatter(cluster, "x", "y", workers=("b",))) == {"x": ("b",), "y": ("b",)}


def test_without_a_worker_nothing_is_created_and_the_client_is_told() -> None:
    cluster = Cluster()
    (reply,) = scatter(cluster, "x")
    assert reply.ask == 7
    assert "no worker can take data" in reply.error
    assert cluster.books.tasks == {}


def test_patient_data_waits_for_the_first_worker_and_so_do_tasks_that_need_it() -> None:
    cluster = Cluster()
    assert targets(scatter(cluster, "x", patient=True)) == {"x": ()}
    cluster.submit("ann", task("y", "x"))
    assert cluster.state("y") == "waiting"
    assert targets(cluster.join("w")) == {"x": ("w",)}
    holding(cluster, "w", "x")
    assert cluster.state("y") == "processing"


def test_data_that_its_client_keeps_is_given_again_when_it_is_lost() -> None:
    cluster = Cluster({"v": 1, "w": 1})
    (first,) = targets(scatter(cluster, "x", keeps=True))["x"]
    old = cluster.ts("x").attempt
    holding(cluster, first, "x")
    cluster.submit("ann", task("y", "x"))
    told = cluster.kill(first)
    (second,) = targets(told)["x"]
    assert second != first
    assert cluster.ts("x").attempt > old
    assert [m for m in told if type(m) is wire.Erred] == []
    assert cluster.state("y") == "waiting"
    holding(cluster, second, "x")
    assert cluster.state("y") == "processing"


def test_kept_data_waits_for_another_worker_if_there_is_none() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x", keeps=True)
    holding(cluster, "w", "x")
    cluster.kill("w")
    assert cluster.state("x") == "released"
    assert targets(cluster.join("v")) == {"x": ("v",)}
    holding(cluster, "v", "x")
    assert cluster.state("x") == "memory"


def test_what_nobody_keeps_any_more_is_lost_for_good() -> None:
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    scatter(cluster, "x", keeps=True)
    holding(cluster, "w", "x")
    cluster.client("bob", wire.Desire(("x",)))
    cluster.release("ann", "x")
    told = cluster.kill("w")
    assert [m.id for m in told if type(m) is wire.Erred] == ["x"]


def test_kept_data_that_was_being_given_elsewhere_is_asked_for_once() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x", keeps=True)
    holding(cluster, "w", "x")
    cluster.kill("w")
    cluster.client("ann", wire.Attach(cluster.books.clients["client/ann"].session, "ann"))
    assert targets(cluster.join("v")) == {"x": ("v",)}


def test_why_no_worker_can_take_data_names_each() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    cluster.client("ann", wire.Retire(1, ("a",)))
    (reply,) = scatter(cluster, "x", workers=("a", "nobody"))
    assert "a is draining, nobody is not known" in reply.error


def test_a_paused_worker_takes_data_if_there_is_no_other() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    cluster.worker("a", wire.Status(10, paused=True))
    assert targets(scatter(cluster, "x", "y")) == {"x": ("b",), "y": ("b",)}
    cluster.worker("b", wire.Status(10, paused=True))
    assert targets(scatter(cluster, "z"))["z"] == ("a",)


def test_tasks_wait_for_data_that_is_being_given() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x")
    cluster.submit("ann", task("t", "x"))
    assert cluster.state("t") == "waiting"
    holding(cluster, "w", "x")
    _, run = cluster.run_of("t")
    assert [i.id for i in run.inputs] == ["x"]


def test_a_key_of_a_task_is_no_key_for_data() -> None:
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    (reply,) = scatter(cluster, "y", "x")
    assert "'x'" in reply.error or "x is known for a task" in reply.error
    assert "y" not in cluster.books.tasks


def test_data_of_another_session_is_refused() -> None:
    cluster = Cluster({"w": 1})
    (reply,) = scatter(cluster, wire.task_id(2, 1))
    assert "another session" in reply.error


def test_data_that_is_there_is_to_be_given_to_nobody() -> None:
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    scatter(cluster, "x")
    holding(cluster, "w", "x")
    told = scatter(cluster, "x", client="bob")
    assert targets(told) == {"x": ()}
    assert wire.Done("x", 100, "bytes", ("w",)) in told
    cluster.release("ann", "x")
    assert cluster.state("x") == "memory"


def test_a_request_sent_again_has_the_same_answer() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    assert scatter(cluster, "x") == scatter(cluster, "x")


def test_data_that_is_released_before_it_came_is_freed_when_it_comes() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x")
    attempt = cluster.ts("x").attempt
    cluster.release("ann", "x")
    assert cluster.state("x") == "forgotten"
    assert holding(cluster, "w", "x") == [wire.Free("x", attempt)]


def test_what_was_to_be_given_and_is_forgotten_is_not_kept() -> None:
    cluster = Cluster({"w": 1})
    for i in range(500):
        scatter(cluster, f"x{i}")
        cluster.release("ann", f"x{i}")
    assert len(cluster.books.moves.uploads) <= 64


def test_a_key_that_comes_again_has_another_attempt() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x")
    old = cluster.ts("x").attempt
    cluster.release("ann", "x")
    scatter(cluster, "x")
    told = cluster.worker("w", wire.Holding((wire.Held("x", old, 100, "bytes"),)))
    assert told == [wire.Free("x", old)]
    assert cluster.state("x") == "released"


# --- what is lost on the way -------------------------------------------------------------------


def test_a_worker_that_dies_before_it_has_the_data_is_replaced() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    scatter(cluster, "x", "y", "z")
    told = cluster.kill("a")
    attempts = {id: cluster.ts(id).attempt for id in "xz"}
    assert told == [wire.Upload(7, (("x", attempts["x"], ("b",)), ("z", attempts["z"], ("b",))))]
    holding(cluster, "b", "x", "y", "z")
    assert all(cluster.state(id) == "memory" for id in "xyz")


def test_data_waits_for_a_worker_if_the_last_is_dead() -> None:
    cluster = Cluster({"a": 1})
    scatter(cluster, "x")
    assert [m for m in cluster.kill("a") if type(m) is wire.Upload] == []
    assert targets(cluster.join("b")) == {"x": ("b",)}


def test_a_copy_whose_worker_dies_is_made_elsewhere_from_the_first() -> None:
    cluster = Cluster({"a": 1, "b": 1, "c": 1})
    scatter(cluster, "x", copies=2)
    holding(cluster, "a", "x")
    told = cluster.kill("b")
    assert [(type(m), m.holders) for m in told if type(m) is wire.Fetch] == [(wire.Fetch, ("a",))]
    holding(cluster, "c", "x")
    assert {ws.id for ws in cluster.ts("x").who_has} == {"a", "c"}
    assert cluster.books.moves.uploads == {}
    assert cluster.books.moves.of == {}


def test_data_is_lost_when_its_giver_leaves() -> None:
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    scatter(cluster, "x")
    cluster.submit("bob", task("t", "x"))
    told = cluster.client("ann", wire.Leave())
    assert [(m.id, m.failure.kind) for m in told if type(m) is wire.Erred] == [("t", "lost")]
    assert cluster.state("x") == "forgotten"


def test_data_that_two_give_is_not_lost_when_one_leaves() -> None:
    cluster = Cluster({"a": 1, "b": 1}, clients=("ann", "bob"))
    scatter(cluster, "x")
    scatter(cluster, "x", client="bob", ask=3)
    cluster.client("ann", wire.Leave())
    assert cluster.state("x") == "released"
    assert [(to, m.ask) for to, m in _after(cluster, lambda: cluster.kill("a"))] == [
        ("client/bob", 3)
    ]


def _after(cluster: Cluster, act: Any) -> list[tuple[str, Any]]:
    act()
    return [(to, m) for to, m in cluster.last if type(m) is wire.Upload]


def test_a_client_that_is_back_is_told_again_what_it_shall_give() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x")
    cluster.lose_link("client/ann")
    assert targets(cluster.attach("ann")) == {"x": ("w",)}


def test_data_that_could_not_be_kept_goes_elsewhere() -> None:
    cluster = Cluster({"a": 1, "b": 1})
    scatter(cluster, "x")
    attempt = cluster.ts("x").attempt
    told = cluster.worker("a", wire.Dropped((wire.Attempt("x", attempt),), "no room"))
    assert targets(told) == {"x": ("b",)}


# --- what workers say --------------------------------------------------------------------------


def computed(**more: Any) -> Cluster:
    """`x` is on worker `a`; `b` is there too."""
    cluster = Cluster({"a": 1}, **more)
    cluster.submit("ann", task("x"))
    cluster.finish("x", nbytes=100)
    cluster.join("b")
    return cluster


def test_a_copy_that_a_worker_fetched_is_a_replica() -> None:
    cluster = computed()
    assert holding(cluster, "b", "x") == []
    assert {ws.id for ws in cluster.ts("x").who_has} == {"a", "b"}
    assert holding(cluster, "b", "x") == []
    assert cluster.books.workers["b"].nbytes == 100


def test_what_nobody_needs_is_freed() -> None:
    cluster = computed()
    assert cluster.worker("b", wire.Holding((wire.Held("nobody", 1, 5),))) == [
        wire.Free("nobody", 1)
    ]
    attempt = cluster.ts("x").attempt
    assert cluster.worker("b", wire.Holding((wire.Held("x", attempt + 5, 5),))) == [
        wire.Free("x", attempt + 5)
    ]


def test_a_result_that_a_worker_dropped_is_computed_again() -> None:
    cluster = computed()
    old = cluster.ts("x").attempt
    told = cluster.worker("a", wire.Dropped((wire.Attempt("x", old),), "disk"))
    assert wire.Lost("x") in told
    assert cluster.run_of("x")[1].attempt > old


def test_one_of_two_copies_may_go() -> None:
    cluster = computed()
    holding(cluster, "b", "x")
    attempt = cluster.ts("x").attempt
    assert cluster.worker("a", wire.Dropped((wire.Attempt("x", attempt),))) == []
    assert {ws.id for ws in cluster.ts("x").who_has} == {"b"}


@pytest.mark.parametrize("offset", [-1, 1])
def test_a_drop_of_another_attempt_changes_nothing(offset: int) -> None:
    cluster = computed()
    attempt = cluster.ts("x").attempt + offset
    assert cluster.worker("a", wire.Dropped((wire.Attempt("x", attempt),))) == []
    assert cluster.state("x") == "memory"


def test_a_copy_that_was_on_its_way_saves_a_lost_result() -> None:
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    attempt = cluster.ts("x").attempt
    cluster.join("b", 0)
    cluster.kill("a", accuses=False)
    assert cluster.state("x") in ("waiting", "no-worker")
    held = wire.Held("x", attempt, 10, "int")
    assert wire.Done("x", 10, "int", ("b",)) in cluster.worker("b", wire.Holding((held,)))
    assert cluster.state("x") == "memory"


def test_data_that_is_lost_fails_who_needs_it() -> None:
    cluster = Cluster({"w": 1})
    scatter(cluster, "x")
    holding(cluster, "w", "x")
    told = cluster.worker("w", wire.Dropped((wire.Attempt("x", cluster.ts("x").attempt),), "disk"))
    (erred,) = [m for m in told if type(m) is wire.Erred]
    assert (erred.id, erred.failure.kind) == ("x", "lost")
    assert "disk" in erred.failure.text
