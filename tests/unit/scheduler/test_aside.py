"""Tasks that wait for others take no slot, and what they wait for comes first."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.peers import attempts, register
from tests.unit.scheduler.placing import given, where
from treadle import scheduler, wire


def aside(cluster: Cluster, id: wire.TaskId) -> list[wire.Message]:
    """The worker that runs the task says that it waits for others."""
    worker, run = cluster.run_of(id)
    return cluster.worker(worker, wire.Aside((wire.Attempt(run.id, run.attempt),)))


def back(cluster: Cluster, id: wire.TaskId) -> list[wire.Message]:
    """The worker that runs the task says that it goes on."""
    worker, run = cluster.run_of(id)
    return cluster.worker(worker, wire.Back((wire.Attempt(run.id, run.attempt),)))


def nested(cluster: Cluster, parent: wire.TaskId, *tasks: dict, **more) -> None:
    """The code of a task submits these."""
    cluster.submit("slot", *tasks, parent=parent, **more)


def a_cluster(slots: int = 1, **more) -> Cluster:
    cluster = Cluster({}, ("ann", "slot"))
    cluster.join("a", slots, **more)
    return cluster


def test_who_waits_for_others_makes_room_for_them():
    cluster = a_cluster()
    cluster.submit("ann", task("p"))
    cluster.start("p")
    nested(cluster, "p", task("c"))
    assert given(cluster, "a") == ["p"]
    aside(cluster, "p")
    assert given(cluster, "a") == ["p", "c"]
    cluster.finish("c")
    back(cluster, "p")
    cluster.submit("ann", task("q"))
    assert given(cluster, "a") == ["p"]
    cluster.finish("p")
    assert given(cluster, "a") == ["q"]


def test_who_ends_while_it_is_aside_leaves_nothing():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"), task("r"))
    aside(cluster, "p")
    assert given(cluster, "a") == ["p", "q"]
    cluster.finish("p")
    assert given(cluster, "a") == ["q"]
    ws = cluster.books.workers["a"]
    assert (ws.slots_taken, ws.aside) == (1, {})


def test_a_worker_whose_tasks_have_come_back_has_no_room():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"), task("r"))
    aside(cluster, "p")
    back(cluster, "p")
    assert cluster.books.workers["a"].slots_taken == 2
    cluster.finish("q")
    assert given(cluster, "a") == ["p"]
    cluster.finish("p")
    assert given(cluster, "a") == ["r"]


def test_said_twice_or_of_what_has_ended_it_changes_nothing():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    _, run = cluster.run_of("p")
    attempt = (wire.Attempt("p", run.attempt),)
    back(cluster, "p")
    for _ in range(2):
        cluster.worker("a", wire.Aside(attempt))
    assert given(cluster, "a") == ["p", "q"]
    cluster.finish("p")
    cluster.worker("a", wire.Aside(attempt), wire.Back(attempt))
    assert cluster.books.refused == {"turn of an attempt that has ended": 2}
    assert cluster.books.workers["a"].slots_taken == 1


def test_what_has_not_begun_waits_for_what_was_begun_in_each_depth():
    """One slot, and a hundred tasks that each wait for a child and that for another."""
    cluster = a_cluster()
    cluster.submit("ann", *[task(f"p{i}") for i in range(100)])
    for i in range(100):
        (root,) = given(cluster, "a")
        assert root == f"p{i}"
        ids = [root, f"c{i}", f"d{i}"]
        for parent, child in pairwise(ids):
            nested(cluster, parent, task(child, priority=0.0))
            aside(cluster, parent)
        assert given(cluster, "a") == ids
        for id in reversed(ids):
            cluster.finish(id)


def test_children_come_in_order_before_what_their_parent_came_before():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    nested(cluster, "p", task("c1"), task("c2"))
    nested(cluster, "p", task("d"))
    order = sorted(("p", "q", "c1", "c2", "d"), key=lambda id: cluster.ts(id).priority)
    assert order[-2:] == ["p", "q"]
    assert order.index("c1") < order.index("c2")
    assert cluster.ts("c1").priority == (0.0, 1, -2)


def test_a_graph_within_a_task_keeps_its_own_order():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    nested(
        cluster, "p", task("sum", "x2", "y2"), task("x1"), task("y1"),
        task("x2", "x1"), task("y2", "y1"), graph=True,
    )  # fmt: skip
    order = sorted(
        ("q", "p", "sum", "x1", "y1", "x2", "y2"), key=lambda id: cluster.ts(id).priority
    )
    assert order == ["x1", "x2", "y1", "y2", "sum", "p", "q"]


@pytest.mark.parametrize(("parents", "own", "childs"), [(-5, 0, -5), (5, 0, 5), (-5, 3, 3)])
def test_a_child_is_as_urgent_as_its_parent_unless_it_says_so(parents, own, childs):
    cluster = a_cluster()
    cluster.submit("ann", task("p", priority=float(parents)))
    nested(cluster, "p", task("c", priority=float(own)))
    assert cluster.ts("c").priority[0] == childs


def test_who_names_a_parent_that_is_not_known_comes_last():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    nested(cluster, "nobody", task("c"))
    assert cluster.ts("c").priority > cluster.ts("q").priority


def test_it_keeps_its_resources():
    cluster = a_cluster(2, resources={"gpu": 1})
    gpu = {"gpu": 1.0}
    cluster.submit("ann", task("p", resources=gpu), task("q", resources=gpu))
    aside(cluster, "p")
    assert given(cluster, "a") == ["p"]
    sentence = scheduler.explain(cluster.scheduler, "q", cluster.now)
    assert "too little gpu free (worker a; 0 of 1, 1 by tasks that wait for others" in sentence
    nested(cluster, "p", task("c"))
    assert given(cluster, "a") == ["p", "c"]


def test_no_worker_is_kept_free_for_what_waits_for_a_task_that_waits():
    """One slot, one GPU. `p` has the GPU and waits for `c`; `q` wants the GPU, and is urgent: were
    the slot kept free for `q`, all three would wait for ever."""
    cluster = a_cluster(1, resources={"gpu": 1})
    gpu = {"gpu": 1.0}
    cluster.submit("ann", task("p", resources=gpu))
    cluster.submit("ann", task("q", resources=gpu, priority=-9.0))
    nested(cluster, "p", task("c"))
    aside(cluster, "p")
    assert given(cluster, "a") == ["p", "c"]
    cluster.finish("c")
    back(cluster, "p")
    cluster.finish("p")
    assert given(cluster, "a") == ["q"]


def test_a_worker_that_was_kept_free_is_let_go_when_that_would_be_for_ever():
    """As above, but the worker was kept free before `p` began to wait."""
    cluster = a_cluster(2, resources={"gpu": 1})
    gpu = {"gpu": 1.0}
    cluster.submit("ann", task("p", resources=gpu), task("t"))
    cluster.submit("ann", task("q", resources=gpu, priority=-9.0))
    cluster.finish("t")
    assert cluster.books.queues.held
    nested(cluster, "p", task("wide", slots=2))
    aside(cluster, "p")
    assert not cluster.books.queues.held
    assert given(cluster, "a") == ["p", "wide"]


def test_a_suspect_that_waits_does_not_keep_another_from_its_worker():
    """Both were involved in a death; the first waits for the second, and there is one worker."""
    cluster = a_cluster(2)
    cluster.submit("ann", task("p"))
    cluster.die("p")
    nested(cluster, "p", task("c"))
    cluster.die("c")
    assert given(cluster, "a") == ["p"]
    aside(cluster, "p")
    assert given(cluster, "a") == ["p", "c"]
    back(cluster, "p")
    cluster.finish("c")
    cluster.finish("p")


def test_it_is_not_counted_as_work_that_the_worker_has_to_get_through():
    cluster = a_cluster()
    cluster.submit("ann", task("p"))
    ws = cluster.books.workers["a"]
    assert ws.backlog_s > 0
    aside(cluster, "p")
    assert ws.backlog_s == 0
    room = cluster.books.queues.rooms[ws]
    room.count_long()
    assert room.long_slots == 0
    back(cluster, "p")
    room.count_long()
    assert room.long_slots == 1


def test_a_worker_that_is_back_says_anew_what_is_aside():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"), task("r"))
    aside(cluster, "p")
    cluster.lose_link("worker/a")
    running = attempts(cluster, "a")
    register(cluster, "a", running=running, queued=())
    assert cluster.books.workers["a"].slots_taken == 2
    aside(cluster, "p")
    assert cluster.books.workers["a"].slots_taken == 1
    assert given(cluster, "a") == ["p", "q"]


def test_what_is_left_of_a_bundle_is_aside_as_a_whole():
    cluster = a_cluster()
    for number in (1, 2):
        cluster.submit("ann", task(wire.task_id(1, number), name="warm"))
        cluster.finish(wire.task_id(1, number), duration_s=1e-6)
    first = wire.task_id(1, 10)
    cluster.submit("ann", task(first, name="warm", rows=(b"1", b"2", b"3", b"4")), task("q"))
    worker, run = cluster.run_of(first)
    assert len(run.rows) == 4
    cluster.worker(worker, wire.Finished(first, run.attempt, 1, "int", 0.1, rows=1))
    cluster.worker(worker, wire.Aside((wire.Attempt(first, run.attempt),)))
    ws = cluster.books.workers["a"]
    assert [ts.id for ts in ws.aside] == [first + 1]
    assert "q" in given(cluster, "a")
    # A row that ends now is cut out of what is aside, and what is left of that is aside still.
    cluster.worker(worker, wire.Finished(first + 1, run.attempt, 1, "int", 0.1, rows=1))
    assert [ts.id for ts in ws.aside] == [first + 2]
    cluster.worker(worker, wire.Back((wire.Attempt(first, run.attempt),)))
    assert ws.slots_taken == 2


def test_the_death_of_its_slot_frees_nothing_twice():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    aside(cluster, "p")
    cluster.die("p")
    assert cluster.books.workers["a"].slots_taken == 1
    cluster.finish("q")
    assert given(cluster, "a") == ["p"]


def test_what_runs_and_waits_says_so():
    cluster = a_cluster()
    cluster.submit("ann", task("p"))
    cluster.start("p")
    aside(cluster, "p")
    sentence = scheduler.explain(cluster.scheduler, "p", cluster.now + 2)
    assert "runs on worker a since 2.0 s, and takes no slot there" in sentence


# --- elsewhere, please -------------------------------------------------------------------------


def rescheduled(cluster: Cluster, id: wire.TaskId) -> str:
    """The task raises `Reschedule`; return where it was."""
    worker, _ = cluster.run_of(id)
    cluster.give_back(id, "rescheduled")
    return worker


def test_who_asks_for_it_goes_to_another_worker():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x", retries=1))
    first = rescheduled(cluster, "x")
    second = where(cluster, "x")
    assert {first, second} == {"a", "b"}
    assert cluster.ts("x").retries == 1
    assert cluster.ts("x").suspicious == 0
    assert rescheduled(cluster, "x") == second
    assert where(cluster, "x") == first


def test_it_waits_for_another_worker_that_is_busy():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x", workers=("a", "b")), task("long", workers=("b",)))
    assert where(cluster, "x") == "a"
    rescheduled(cluster, "x")
    assert where(cluster, "x") == ""
    assert "it asked to be moved" in scheduler.explain(cluster.scheduler, "x", cluster.now)
    cluster.finish("long")
    assert where(cluster, "x") == "b"


def test_it_runs_where_it_was_if_there_is_no_other():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x", workers=("a", "b")), task("long", workers=("b",)))
    rescheduled(cluster, "x")
    assert where(cluster, "x") == ""
    cluster.worker("b", wire.Status(0, paused=True))
    assert where(cluster, "x") == "a"
    rescheduled(cluster, "x")
    assert where(cluster, "x") == "a"


def test_it_may_come_back_when_it_has_been_moved():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x", retries=1))
    first = rescheduled(cluster, "x")
    second = where(cluster, "x")
    cluster.submit("ann", task("urgent", priority=-1.0, workers=(second,)))
    cluster.fail("x")
    assert where(cluster, "urgent") == second
    assert where(cluster, "x") == first


def test_who_asks_for_it_does_not_wait_behind_those_that_asked_to_leave_elsewhere():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", task("x"), task("y"))
    cluster.submit("ann", task("z", priority=-1.0))
    at = {where(cluster, "x"): "x", where(cluster, "y"): "y"}
    rescheduled(cluster, at["a"])
    assert where(cluster, "z") == "a"
    cluster.finish("z")
    rescheduled(cluster, at["b"])
    assert (where(cluster, at["a"]), where(cluster, at["b"])) == ("b", "a")


# --- beside the slots --------------------------------------------------------------------------


def test_what_takes_no_slot_is_sent_at_once():
    cluster = Cluster({"a": 1, "b": 1})
    cluster.submit("ann", *[task(f"t{i}") for i in range(10)])
    cluster.submit("ann", task("x", slots=0, workers=("a",), priority=100.0))
    assert where(cluster, "x") == "a"
    cluster.submit("ann", task("y", slots=0))
    assert where(cluster, "y")
    assert cluster.run_of("x")[1].slots == 0
    assert [ws.backlog_s for ws in cluster.books.workers.values()] == [0.5, 0.5]
    cluster.start("x")
    sentence = scheduler.explain(cluster.scheduler, "x", cluster.now)
    assert "runs on worker a, beside its slots" in sentence
    assert [ws.slots_taken for ws in cluster.books.workers.values()] == [1, 1]
    cluster.finish("x")
    assert [ws.slots_taken for ws in cluster.books.workers.values()] == [1, 1]


def test_what_takes_no_slot_respects_resources():
    cluster = Cluster()
    cluster.join("a", 1, resources={"gpu": 1})
    gpu = {"gpu": 1.0}
    cluster.submit("ann", task("p", resources=gpu))
    cluster.submit("ann", task("x", slots=0, resources=gpu))
    assert where(cluster, "x") == ""
    cluster.finish("p")
    assert where(cluster, "x") == "a"
    cluster.submit("ann", task("q", resources=gpu))
    assert where(cluster, "q") == ""
    cluster.finish("x")
    assert where(cluster, "q") == "a"


def test_what_takes_no_slot_goes_to_a_worker_that_is_kept_free():
    cluster = Cluster({"a": 2})
    cluster.submit("ann", task("t"), task("wide", slots=2))
    cluster.submit("ann", task("u"))
    assert given(cluster, "a") == ["t"]
    cluster.submit("ann", task("x", slots=0))
    assert given(cluster, "a") == ["t", "x"]


def test_what_takes_no_slot_goes_to_a_worker_with_more_than_it_has_slots():
    cluster = a_cluster()
    cluster.submit("ann", task("p"), task("q"))
    aside(cluster, "p")
    back(cluster, "p")
    cluster.submit("ann", task("x", slots=0))
    assert given(cluster, "a") == ["p", "q", "x"]


def test_a_suspect_beside_the_slots_waits_for_no_other():
    cluster = Cluster({"a": 1})
    cluster.submit("ann", task("p"))
    cluster.die("p")
    cluster.submit("ann", task("x", slots=0))
    cluster.die("x")
    assert given(cluster, "a") == ["p", "x"]


# --- crowds ------------------------------------------------------------------------------------


def a_crowd(most: int = 2) -> Cluster:
    """One slot, `most` tasks that wait for others, one that runs, and more of them queued."""
    cluster = Cluster({}, ("ann", "slot"), aside=most)
    cluster.join("a", 2)
    cluster.submit("ann", *[task(f"p{i}") for i in range(9)])
    for i in range(2 * most):
        aside(cluster, f"p{i}")
    return cluster


def test_a_crowd_that_waits_grows_no_more_while_anything_runs():
    """A hundred tasks want the same lock: they do not all begin, and wait for it in a process."""
    cluster = a_crowd()
    assert given(cluster, "a") == ["p0", "p1", "p2", "p3", "p4"]
    assert "many tasks that wait for others (worker a; 4)" in scheduler.explain(
        cluster.scheduler, "p5", cluster.now
    )
    cluster.finish("p4")
    assert given(cluster, "a")[4:] == ["p5"]


def test_a_crowd_that_waits_for_something_else_grows():
    """What it waits for may be done by a task that has not begun."""
    cluster = a_crowd()
    for i in range(4, 8):
        aside(cluster, f"p{i}")
    assert given(cluster, "a")[4:] == ["p4", "p5", "p6", "p7", "p8"]


def test_what_a_crowd_waits_for_is_begun_in_all_slots():
    cluster = a_crowd()
    nested(cluster, "p0", task("c0"), task("c1"))
    assert given(cluster, "a")[4:] == ["p4", "c0"]
    cluster.finish("p4")
    assert given(cluster, "a")[4:] == ["c0", "c1"]


def test_a_crowd_that_has_gone_leaves_room():
    cluster = a_crowd()
    cluster.finish("p0")
    assert given(cluster, "a")[3:] == ["p4", "p5"]
    assert not cluster.books.queues.crowded


def test_a_crowd_that_goes_on_leaves_room():
    cluster = a_crowd(1)
    assert given(cluster, "a") == ["p0", "p1", "p2"]
    cluster.finish("p2")
    assert given(cluster, "a") == ["p0", "p1", "p3"]
    back(cluster, "p0")
    cluster.finish("p3")
    assert given(cluster, "a") == ["p0", "p1", "p4"]
