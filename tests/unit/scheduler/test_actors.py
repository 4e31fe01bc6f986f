"""Actors: one home, ordered calls, and their loss is an error."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.test_data import scatter
from treadle import wire


def actor(id: wire.TaskId = "a", **more: Any) -> dict[str, Any]:
    return task(id, name="Counter", actor=True, **more)


def call(id: wire.TaskId, *deps: wire.TaskId, home: wire.TaskId = "a", **more: Any) -> Any:
    return task(id, *deps, name="increment", home=home, **more)


def alive(workers: dict[str, int] | None = None, **more: Any) -> Cluster:
    """A cluster where actor `a` lives."""
    cluster = Cluster(workers or {"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", actor(**more))
    cluster.finish("a")
    return cluster


def sent(cluster: Cluster) -> list[wire.TaskId]:
    """The calls that were ever sent, in order."""
    runs = [m for _, m in cluster.sent if type(m) is wire.Run and m.home is not None]
    return [run.id for run in runs]


def errors(told: list[Any]) -> dict[wire.TaskId, tuple[str, wire.TaskId]]:
    """Who erred: the failure's kind, and whom it blames."""
    return {m.id: (m.failure.kind, m.blame) for m in told if type(m) is wire.Erred}


# --- its life ----------------------------------------------------------------------------------


def test_an_actor_is_in_memory_on_one_worker_its_home() -> None:
    cluster = alive()
    assert cluster.ts("a").actor
    assert [run.actor for run in cluster.told("worker/w", wire.Run)] == [True]
    assert list(cluster.books.workers["w"].actors) == [cluster.ts("a")]


def test_an_actor_keeps_its_resources_and_gives_back_its_slot() -> None:
    cluster = Cluster()
    cluster.join("w", 1, resources={"gpu": 2.0})
    cluster.submit("ann", actor(resources={"gpu": 2.0}), task("t", resources={"gpu": 1.0}))
    cluster.finish("a")
    ws = cluster.books.workers["w"]
    assert (ws.free["gpu"], ws.slots_taken) == (0.0, 0)
    assert cluster.state("t") != "processing"
    cluster.release("ann", "a")
    assert cluster.state("t") == "processing"


def test_a_released_actor_is_freed_and_forgotten() -> None:
    cluster = alive()
    attempt = cluster.ts("a").attempt
    assert cluster.release("ann", "a") == [wire.Free("a", attempt)]
    assert cluster.story("a") == "released > waiting > processing > memory > forgotten"
    assert cluster.books.workers["w"].actors == {}


def test_an_actor_that_is_being_made_is_made_again_when_its_worker_dies() -> None:
    cluster = Cluster({"w": 1})
    cluster.submit("ann", actor())
    cluster.submit("ann", call("c1"))
    cluster.start("a")
    cluster.kill("w")
    assert cluster.ts("a").suspicious == 1
    cluster.join("v")
    cluster.drive()
    assert cluster.state("c1") == "memory"


def test_an_actor_stays_while_its_calls_are_open() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"), call("c2"))
    cluster.release("ann", "a")
    assert cluster.state("a") == "memory"
    cluster.finish("c1")
    assert cluster.state("a") == "memory"
    cluster.finish("c2")
    assert cluster.state("a") == "forgotten"
    assert [cluster.state(id) for id in ("c1", "c2")] == ["memory", "memory"]


# --- its calls ---------------------------------------------------------------------------------


def test_calls_go_to_the_home_without_waiting_for_each_other() -> None:
    cluster = alive({"w": 1, "v": 1})
    cluster.submit("ann", call("c1"), call("c2"), call("c3"))
    home = cluster.ts("a").holders.id  # type: ignore[union-attr]
    assert sent(cluster) == ["c1", "c2", "c3"]
    assert {cluster.run_of(id)[0] for id in ("c1", "c2", "c3")} == {home}
    assert cluster.books.workers[home].slots_taken == 0


