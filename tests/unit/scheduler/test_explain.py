"""Every task can say in one sentence why it is where it is."""

from __future__ import annotations

import pytest

from tests.unit.scheduler.harness import Cluster, task
from treadle import wire
from treadle.scheduler._explain import explain, story
from treadle.wire import task_id


def why(cluster: Cluster, id: wire.TaskId, after_s: float = 0.0) -> str:
    """What is said of a task, a while later; the books are as they were."""
    before = [(ts.key, ts.story_code, ts.attempt) for ts in cluster.books.tasks.values()]
    text = explain(cluster.books, id, cluster.now + after_s)
    assert [(ts.key, ts.story_code, ts.attempt) for ts in cluster.books.tasks.values()] == before
    assert "\n" not in text
    return text


def test_an_unknown_task():
    assert why(Cluster(), "x") == (
        "task 'x' is not known: it was never submitted, or it is forgotten because nobody needed "
        "it any longer"
    )


def test_lineage():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), *[task(id, "x") for id in "abcd"], wants="abcd")
    cluster.drive()
    assert why(cluster, "x") == (
        "task x is not needed by anybody now; it stays known because tasks a, b, c and 1 more "
        "could need it again"
    )


def test_data_on_its_way():
    cluster = Cluster({"w": 1})
    cluster.client("ann", wire.Scatter(1, (wire.DataSpec("d", "data", 8),)))
    assert why(cluster, "d") == (
        "task d is data that a client is giving to worker w, and nobody has it yet"
    )


def test_an_input_that_runs():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("x"), task("z"), task("y", "x", "z"), wants=["y"])
    cluster.finish("x")
    cluster.start("z")
    assert why(cluster, "y", 3.2) == (
        "task y waits for 1 of its 2 inputs, z, which runs on worker w since 3.2 s; tasks like it "
        "take 250 ms"
    )


def test_the_end_of_a_chain_is_followed_down():
    cluster = Cluster({"w": 1})
    ids = [task_id(1, number) for number in range(3000)]
    cluster.submit(
        "ann", *[task(id, *ids[i - 1 : i] if i else ()) for i, id in enumerate(ids)], graph=True
    )
    assert why(cluster, ids[-1]) == (
        "task f-1-2999 waits for its only input: task f-1-2998 (waiting); f-1-0, 2998 tasks "
        "further down, was given to worker w and has not begun there; how long it takes is not "
        "known"
    )


def test_a_cause_is_looked_for_where_something_moves():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"), task("b", "a"), task("x"), task("y", "b", "x"), wants=["y"])
    cluster.start("a")
    text = why(cluster, "y", 1.0)
    assert text.startswith("task y waits for 2 of its 2 inputs: tasks b (waiting), x (")
    assert "; x " in text


def test_all_slots_are_taken():
    cluster = Cluster({"w": 2, "v": 2})
    cluster.submit("ann", *[task(task_id(1, number)) for number in range(12)])
    left = [ts for ts in cluster.books.tasks.values() if ts.state == "waiting"]
    text = why(cluster, left[-1].id)
    assert text.endswith("of 2 workers that could run it, 2 have no room (slots taken: 4 of 4)")
    assert f"{len(left) - 1} tasks before it" in text


def test_the_place_in_line_goes_by_priority():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("runs"))
    cluster.submit("ann", task("first"), task("urgent", priority=-1.0))
    assert "with no task before it" in why(cluster, "urgent")
    assert "with 1 task before it" in why(cluster, "first")


def test_a_resource_is_taken():
    cluster = Cluster({"plain": 1})
    cluster.join("g", 4, resources={"gpu": 2})
    cluster.submit("ann", task("a", resources={"gpu": 2}), task("b", resources={"gpu": 1}))
    assert why(cluster, "b") == (
        "task b is ready, with no task before it; of 1 worker that could run it, 1 has too little "
        "gpu free (worker g; 0 of 2, it needs 1)"
    )


def test_a_worker_is_paused():
    cluster = Cluster({"w": 1})
    cluster.worker("w", wire.Status(93_000_000, 0, True))
    cluster.submit("ann", task("a"))
    assert why(cluster, "a") == (
        "task a is ready, with no task before it; of 1 worker that could run it, 1 is paused until "
        "memory is free (worker w; 93.0 MB used)"
    )


def test_a_worker_has_no_link():
    cluster = Cluster({"w": 1})
    cluster.lose_link("worker/w")
    cluster.submit("ann", task("a"))
    assert why(cluster, "a", 3.2) == (
        "task a is ready, with no task before it; of 1 worker that could run it, 1 has no link "
        "(worker w; since 3.2 s of 12.0 s)"
    )


def test_suspects_do_not_share_a_worker():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("a"), task("b"))
    cluster.die("a")
    cluster.die("b")
    waiting = [id for id in "ab" if cluster.state(id) == "waiting"]
    assert len(waiting) == 1
    assert why(cluster, waiting[0]) == (
        f"task {waiting[0]} is ready, with no task before it; of 1 worker that could run it, 1 has "
        "another task that was involved in a death (worker w)"
    )


