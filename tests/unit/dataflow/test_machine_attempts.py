"""Attempts: how they end, who judges them, and how many there are."""

from __future__ import annotations

import math

import pytest

from tests.unit.dataflow.harness import FAILED, OK, Bench, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Phase
from treadle.dataflow._retry import charge
from treadle.dataflow._transitions import states_of
from treadle.dataflow.states import States

INF, NAN = math.inf, math.nan


def test_an_outcome_may_overtake_the_word_that_the_attempt_was_taken():
    bench = Bench()
    node = bench.submit()
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]
    assert states_of(node) == [States.pending, States.launched, States.exec_done]
    assert bench.feed(ev.Launched(node, 0)) == []


@pytest.mark.parametrize(
    ("how", "verdict", "state"),
    [
        (ev.Ended.failed, ev.Verdict.error, States.failed),
        (ev.Ended.hopeless, ev.Verdict.error, States.failed),
        (ev.Ended.dependency, ev.Verdict.dependency, States.dep_fail),
        (ev.Ended.cancelled, ev.Verdict.cancelled, States.failed),
    ],
)
@pytest.mark.parametrize("running", [True, False])
def test_an_attempt_that_fails_without_budget_ends_the_task(running, how, verdict, state):
    bench = Bench()
    node = bench.run() if running else bench.submit()
    assert bench.end(node, how) == settled([node], verdict)
    assert node.status is state
    assert node.fail_count == (how is not ev.Ended.cancelled)


@pytest.mark.parametrize("retries", [0, 1, 3, 2.5])
def test_a_task_has_one_attempt_more_than_it_has_retries(retries):
    bench = Bench(retries=retries)
    node = bench.submit()
    for attempt in range(1, int(retries) + 1):
        bench.feed(ev.Launched(node, node.try_id))
        assert bench.end(node, FAILED) == [ev.Launch(node, attempt)]
        assert node.status is States.pending
    assert bench.end(node, FAILED) == settled([node], ev.Verdict.error)
    assert (node.fail_count, node.fail_cost) == (retries // 1 + 1, retries // 1 + 1)


def test_a_retry_is_told_in_the_story():
    bench = Bench(retries=1)
    node = bench.run()
    bench.end(node, FAILED)
    bench.feed(ev.Launched(node, 1))
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]
    assert [state.name for state in states_of(node)] == [
        "pending",
        "launched",
        "fail_retryable",
        "pending",
        "launched",
        "exec_done",
    ]
    counts = {state: n for state, n in bench.machine.counts.items() if n}
    assert counts == {States.exec_done: 1}


def test_what_cannot_be_launched_is_tried_again_too():
    bench = Bench(retries=1)
    node = bench.submit()
    assert bench.end(node, FAILED) == [ev.Launch(node, 1)]
    assert bench.end(node, FAILED) == settled([node], ev.Verdict.error)
    assert States.launched not in states_of(node)


@pytest.mark.parametrize("how", [ev.Ended.hopeless, ev.Ended.dependency, ev.Ended.cancelled])
def test_some_failures_are_not_tried_again_whatever_the_budget(how):
    bench = Bench(retries=INF)
    node = bench.run()
    assert [type(command) for command in bench.end(node, how)] == [ev.Settle]


# --- the retry handler ----------------------------------------------------------------------------


@pytest.mark.parametrize("how", [ev.Ended.failed, ev.Ended.hopeless, ev.Ended.dependency])
def test_the_handler_sees_every_failure(how):
    bench = Bench(judged=True)
    node = bench.run()
    assert bench.end(node, how) == [ev.Judge(node, 0)]
    assert (node.phase, node.status) == (Phase.judging, States.launched)


def test_the_handler_does_not_see_a_cancelled_attempt():
    bench = Bench(judged=True)
    node = bench.run()
    assert bench.end(node, ev.Ended.cancelled) == settled([node], ev.Verdict.cancelled)


@pytest.mark.parametrize(
    ("how", "verdict"),
    [
        (ev.Ended.hopeless, ev.Verdict.error),
        (ev.Ended.dependency, ev.Verdict.dependency),
    ],
)
def test_the_handler_cannot_have_a_hopeless_failure_tried_again(how, verdict):
    bench = Bench(retries=5, judged=True)
    node = bench.run()
    bench.end(node, how)
    assert bench.feed(ev.Judged(node, 0, 0)) == settled([node], verdict)
    assert node.fail_count == 1