def test_calls_are_sent_in_the_order_of_admission() -> None:
    cluster = alive()
    cluster.join("v", 1)
    cluster.submit("ann", task("x", workers=("v",)), call("c1", "x"), call("c2"))
    cluster.submit("bob", call("c3"))
    assert sent(cluster) == []
    cluster.finish("x")
    assert sent(cluster) == ["c1", "c2", "c3"]


def test_calls_wait_for_the_actor_to_be_made() -> None:
    cluster = Cluster({"w": 1})
    cluster.submit("ann", actor(), call("c1"), call("c2"))
    assert [cluster.state(id) for id in ("c1", "c2")] == ["waiting", "waiting"]
    cluster.finish("a")
    assert sent(cluster) == ["c1", "c2"]


@pytest.mark.parametrize("how", ["release", "cancel", "fail"])
def test_a_call_that_is_not_made_lets_the_next_one_go(how: str) -> None:
    cluster = alive()
    cluster.join("v", 1)
    cluster.submit("ann", task("x", workers=("v",)), call("c1", "x"), call("c2"), call("c3", "x"))
    cluster.submit("bob", call("c4"))
    if how == "release":
        cluster.release("ann", "c1")
    elif how == "cancel":
        cluster.client("ann", wire.Cancel(("c1",)))
    else:
        cluster.fail("x")
        assert sent(cluster) == ["c2", "c4"]
        return
    assert sent(cluster) == ["c2"]
    cluster.finish("x")
    assert sent(cluster) == ["c2", "c3", "c4"]


def test_a_call_that_raises_is_an_error_and_the_actor_lives() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1", retries=5), call("c2"))
    assert errors(cluster.fail("c1")) == {"c1": ("exception", "c1")}
    assert cluster.state("a") == "memory"
    assert cluster.ts("c2").processing_on is not None


def test_a_call_that_comes_back_stands_where_it_stood() -> None:
    cluster = alive()
    cluster.join("v", 1)
    scatter(cluster, "x", workers=("v",))
    cluster.submit("ann", call("c1"), call("c2"), call("c3", "x"), call("c4"))
    first, second = cluster.run_of("c1")[1], cluster.run_of("c2")[1]
    cluster.runs["w"].clear()
    cluster.worker(
        "w",
        wire.Returned("c2", second.attempt, "slot"),
        wire.Returned("c1", first.attempt, "slot"),
    )
    assert sent(cluster) == ["c1", "c2", "c1", "c2"]


def test_a_call_that_runs_is_not_stopped_when_its_future_is_dropped() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"))
    assert cluster.release("ann", "c1") == []
    assert cluster.state("c1") == "processing"
    cluster.finish("c1")
    assert cluster.state("c1") == "forgotten"
    assert cluster.state("a") == "memory"


# --- its loss ----------------------------------------------------------------------------------


def test_the_death_of_its_worker_fails_the_actor_and_all_open_calls() -> None:
    cluster = alive({"w": 2})
    cluster.submit("ann", call("c0"))
    cluster.finish("c0")
    cluster.join("v", 1)
    cluster.submit("ann", task("x", workers=("v",)), call("c1"), call("c2", "x"), task("t", "c1"))
    cluster.worker("v", wire.Holding((wire.Held("c0", cluster.ts("c0").attempt, 10, "int"),)))
    told = cluster.kill("w")
    failed = errors(told)
    assert failed == dict.fromkeys(("a", "c1", "c2", "t"), ("actor", "a"))
    assert cluster.state("c0") == "memory"
    assert cluster.state("x") == "processing"
    text = cluster.ts("a").failure.text  # type: ignore[union-attr]
    assert "actor a" in text
    assert "w" in text
    assert "died" in text


def test_the_death_of_its_process_names_the_call_and_the_signal() -> None:
    cluster = alive({"w": 2})
    cluster.submit("ann", call("c1"), call("c2"), task("t"))
    attempt = cluster.ts("a").attempt
    told = cluster.die("c1", -9)
    assert errors(told) == dict.fromkeys(("a", "c1", "c2"), ("actor", "a"))
    text = cluster.ts("a").failure.text  # type: ignore[union-attr]
    assert "in call c1" in text
    assert "SIGKILL" in text
    assert wire.Free("a", attempt) in told
    assert wire.Stop("c2", cluster.ts("c2").attempt) in told
    assert cluster.state("t") == "processing"
    assert cluster.books.workers["w"].actors == {}