def test_there_is_no_worker():
    cluster = Cluster()
    cluster.submit("ann", task("a"))
    assert why(cluster, "a") == "task a has no worker to run on: there are none"


def test_each_clause_that_keeps_workers_is_counted():
    cluster = Cluster({"small": 1})
    cluster.join("elsewhere", 4, "cellar")
    cluster.join("one", 4, "attic", resources={"gpu": 1})
    cluster.join("none", 4, "attic")
    cluster.join("brief", 4, "attic", resources={"gpu": 2}, ends_in_s=30.0)
    cluster.submit(
        "ann", task("a", slots=2, hosts=("attic",), resources={"gpu": 2}, walltime_s=60.0)
    )
    assert why(cluster, "a") == (
        "task a has no worker to run on: of 5 workers, 2 have too little gpu (it needs 2, the most "
        "is 1), 1 has too few slots (it takes 2, the most is 1), 1 is elsewhere than it may run "
        "(host 'attic') and 1 is in a block that ends too early (in 30.0 s; its walltime is 60.0 s)"
    )


def test_the_workers_it_asks_for_are_not_there():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", workers=("v", "u"), hosts=("attic",)))
    assert why(cluster, "a") == (
        "task a has no worker to run on: of 1 worker, 1 is elsewhere than it may run (host 'attic' "
        "or workers 'v', 'u')"
    )


def test_a_task_that_was_given_to_a_worker():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("a"), task("b"))
    cluster.start("a")
    assert why(cluster, "b") == (
        "task b was given to worker w and has not begun there, where 1 other runs; how long it "
        "takes is not known"
    )


def test_a_task_whose_worker_is_silent():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    cluster.start("a")
    assert why(cluster, "a", 8.0) == (
        "task a runs on worker w since 8.0 s; how long it takes is not known; the worker has said "
        "nothing for 8.0 s of 12.0 s"
    )
    cluster.lose_link("worker/w")
    assert why(cluster, "a", 3.2).endswith("; there is no link to the worker since 3.2 s of 12.0 s")


def test_a_task_that_is_tried_again():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", retries=3))
    cluster.fail("a")
    cluster.fail("a")
    assert why(cluster, "a").endswith(
        "; 2 earlier attempts failed, the last on w with ValueError: oops"
    )


def test_a_result():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    cluster.finish("a", nbytes=1_230_000)
    assert why(cluster, "a") == "task a is done: its result, 1.2 MB, is on worker w"


def test_a_task_that_failed_itself():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", retries=1), task("b", "a"))
    cluster.fail("a")
    cluster.fail("a")
    assert why(cluster, "a") == (
        "task a failed: the task raised: ValueError: oops, after 2 attempts"
    )
    assert why(cluster, "b") == (
        "task b failed because a did, on which it depends: the task raised: ValueError: oops, "
        "after 2 attempts"
    )


def test_a_task_that_killed_its_processes():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"))
    for _ in range(3):
        cluster.die("a", -11)
    assert why(cluster, "a") == (
        "task a failed: the process that ran the task died, too often: TaskDied: the process "
        "that ran it on w died by signal 11 (SIGSEGV); that was death 3 of 3, after 3 attempts, "
        "involved in 3 deaths"
    )


def test_an_actor_and_its_calls():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.submit("ann", *[task(id, home="counter") for id in "abc"])
    assert why(cluster, "c").startswith("task c waits for its only input, counter, which ")
    cluster.finish("counter")
    assert why(cluster, "counter").startswith("task counter is an actor and lives on worker w")


def test_calls_wait_for_earlier_calls_and_for_their_actors_worker():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("counter", actor=True))
    cluster.finish("counter")
    cluster.lose_link("worker/w")
    cluster.submit("ann", *[task(id, home="counter") for id in "abc"])
    assert why(cluster, "a") == (
        "task a is the next call of actor counter; worker w, where that lives, is absent"
    )
    assert why(cluster, "c") == "task c is a call of actor counter; 2 earlier calls before it"
    assert why(cluster, "counter").endswith("with 3 calls in line")


def test_data_that_nobody_can_take():
    cluster = Cluster({"w": 1})
    cluster.client("ann", wire.Scatter(1, (wire.DataSpec("d", "data", 8),)))
    cluster.kill("w")
    assert why(cluster, "d") == (
        "task d is data that a client wants to give to a worker, and there is none to take it"
    )


def test_all_workers_drain():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"), task("b", slots=1))
    cluster.start("a")
    cluster.worker("w", wire.Leaving("the block ends", 60.0))
    assert why(cluster, "b") == (
        "task b has no worker to run on: of 1 worker, 1 is draining (worker w)"
    )


