"""When a result that is elsewhere may go: with its last future and its last unfinished dependent."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import weakref

import pytest

from tests.acceptance.executors_under_test import until
from treadle import join_app, python_app
from treadle.errors import DependencyError


@python_app
def add(x, y=0):
    return x + y


@python_app
def fail():
    raise ValueError("no luck")


@python_app
def gather(*parts):
    return len(parts)


def turn(cluster):
    """Let the engine go round, so that what is to be told is told."""
    for _ in range(3):
        done = threading.Event()
        cluster.kernel._engine.call_soon(done.set)
        assert done.wait(10)


def nudge(cluster):
    """Something happens on the engine: what nobody holds is looked for."""
    references = cluster.kernel._shell.routes["fake"].references
    cluster.kernel._engine.call_soon(references.flush)
    turn(cluster)


def test_dropping_the_last_future_releases_the_result(load):
    cluster = load()
    future = add(1)
    other = future
    assert future.result() == 1
    nudge(cluster)
    assert cluster.sink.released == []
    del future
    nudge(cluster)
    assert cluster.sink.released == []
    del other
    nudge(cluster)
    assert cluster.sink.released == [0]


def test_it_is_noticed_though_nothing_else_happens(load):
    cluster = load()
    future = add(1)
    assert future.result() == 1
    del future
    until(lambda: cluster.sink.released == [0])


def test_dropping_a_future_says_nothing_to_anybody(load):
    cluster = load()
    future = add(1)
    concurrent.futures.wait([future])
    turn(cluster)
    references = cluster.kernel._shell.routes["fake"].references
    held = threading.Event()
    go_on = threading.Event()
    cluster.kernel._engine.call_soon(lambda: (held.set(), go_on.wait(10)))
    assert held.wait(10)
    del future  # while the engine is busy
    assert list(references._gone) == [0]
    go_on.set()


def test_an_unfinished_dependent_keeps_the_result(load):
    cluster = load(threads=0)
    first = add(1)
    second = add(first, 1)
    third = add(second, 1)
    turn(cluster)
    cluster.sink.run(1)
    turn(cluster)
    del first
    nudge(cluster)
    assert cluster.sink.released == []
    cluster.sink.run(1)
    turn(cluster)
    nudge(cluster)
    assert cluster.sink.released == [0]
    del second
    cluster.sink.run()
    assert third.result() == 3
    nudge(cluster)
    assert cluster.sink.released == [0, 1]


def test_a_result_nobody_waits_for_is_released_when_it_is_there(load):
    cluster = load(threads=0)
    add(1)
    turn(cluster)
    cluster.sink.run()
    turn(cluster)
    nudge(cluster)
    assert cluster.sink.released == [0]


def test_a_join_keeps_what_it_has_passed_on(load):
    cluster = load()
    joined = join_app(lambda: add(1))()
    several = join_app(lambda: [add(2), add(3)])()
    concurrent.futures.wait([joined, several])
    turn(cluster)
    nudge(cluster)
    assert cluster.sink.released == []
    assert (joined.result(), several.result()) == (1, [2, 3])
    del joined, several
    nudge(cluster)
    assert sorted(cluster.sink.released) == sorted(cluster.sink.admitted)


def test_failures_are_released_when_they_are_told_and_what_is_cancelled_is_not(load):
    cluster = load(threads=0)
    bad, never = fail(), add(1)
    child = add(bad)
    turn(cluster)
    never.cancel()
    cluster.sink.run()
    assert isinstance(child.exception(), DependencyError)
    turn(cluster)
    assert cluster.sink.cancelled[0] == never.tid
    assert bad.tid in cluster.sink.released
    assert {bad.tid, child.tid} == {*cluster.sink.released, *cluster.sink.cancelled[1:]}


def test_without_garbage_collection_nothing_is_released_before_the_end(load):
    cluster = load(config={"garbage_collect": False})
    future = add(1)
    assert future.result() == 1
    record = future.task_record
    del future
    gc.collect()
    nudge(cluster)
    assert cluster.sink.released == []
    assert record.app_fu.result() == 1
    assert record.args == (1,)


def test_with_garbage_collection_a_record_holds_nothing(load):
    cluster = load(copies=False)

    class Big:
        pass

    argument = Big()
    seen = weakref.ref(argument)
    future = python_app(lambda _: Big())(argument)
    record = future.task_record
    result = weakref.ref(future.result())
    del argument
    until(lambda: (gc.collect(), seen() is None)[1])
    assert cluster.kernel.tasks == {}
    assert (record.args, record.depends, record.stage) == ((), (), None)
    del future
    nudge(cluster)
    until(lambda: (gc.collect(), result() is None)[1])
    assert record.app_fu is None


def test_a_future_in_a_circle_is_released_by_garbage_collection(load):
    cluster = load()
    future = add(1)
    assert future.result() == 1
    circle = [future]
    circle.append(circle)
    del future, circle
    gc.collect()
    nudge(cluster)
    assert cluster.sink.released == [0]


def test_what_is_dropped_after_the_end_harms_nobody(load):
    cluster = load()
    futures = [add(i) for i in range(5)]
    cluster.kernel.cleanup()
    assert [f.result() for f in futures] == list(range(5))
    del futures
    gc.collect()


@pytest.mark.parametrize("copies", [True, False])
def test_random_graphs_come_out_right_and_leave_nothing(load, rng, copies):
    """Graphs are built while they run, futures dropped, tasks cancelled; all is released."""
    cluster = load(threads=3, copies=copies, is_far=rng.random() < 0.5, config={"retries": 99})
    known: list[tuple[object, int | None]] = []  # a future, and its value (None: it may fail)
    for _ in range(300):
        deed = rng.choice(["call"] * 8 + ["fail", "join", "drop", "drop", "cancel", "result"])
        parents = rng.sample(known, min(len(known), rng.choice([0, 1, 1, 2])))
        total = 0
        for _future, value in parents:
            total = None if total is None or value is None else total + value
        if deed == "call":
            args = [f for f, _ in parents] or [1]
            known.append((sum_up(*args), total if parents else 1))
        elif deed == "fail":
            cluster.sink.flaws.setdefault("sum_up", []).append(KeyError("flaky"))
            known.append((add(fail()), None))
        elif deed == "join" and parents:
            known.append((pass_on(parents[0][0]), parents[0][1]))
        elif deed == "drop" and known:
            known.pop(rng.randrange(len(known)))
        elif deed == "cancel" and known and rng.random() < 0.3:
            place = rng.randrange(len(known))
            known[place][0].cancel()
            # What came after it, or has ended, is no concern of this.
            known = [(f, None) for f, _ in known]
        elif deed == "result" and known:
            future, value = known[-1]
            if value is not None:
                assert future.result() == value
    for future, value in known:
        error = None
        try:
            error = future.exception()
        except concurrent.futures.CancelledError as cancelled:
            error = cancelled
        assert value is None or (error is None and future.result() == value)
    known = parents = args = future = _future = error = None
    cluster.kernel.wait_for_current_tasks()
    gc.collect()
    nudge(cluster)
    sink = cluster.sink
    until(lambda: (nudge(cluster), {*sink.released, *sink.cancelled} == {*sink.admitted})[1])
    assert cluster.kernel.tasks == {}


@python_app
def sum_up(*parts):
    return sum(parts)


@join_app
def pass_on(value):
    return sum_up(value)