def test_an_actor_whose_process_ended_between_calls_is_gone() -> None:
    cluster = alive()
    told = cluster.worker(
        "w", wire.Dropped((wire.Attempt("a", cluster.ts("a").attempt),), "SIGKILL")
    )
    assert errors(told) == {"a": ("actor", "a")}
    assert "SIGKILL" in cluster.ts("a").failure.text  # type: ignore[union-attr]


def test_what_a_dead_actor_still_says_is_refused() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"), call("c2"))
    late = cluster.run_of("c2")[1]
    cluster.die("c1")
    cluster.runs["w"].clear()
    assert cluster.worker("w", wire.Finished("c2", late.attempt, 5, "int", 0.1)) == [
        wire.Free("c2", late.attempt)
    ]
    assert cluster.worker("w", wire.Died("c2", late.attempt, -9)) == []
    assert cluster.state("c2") == "erred"


def test_a_lost_actor_that_nobody_wants_goes_with_its_calls() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"))
    cluster.release("ann", "a")
    cluster.die("c1")
    assert cluster.state("a") == "erred"
    cluster.release("ann", "c1")
    assert (cluster.state("a"), cluster.state("c1")) == ("forgotten", "forgotten")


def test_calls_of_a_lost_actor_fail_at_once() -> None:
    cluster = alive()
    cluster.kill("w")
    assert errors(cluster.submit("ann", call("c1"))) == {"c1": ("actor", "a")}


def test_calls_of_an_actor_that_nobody_knows_are_refused_as_calls_of_a_lost_one() -> None:
    cluster = alive()
    cluster.release("ann", "a")
    (refused,) = cluster.submit("bob", call("c1"))
    assert (refused.what, refused.kind, refused.ids) == ("submit", "actor", ("c1",))
    assert "actor 'a'" in refused.reason


def test_a_lost_actor_is_made_anew_when_that_is_asked_for() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"))
    cluster.kill("w")
    cluster.join("v")
    cluster.client("ann", wire.Retry(("a",)))
    cluster.finish("a")
    assert cluster.state("a") == "memory"
    cluster.submit("ann", call("c2"))
    cluster.finish("c2")
    assert cluster.state("c2") == "memory"


def test_calls_that_failed_with_their_actor_are_made_again_only_if_named() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"), call("c2"), task("t", "c1"))
    cluster.kill("w")
    cluster.join("v")
    cluster.client("ann", wire.Retry(("c2",)))
    cluster.drive()
    assert [cluster.state(id) for id in ("a", "c1", "c2", "t")] == [
        "memory", "erred", "memory", "erred",
    ]  # fmt: skip
    told = cluster.client("bob", wire.Desire(("t",)))
    assert errors(told) == {"t": ("actor", "c1")}


def test_the_lost_result_of_a_call_fails_who_needs_it() -> None:
    cluster = alive({"w": 1})
    cluster.submit("ann", call("c1"))
    cluster.finish("c1")
    cluster.submit("ann", task("t", "c1", workers=("nowhere",)))
    attempt = cluster.ts("c1").attempt
    told = cluster.worker("w", wire.Dropped((wire.Attempt("c1", attempt),), "disk"))
    assert {id: kind for id, (kind, _) in errors(told).items()} == {"c1": "lost", "t": "lost"}
    assert cluster.state("a") == "memory"


def test_an_actor_dies_with_its_block_and_nobody_is_accused() -> None:
    cluster = alive()
    cluster.submit("ann", call("c1"), task("t"))
    told = cluster.kill("w", accuses=False)
    assert set(errors(told)) == {"a", "c1"}
    assert cluster.ts("t").suspicious == 0