def test_a_worker_is_kept_free_for_a_task_that_needs_more():
    cluster = Cluster({"w": 2})
    cluster.submit("ann", task("a"), task("wide", slots=2), task("b"))
    assert why(cluster, "wide") == (
        "task wide is ready, with no task before it; of 1 worker that could run it, 1 has no room "
        "(slots taken: 1 of 2, it takes 2)"
    )
    assert why(cluster, "b") == (
        "task b is ready, with no task before it; of 1 worker that could run it, 1 is kept free "
        "for a task that needs more (worker w)"
    )


def test_a_task_waits_for_the_worker_that_has_its_inputs():
    cluster = Cluster({"w": 1, "v": 1})
    cluster.submit("ann", task("big", workers=("w",)), task("a", name="short", workers=("w",)))
    cluster.finish("big", nbytes=2**40)
    cluster.finish("a", duration_s=0.5)
    cluster.submit("ann", task("b", name="short", workers=("w",)))
    cluster.submit("ann", task("c", "big", name="short"))
    assert why(cluster, "c") == (
        "task c is ready, and waits for worker w, which has its inputs, for 1.0 s"
    )


def test_a_row_of_a_bundle_is_explained_by_the_bundle():
    cluster = Cluster()
    first = task_id(1, 100)
    cluster.submit("ann", task(first, rows=(b"0", b"1", b"2")))
    assert why(cluster, first + 2) == (
        f"task {first + 2}, a row of f-1-100 has no worker to run on: there are none"
    )
    lines = ["f-1-100: released > waiting > no-worker", "it is wanted by client ann"]
    assert story(cluster.books, first + 1) == lines


def test_a_story_tells_attempts_and_losses():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", retries=1))
    cluster.fail("a")
    cluster.tick(3.2)
    cluster.finish("a")
    cluster.kill("w")
    lines = story(cluster.books, "a")
    assert lines[0].startswith("a: released > waiting > processing > released > waiting")
    assert lines[1] == "attempt 1 on worker w failed (exception): ValueError: oops"
    assert lines[2] == "3.2 s ago: raised ValueError on w; 0 retries left"
    assert lines[3].startswith("0 us ago: its result was lost: worker w died")
    assert lines[-2:] == ["its newest attempt is number 2", "it is wanted by client ann"]
    assert story(cluster.books, "b") == []


# --- by wire -----------------------------------------------------------------------------------


def one_reply(cluster: Cluster, question: wire.Message) -> wire.Reply:
    (reply,) = cluster.client("ann", question)
    assert isinstance(reply, wire.Reply)
    assert reply.ask == 7
    return reply


def test_who_has_is_answered_once_and_in_order():
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a"), task("b"))
    cluster.finish("a")
    assert one_reply(cluster, wire.WhoHas(7, ("b", "a", "a"))).value == [[], ["w"], ["w"]]


def test_has_what_names_the_keys_of_each_worker():
    cluster = Cluster({"w": 1})
    cluster.join("v")
    cluster.submit("ann", task(task_id(1, 5), workers=("w",)), task("a", workers=("w",)))
    cluster.drive()
    assert one_reply(cluster, wire.HasWhat(7)).value == {"v": [], "w": ["a", "f-1-5"]}
    assert one_reply(cluster, wire.HasWhat(7, ("v",))).value == {"v": []}


def test_a_story_tells_who_wants_it_and_what_is_written_of_it():
    cluster = Cluster(clients=("ann", "bob", "cid"))
    cluster.submit("ann", task("a", metadata={"colour": "red"}))
    cluster.client("bob", wire.Desire(("a",)))
    assert story(cluster.books, "a")[1:] == [
        "it is wanted by clients ann, bob",
        "its metadata: {'colour': 'red'}",
    ]


def test_explain_and_story_are_answered_in_words():
    cluster = Cluster()
    cluster.submit("ann", task("a"))
    assert one_reply(cluster, wire.Explain(7, "a")).value == why(cluster, "a")
    assert one_reply(cluster, wire.Story(7, "a")).value == story(cluster.books, "a")


@pytest.mark.parametrize(
    "question",
    [wire.WhoHas(7, ("x",)), wire.Explain(7, "x"), wire.Story(7, "x"), wire.HasWhat(7, ("x",))],
)
def test_what_is_not_known_is_named(question):
    reply = one_reply(Cluster({"w": 1}), question)
    assert reply.value is None
    assert "'x'" in reply.error or "worker x" in reply.error


@pytest.mark.parametrize(
    "question",
    [wire.WhoHas(7, ()), wire.HasWhat(7), wire.Explain(7, "a"), wire.Story(7, "a")],
)
def test_an_answer_can_be_sent(question):
    cluster = Cluster({"w": 1})
    cluster.submit("ann", task("a", retries=1))
    cluster.fail("a")
    reply = one_reply(cluster, question)
    assert isinstance(reply.value, str | list | dict)