@pytest.mark.parametrize("how", [ev.Ended.failed, ev.Ended.hopeless, ev.Ended.dependency])
def test_a_handler_that_raises_ends_the_task_with_its_error(how):
    bench = Bench(retries=5, judged=True)
    node = bench.run()
    bench.end(node, how)
    commands = bench.feed(ev.Judged(node, 0, 0, hopeless=True))
    assert commands == settled([node], ev.Verdict.error)


def test_a_failure_to_launch_is_judged_before_the_task_was_ever_launched():
    bench = Bench(retries=1, judged=True)
    node = bench.submit()
    assert bench.end(node, FAILED) == [ev.Judge(node, 0)]
    assert (node.phase, node.status) == (Phase.judging, States.pending)
    assert bench.feed(ev.Launched(node, 0)) == []
    assert bench.feed(ev.Judged(node, 0, 1)) == [ev.Launch(node, 1)]


@pytest.mark.parametrize(
    ("retries", "costs"),
    [
        (2, [1, 1, 1]),
        (2, [0.5, 0.5, 0.5, 0.5, 0.5]),
        (0, [0, 0, 0, 1]),
        (1, [0.25, 2]),
        (1, [INF]),
        (INF, [1e308, INF]),
        (INF, [NAN]),
        (3, [NAN]),
        (3, [1, NAN]),
        (0, [-1, 1, 0.5]),
        (INF, [0.5, 10**400]),
        (3, [-(10**400)]),
        (3, [0.5, -INF, INF]),
    ],
)
def test_a_task_is_tried_again_while_its_costs_are_within_the_budget(retries, costs):
    bench = Bench(retries=retries, judged=True)
    node = bench.submit()
    for attempt, cost in enumerate(costs):
        assert bench.end(node, FAILED) == [ev.Judge(node, attempt)]
        commands = bench.feed(ev.Judged(node, attempt, cost))
        if attempt < len(costs) - 1:
            assert commands == [ev.Launch(node, attempt + 1)]
    assert commands == settled([node], ev.Verdict.error)
    assert node.fail_count == len(costs)


def test_costs_add_up():
    assert charge(1, 2, 3) == (3, True)
    assert charge(1, 2.5, 3) == (3.5, False)
    assert charge(0.0, 0, 0) == (0, True)
    assert charge(2, -3, 0) == (-1, True)
    assert charge(0, 10**400, INF) == (INF, False)
    assert charge(0, INF, INF) == (INF, False)
    total, allowed = charge(0, NAN, INF)
    assert math.isnan(total)
    assert not allowed


def test_a_failure_that_cost_nothing_is_counted_all_the_same():
    bench = Bench(judged=True)
    node = bench.submit()
    for attempt in range(100):
        bench.end(node, FAILED)
        assert bench.feed(ev.Judged(node, attempt, 0)) == [ev.Launch(node, attempt + 1)]
    assert (node.fail_count, node.fail_cost) == (100, 0)


def test_a_retry_launches_at_once_and_is_not_looked_up_again():
    bench = Bench(retries=1)
    node = bench.run(memoize=True)
    assert bench.end(node, FAILED) == [ev.Launch(node, 1)]


def test_a_failed_memoized_task_is_recorded_once_it_has_failed_for_good():
    bench = Bench(retries=1)
    node = bench.run(memoize=True)
    bench.end(node, FAILED)
    assert bench.end(node, FAILED) == [ev.Record(node, ok=False)]
    assert bench.feed(ev.Recorded(node)) == settled([node], ev.Verdict.error)


def test_an_app_that_raised_a_dependency_error_is_recorded_and_ends_so():
    bench = Bench()
    node = bench.run(memoize=True)
    assert bench.end(node, ev.Ended.dependency) == [ev.Record(node, ok=False)]
    assert bench.feed(ev.Recorded(node)) == settled([node], ev.Verdict.dependency)
    assert node.status is States.dep_fail


def test_a_result_is_recorded_before_it_is_there_to_see():
    bench = Bench()
    node = bench.run(memoize=True)
    child = bench.submit(node)
    assert bench.end(node, OK) == [ev.Record(node, ok=True)]
    assert bench.feed(ev.Recorded(node)) == [
        ev.Settle(node, ev.Verdict.result),
        ev.Launch(child, 0),
    ]
