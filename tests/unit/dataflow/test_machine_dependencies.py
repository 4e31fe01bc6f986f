"""Whom a task waits for, and what their ends do to it."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.dataflow.harness import FAILED, OK, Bench, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Phase
from treadle.dataflow.states import States


def test_a_task_without_dependencies_is_launched_at_once():
    bench = Bench()
    node = bench.node()
    assert bench.feed(ev.Submitted(node)) == [ev.Launch(node, 0)]
    assert bench.feed(ev.Launched(node, 0)) == []
    assert node.status is States.launched
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]
    assert node.status is States.exec_done
    assert bench.machine.open == {}


def test_a_call_that_cannot_be_run_fails_at_once():
    bench = Bench(retries=3, judged=True)
    node = bench.node(memoize=True)
    assert bench.feed(ev.Submitted(node, broken=True)) == settled([node], ev.Verdict.error)
    assert node.status is States.failed


def test_a_child_waits_for_its_parent():
    bench = Bench()
    parent = bench.run()
    child = bench.node()
    assert bench.feed(ev.Submitted(child, [parent])) == []
    assert bench.end(parent) == [ev.Settle(parent, ev.Verdict.result), ev.Launch(child, 0)]
    assert bench.end(child) == [ev.Settle(child, ev.Verdict.result)]


def test_a_child_of_a_parent_that_has_ended_is_launched_at_once():
    bench = Bench()
    parent = bench.run()
    bench.end(parent)
    child = bench.node()
    assert bench.feed(ev.Submitted(child, [parent])) == [ev.Launch(child, 0)]
    assert parent.dependents is None


@pytest.mark.parametrize("how", [FAILED, ev.Ended.dependency, ev.Ended.cancelled])
def test_a_child_of_a_parent_that_has_failed_is_never_launched(how):
    bench = Bench()
    parent = bench.run()
    bench.end(parent, how)
    child = bench.node(memoize=True)
    commands = bench.feed(ev.Submitted(child, [parent]))
    assert commands == settled([child], ev.Verdict.dependency)
    assert child.status is States.dep_fail


@pytest.mark.parametrize("failing", range(3))
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_a_failed_dependency_is_known_when_all_have_ended(order, failing):
    bench = Bench()
    parents = [bench.run() for _ in range(3)]
    child = bench.submit(*parents)
    for number in order[:-1]:
        commands = bench.end(parents[number], FAILED if number == failing else OK)
        assert [command.node for command in commands] == [parents[number]]
    last = parents[order[-1]]
    commands = bench.end(last, FAILED if order[-1] == failing else OK)
    assert commands[1:] == settled([child], ev.Verdict.dependency)
    assert child.status is States.dep_fail


def test_dependents_are_launched_in_the_order_in_which_they_came():
    bench = Bench()
    parent = bench.run()
    children = [bench.submit(parent) for _ in range(4)]
    assert bench.end(parent)[1:] == [ev.Launch(child, 0) for child in children]


def test_a_parent_named_twice_is_waited_for_once():
    bench = Bench()
    parent = bench.run()
    child = bench.submit(parent, parent)
    assert bench.end(parent) == [ev.Settle(parent, ev.Verdict.result), ev.Launch(child, 0)]


def test_a_diamond_runs_its_end_once():
    bench = Bench()
    top = bench.run()
    left, right = bench.submit(top), bench.submit(top)
    bottom = bench.submit(left, right)
    bench.end(top)
    assert bench.end(left) == settled([left], ev.Verdict.result)
    assert bench.end(right) == [ev.Settle(right, ev.Verdict.result), ev.Launch(bottom, 0)]


def test_a_failure_runs_down_a_diamond_and_settles_each_once_parents_first():
    bench = Bench()
    top = bench.run()
    left, right = bench.submit(top), bench.submit(top)
    bottom = bench.submit(left, right)
    commands = bench.end(top, FAILED)
    assert commands == [
        ev.Settle(top, ev.Verdict.error),
        *settled([left, right, bottom], ev.Verdict.dependency),
    ]


def test_all_that_ends_is_settled_before_anything_starts():
    bench = Bench()
    good = bench.run()
    launched = [bench.submit(good), bench.submit(good)]
    bad = bench.run()
    bench.end(bad, FAILED)
    failing = bench.node()
    bench.feed(ev.Submitted(failing, [bad, good]))
    after = bench.submit(failing)
    assert bench.end(good) == [
        ev.Settle(good, ev.Verdict.result),
        *settled([failing, after], ev.Verdict.dependency),
        *[ev.Launch(node, 0) for node in launched],
    ]


def test_futures_of_others_are_counted():
    bench = Bench()
    node = bench.node()
    assert bench.feed(ev.Submitted(node, others=2)) == []
    assert bench.feed(ev.DependencyEnded(node, ok=True)) == []
    assert bench.feed(ev.DependencyEnded(node, ok=True)) == [ev.Launch(node, 0)]


@pytest.mark.parametrize("first_ok", [True, False])
def test_a_failed_future_of_others_fails_the_task_when_all_have_ended(first_ok):
    bench = Bench()
    node = bench.submit(others=2)
    assert bench.feed(ev.DependencyEnded(node, ok=first_ok)) == []
    commands = bench.feed(ev.DependencyEnded(node, ok=not first_ok))
    assert commands == settled([node], ev.Verdict.dependency)


def test_a_future_of_others_that_has_failed_before_fails_the_task_when_all_have_ended():
    bench = Bench()
    node = bench.node()
    assert bench.feed(ev.Submitted(node, others=1, others_failed=1)) == []
    commands = bench.feed(ev.DependencyEnded(node, ok=True))
    assert commands == settled([node], ev.Verdict.dependency)


def test_a_future_of_others_that_has_failed_before_fails_a_task_that_waits_for_no_more():
    bench = Bench()
    node = bench.node()
    commands = bench.feed(ev.Submitted(node, others_failed=1))
    assert commands == settled([node], ev.Verdict.dependency)


@pytest.mark.parametrize("foreign_first", [True, False])
def test_tasks_and_futures_of_others_are_waited_for_together(foreign_first):
    bench = Bench()
    parent = bench.run()
    node = bench.submit(parent, others=1)
    events = [
        ev.DependencyEnded(node, ok=True),
        ev.AttemptEnded(parent, 0, OK),
    ]
    if not foreign_first:
        events.reverse()
    assert ev.Launch(node, 0) not in bench.feed(events[0])
    assert bench.feed(events[1])[-1] == ev.Launch(node, 0)


def test_a_memoized_task_is_prepared_when_its_dependencies_have_ended():
    bench = Bench()
    parent = bench.run()
    node = bench.submit(parent, memoize=True)
    assert bench.end(parent) == [ev.Settle(parent, ev.Verdict.result), ev.Prepare(node)]


def test_a_dependent_that_was_cancelled_is_not_touched_by_the_end_of_its_dependency():
    bench = Bench()
    parent = bench.run()
    cancelled, other = bench.submit(parent), bench.submit(parent)
    assert bench.feed(ev.CancelAsked(cancelled)) == settled([cancelled], ev.Verdict.cancelled)
    assert bench.end(parent) == [ev.Settle(parent, ev.Verdict.result), ev.Launch(other, 0)]
    assert (cancelled.waiting_on, cancelled.phase) == (1, Phase.ended)


def test_a_task_that_has_ended_lets_go_of_its_dependents():
    bench = Bench()
    parent = bench.run()
    children = [bench.submit(parent) for _ in range(3)]
    assert parent.dependents == children
    bench.end(parent)
    assert parent.dependents is None
