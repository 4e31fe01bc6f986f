"""The states that tasks go through, from their admission to their end, case by case."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import OOPS, Cluster, task
from treadle import wire
from treadle.scheduler import Policy, TaskState
from treadle.wire import task_id

COMPUTED = "released > waiting > processing > memory"
FAILED = "released > waiting > processing > erred"


def test_a_result_that_is_let_go_is_forgotten():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    assert cluster.story("x") == COMPUTED
    cluster.release("ann", "x")
    assert cluster.story("x") == f"{COMPUTED} > forgotten"
    assert not cluster.books.tasks


def test_an_input_that_nobody_holds_is_freed_and_stays_known():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.drive()
    assert cluster.story("x") == f"{COMPUTED} > released"
    assert cluster.story("y") == COMPUTED
    assert list(cluster.holds["w"]) == [("y", cluster.ts("y").attempt)]


def test_a_failure_spreads_to_all_that_waits_for_it():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "y"))
    cluster.fail("x")
    assert cluster.story("x") == FAILED
    assert cluster.story("y") == cluster.story("z") == "released > waiting > released > erred"
    z = cluster.ts("z")
    assert z.exception_blame is cluster.ts("x")
    assert z.exception is None
    assert z.traceback is None
    told = {message.id: message for message in cluster.told("client/ann", wire.Erred)}
    assert {id: message.blame for id, message in told.items()} == dict.fromkeys("xyz", "x")
    assert all(message.failure == OOPS for message in told.values())


@pytest.mark.parametrize("order", ["abcd", "dcba", "bdca"])
def test_a_failure_reaches_a_task_by_several_ways_once(order):
    cluster = Cluster({"w": 1})
    deps = {"a": "x", "b": "a", "c": "ab", "d": "ac"}
    cluster.submit("ann", task("x"), *[task(id, *deps[id]) for id in order], graph=True)
    cluster.fail("x")
    for id in "abcd":
        assert cluster.story(id) == "released > waiting > released > erred"
    assert sorted(message.id for message in cluster.told("client/ann", wire.Erred)) == [*"abcdx"]


def test_a_worker_is_told_where_the_inputs_are():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.finish("x", nbytes=7)
    _, run = cluster.run_of("y")
    assert run.inputs == (wire.Input("x", cluster.ts("x").attempt, 7, ("w",)),)
    assert run.run_spec == b"run y"


def test_a_lease_without_a_link_begins_when_the_link_is_lost():
    cluster = Cluster({"w": 1})
    cluster.tick(1.0)
    for _ in range(3):
        cluster.tick(3.0)
    cluster.lose_link("worker/w")
    for _ in range(3):
        cluster.tick(3.0)
    assert "w" in cluster.books.workers
    cluster.tick(3.0)
    assert "w" not in cluster.books.workers


def test_a_retry_is_a_new_attempt():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x", retries=2))
    cluster.fail("x")
    cluster.finish("x")
    assert cluster.story("x") == (
        "released > waiting > processing > released > waiting > processing > memory"
    )
    assert cluster.ts("x").retries == 1
    (done,) = cluster.told("client/ann", wire.Done)
    assert [row.failure for row in done.earlier] == [OOPS]


def test_a_task_that_no_worker_can_run_waits_for_one_that_can():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x", resources={"G": 1}))
    assert cluster.story("x") == "released > waiting > no-worker"
    cluster.join("g", resources={"G": 1})
    cluster.finish("x")
    states = cluster.ts("x").story
    assert states[:3] == ["released", "waiting", "no-worker"]
    assert states[-2:] == ["processing", "memory"]
    # It may pass by `waiting` again on its way to the worker.
    assert states[3:-2] in ([], ["waiting"])


def test_a_running_task_that_is_released_is_forgotten_with_what_waits_for_it():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.release("ann", "x", "y")
    assert cluster.story("x") == "released > waiting > processing > released > forgotten"
    assert cluster.story("y") == "released > waiting > released > forgotten"
    assert len(cluster.told("worker/w", wire.Stop)) == 1


def test_a_running_task_that_is_cancelled_is_forgotten_with_what_waits_for_it():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.client("ann", wire.Cancel(("x",)))
    assert cluster.story("x") == "released > waiting > processing > released > forgotten"
    assert cluster.story("y") == "released > waiting > released > forgotten"
    assert {m.id for m in cluster.told("client/ann", wire.Cancelled)} == {"x", "y"}


def test_a_task_whose_worker_is_lost_runs_elsewhere_and_is_suspicious():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    cluster.start("x")
    cluster.kill("w")
    cluster.join("v")
    cluster.finish("x")
    states = [state for state in cluster.ts("x").story if state != "no-worker"]
    assert " > ".join(dict.fromkeys(states)) == "released > waiting > processing > memory"
    assert cluster.story("x").startswith("released > waiting > processing > released > waiting")
    assert cluster.ts("x").suspicious == 1


def test_a_task_whose_worker_is_lost_goes_to_another_at_once():
    cluster = Cluster({"w": 1, "v": 1})
    cluster.submit("ann", task("x"))
    worker, _ = cluster.run_of("x")
    cluster.start("x")
    cluster.kill(worker)
    cluster.finish("x")
    assert cluster.story("x") == (
        "released > waiting > processing > released > waiting > processing > memory"
    )


def test_a_lost_result_is_computed_again_with_what_it_needs():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.drive()
    cluster.join("v")
    cluster.kill("w")
    assert cluster.story("y") == f"{COMPUTED} > released > waiting"
    assert cluster.story("x") == f"{COMPUTED} > released > waiting > processing"
    assert cluster.told("client/ann", wire.Lost) == [wire.Lost("y")]
    cluster.drive()
    assert cluster.story("y") == f"{COMPUTED} > released > waiting > processing > memory"
    # Nobody wants x but y.
    assert cluster.story("x") == (
        f"{COMPUTED} > released > waiting > processing > memory > released"
    )
    assert [type(m) for m in cluster.told("client/ann", wire.Done, wire.Lost)] == [
        wire.Done,
        wire.Lost,
        wire.Done,
    ]


def scattered(cluster: Cluster, id: str, worker: str) -> None:
    """A client gives data to a worker."""
    cluster.client("ann", wire.Scatter(1, (wire.DataSpec(id, "data", 8, "int"),), (worker,)))
    (upload,) = cluster.told("client/ann", wire.Upload)
    ((what, attempt, where),) = upload.items
    assert (what, where) == (id, (worker,))
    cluster.worker(worker, wire.Holding((wire.Held(id, attempt, 8, "int"),)))


def test_data_that_a_client_gave_is_in_memory_when_a_worker_has_it():
    cluster = Cluster({"w": 1})
    scattered(cluster, "x", "w")
    assert cluster.story("x") == "released > memory"


def test_lost_data_takes_with_it_what_was_computed_of_it():
    cluster = Cluster({"w": 1})
    scattered(cluster, "x", "w")
    cluster.submit("ann", task("y", "x"))
    cluster.drive()
    cluster.kill("w")
    assert cluster.story("x") == "released > memory > forgotten"
    assert cluster.story("y") == f"{COMPUTED} > released > waiting > released > forgotten"
    told = {message.id: message.failure for message in cluster.told("client/ann", wire.Erred)}
    assert set(told) == {"x", "y"}
    assert {failure.kind for failure in told.values()} == {"lost"}


def test_a_retry_begins_with_the_task_that_failed():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"))
    cluster.fail("x")
    cluster.client("ann", wire.Retry(("y",)))
    cluster.drive()
    assert cluster.story("x") == f"{FAILED} > released > waiting > processing > memory"
    assert cluster.story("y") == (
        "released > waiting > released > erred > released > waiting > processing > memory"
    )
    assert {m.id for m in cluster.told("client/ann", wire.Retried)} == {"x", "y"}


def test_a_task_on_what_has_failed_fails_as_it_comes():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    cluster.fail("x")
    cluster.submit("ann", task("y", "x"))
    assert cluster.story("y") == "released > erred"
    assert cluster.ts("y").exception_blame is cluster.ts("x")


def test_only_what_is_wanted_is_computed():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), task("z", "x"), wants=["y"])
    assert set(cluster.books.tasks) == {"x", "y"}
    cluster.drive()
    assert cluster.story("y") == COMPUTED


def test_three_deaths_end_a_task():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    for _ in range(3):
        cluster.die("x")
    assert cluster.ts("x").state == "erred"
    assert cluster.ts("x").suspicious == 3
    (erred,) = cluster.told("client/ann", wire.Erred)
    assert erred.failure.kind == "killed"
    assert "SIGSEGV" in erred.failure.text
    assert len(erred.earlier) == 3


def test_what_is_not_started_is_not_accused():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.start("x")
    cluster.kill("w")
    assert (cluster.ts("x").suspicious, cluster.ts("y").suspicious) == (1, 0)


def test_all_are_accused_when_it_is_not_known_what_had_started():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("x"), task("y"))
    cluster.kill("w")
    assert (cluster.ts("x").suspicious, cluster.ts("y").suspicious) == (1, 1)


def test_late_and_doubled_answers_change_nothing():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x", retries=1))
    _, first = cluster.run_of("x")
    cluster.fail("x")
    before = cluster.story("x")
    late = wire.Finished(first.id, first.attempt, 1, "int", 0.1)
    assert cluster.worker("w", late) == [wire.Free("x", first.attempt)]
    cluster.worker("w", wire.Failed(first.id, first.attempt, OOPS, 0.1))
    cluster.worker("w", wire.Died(first.id, first.attempt, -9))
    cluster.worker("w", wire.Returned(first.id, first.attempt, "stopped"))
    assert cluster.story("x") == before
    assert cluster.ts("x").retries == 0


def test_a_doubled_result_is_one_result():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    _, run = cluster.run_of("x")
    cluster.finish("x")
    again = wire.Finished(run.id, run.attempt, 10, "int", 0.25)
    assert cluster.worker("w", again) == []
    assert cluster.story("x") == COMPUTED
    assert cluster.ts("x").who_has == {cluster.books.workers["w"]}


@pytest.mark.parametrize("force", [False, True])
def test_what_somebody_else_wants_is_cancelled_only_by_force(force):
    cluster = Cluster({"w": 1}, clients=("ann", "bob"))
    cluster.submit("ann", task("x"))
    cluster.client("bob", wire.Desire(("x",)))
    cluster.client("ann", wire.Cancel(("x",), force))
    assert cluster.state("x") == ("forgotten" if force else "processing")
    assert len(cluster.told("client/ann", wire.Cancelled)) == 1
    assert len(cluster.told("client/bob", wire.Cancelled)) == force


def test_a_result_that_is_wanted_again_while_it_is_lineage_is_computed_again():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.drive()
    cluster.client("ann", wire.Desire(("x",)))
    cluster.drive()
    assert cluster.story("x") == (f"{COMPUTED} > released > waiting > processing > memory")


def test_an_unneeded_chain_is_forgotten_whole():
    cluster = Cluster({"w": 1})
    ids = [task_id(1, number) for number in range(2_000)]
    chain = [task(id, *ids[i - 1 : i] if i else ()) for i, id in enumerate(ids)]
    cluster.submit("ann", *chain, wants=[ids[-1]], graph=True)
    cluster.release("ann", ids[-1])
    assert not cluster.books.tasks
    assert not cluster.books.groups


def test_what_loses_its_input_for_good_while_it_runs_is_not_run_again():
    cluster = Cluster({"w": 1, "v": 3})
    scattered(cluster, "x", "w")
    on_v = {"workers": ("v",)}
    tasks = [task("e", **on_v), task("z", "x", "e", **on_v), task("keep", "e", **on_v)]
    cluster.submit("ann", *tasks, wants=["z", "keep"])
    cluster.finish("e")
    cluster.finish("keep")
    cluster.kill("w")
    assert cluster.ts("z").has_lost_dependencies
    assert cluster.state("e") == "memory"
    cluster.give_back("z", "inputs", (("x", "w"),))
    assert cluster.state("z") == "forgotten"
    told = {message.id: message for message in cluster.told("client/ann", wire.Erred)}
    assert told["z"].failure.kind == "lost"
    assert "x was data" in told["z"].failure.text
    # Only z needed it: it stays known, as what the result of `keep` was made of.
    assert cluster.state("e") == "released"
    cluster.release("ann", "keep")
    assert not cluster.books.tasks


def test_lost_data_dooms_all_that_waits_for_it_and_nothing_else():
    cluster = Cluster({"w": 1, "v": 1})
    scattered(cluster, "x", "w")
    on_v = {"workers": ("v",)}
    tasks = [task("e", **on_v), task("slow", **on_v), task("y", "x", "e", "slow"), task("z", "y")]
    cluster.submit("ann", *tasks, wants=["z", "slow"])
    cluster.finish("e")
    cluster.kill("w")
    assert cluster.story("y") == cluster.story("z") == "released > waiting > released > forgotten"
    told = {message.id: message.blame for message in cluster.told("client/ann", wire.Erred)}
    assert told == {"x": "x", "z": "x"}
    assert cluster.state("e") == "forgotten"
    assert cluster.state("slow") == "processing"
    assert list(cluster.holds["v"]) == []


def test_an_input_that_cannot_be_had_is_computed_again():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("y", "x"), wants=["y"])
    cluster.finish("x")
    cluster.give_back("y", "inputs", (("x", "w"),))
    assert cluster.story("x") == f"{COMPUTED} > released > waiting > processing"
    assert cluster.story("y") == "released > waiting > processing > released > waiting"
    assert not cluster.holds["w"]
    cluster.drive()
    assert cluster.state("y") == "memory"


def test_only_the_worker_that_was_given_an_attempt_can_end_it():
    cluster = Cluster({"w": 1, "v": 1})
    cluster.submit("ann", task("x"))
    worker, run = cluster.run_of("x")
    other = "v" if worker == "w" else "w"
    forged = wire.Finished(run.id, run.attempt, 10, "int", 0.25)
    assert cluster.worker(other, forged) == [wire.Free("x", run.attempt)]
    cluster.worker(other, wire.Failed(run.id, run.attempt, OOPS, 0.1))
    assert cluster.state("x") == "processing"


def test_a_failure_that_is_final_is_not_tried_again():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x", retries=5))
    cluster.fail("x", final=True)
    assert cluster.story("x") == FAILED


def test_what_is_wanted_again_in_the_same_frame_stays():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"))
    cluster.finish("x")
    cluster.client("ann", wire.Release(("x",)), wire.Desire(("x",)))
    assert cluster.story("x") == COMPUTED
    spec = wire.TaskSpec("y", "f", b"run y", ("x",))
    cluster.client("ann", wire.Release(("x",)), wire.Submit((spec,)))
    assert cluster.story("x") == COMPUTED
    assert cluster.told("worker/w", wire.Free) == []


def test_the_users_priority_comes_before_the_order_of_submission():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("runs"))
    cluster.submit(
        "ann", task("first"), task("better", priority=-1.0), task("other", walltime_s=9.0)
    )
    cluster.submit("ann", task("best", priority=-2.0, walltime_s=9.0))
    order = []
    while cluster.runs["w"]:
        ((id, _),) = cluster.runs["w"]
        order.append(id)
        cluster.finish(id, duration_s=1.0)
    assert order == ["runs", "best", "better", "first", "other"]


def test_a_story_keeps_the_last_states():
    cluster = Cluster({"w": 1}, policy=Policy())
    cluster.submit("ann", task("x", retries=100))
    for _ in range(100):
        cluster.fail("x")
    story = cluster.ts("x").story
    assert 64 <= len(story) <= 128
    assert story[-4:] == ["processing", "released", "waiting", "processing"]
    assert isinstance(cluster.ts("x"), TaskState)
