"""Join apps: the result is that of the futures which the body returns."""

from __future__ import annotations

import pytest

from tests.unit.dataflow.harness import FAILED, Bench, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Node, Phase
from treadle.dataflow._transitions import states_of
from treadle.dataflow.states import States


def joining(bench: Bench, inner: int, **options: bool) -> Node:
    node = bench.run(join=True, **options)
    assert bench.end(node) == [ev.Watch(node)]
    assert bench.feed(ev.Joined(node, inner)) == []
    assert (node.status, node.phase) == (States.joining, Phase.joining)
    return node


def test_a_join_of_one_ends_with_it():
    bench = Bench()
    node = joining(bench, 1)
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [ev.Settle(node, ev.Verdict.result)]
    names = [state.name for state in states_of(node)]
    assert names == ["pending", "launched", "joining", "exec_done"]


def test_a_join_of_many_ends_with_the_last():
    bench = Bench()
    node = joining(bench, 3)
    assert bench.feed(ev.InnerEnded(node, ok=True)) == []
    assert bench.feed(ev.InnerEnded(node, ok=True)) == []
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [ev.Settle(node, ev.Verdict.result)]


def test_a_join_of_nothing_ends_at_once():
    bench = Bench()
    node = bench.run(join=True)
    bench.end(node)
    assert bench.feed(ev.Joined(node, 0)) == [ev.Settle(node, ev.Verdict.result)]


@pytest.mark.parametrize("failing", range(3))
def test_a_join_fails_when_all_have_ended_and_one_has_failed(failing):
    bench = Bench(retries=3)
    node = joining(bench, 3)
    for number in range(2):
        assert bench.feed(ev.InnerEnded(node, ok=number != failing)) == []
    commands = bench.feed(ev.InnerEnded(node, ok=failing != 2))
    assert commands == settled([node], ev.Verdict.inner)
    assert node.status is States.failed


def test_a_join_of_what_has_failed_already_fails():
    bench = Bench()
    node = bench.run(join=True)
    bench.end(node)
    assert bench.feed(ev.Joined(node, 0, failed=1)) == settled([node], ev.Verdict.inner)


def test_the_body_of_a_join_is_tried_again_and_its_inner_tasks_are_not():
    bench = Bench(retries=1)
    node = bench.run(join=True)
    assert bench.end(node, FAILED) == [ev.Launch(node, 1)]
    bench.feed(ev.Launched(node, 1))
    assert bench.end(node) == [ev.Watch(node)]
    bench.feed(ev.Joined(node, 1))
    assert bench.feed(ev.InnerEnded(node, ok=False)) == settled([node], ev.Verdict.inner)
    assert node.fail_count == 1


def test_a_body_may_end_before_the_word_that_it_was_taken():
    bench = Bench()
    node = bench.submit(join=True)
    assert bench.end(node) == [ev.Watch(node)]
    assert bench.feed(ev.Joined(node, 0)) == [ev.Settle(node, ev.Verdict.result)]


def test_a_body_that_returns_what_cannot_be_joined_is_not_tried_again():
    bench = Bench(retries=3)
    node = bench.run(join=True)
    assert bench.end(node, ev.Ended.hopeless) == settled([node], ev.Verdict.error)


def test_the_dependencies_of_a_join_that_failed_are_not_counted_among_its_inner_tasks():
    bench = Bench()
    parent = bench.run()
    bench.end(parent)
    node = joining(bench, 1)
    assert bench.feed(ev.DependencyEnded(node, ok=False)) == []
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [ev.Settle(node, ev.Verdict.result)]


def test_a_memoized_join_is_recorded_when_its_inner_tasks_have_ended():
    bench = Bench()
    node = joining(bench, 1, memoize=True)
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [ev.Record(node, ok=True)]
    assert (node.status, node.phase) == (States.joining, Phase.recording)
    assert bench.feed(ev.Recorded(node)) == [ev.Settle(node, ev.Verdict.result)]


def test_a_memoized_join_whose_inner_task_failed_is_recorded_as_failed():
    bench = Bench()
    node = joining(bench, 1, memoize=True)
    assert bench.feed(ev.InnerEnded(node, ok=False)) == [ev.Record(node, ok=False)]
    assert bench.feed(ev.Recorded(node)) == settled([node], ev.Verdict.inner)


def test_a_join_that_is_cancelled_hears_no_more_of_its_inner_tasks():
    bench = Bench()
    node = joining(bench, 2)
    child = bench.submit(node)
    assert bench.feed(ev.CancelAsked(node)) == [
        ev.Settle(node, ev.Verdict.cancelled),
        ev.Settle(child, ev.Verdict.dependency),
    ]
    assert bench.feed(ev.InnerEnded(node, ok=True)) == []
    assert bench.feed(ev.InnerEnded(node, ok=True)) == []


def test_a_join_that_is_cancelled_before_its_inner_tasks_are_watched_stays_so():
    bench = Bench()
    node = bench.run(join=True)
    bench.end(node)
    assert bench.feed(ev.CancelAsked(node)) == settled([node], ev.Verdict.cancelled)
    assert bench.feed(ev.Joined(node, 2)) == []


def test_what_depends_on_a_join_waits_for_its_inner_tasks():
    bench = Bench()
    node = joining(bench, 1)
    child = bench.submit(node)
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [
        ev.Settle(node, ev.Verdict.result),
        ev.Launch(child, 0),
    ]
