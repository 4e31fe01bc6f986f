"""A lane keeps tasks in order, whoever comes and goes."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.scheduler._groups import TaskGroup, TaskPrefix
from treadle.scheduler._lane import Lane
from treadle.scheduler._task import TaskState
from treadle.wire import Options

GROUP = TaskGroup(("f", 0), TaskPrefix("f"))
OPTIONS = {priority: Options(priority) for priority in (-1.0, 0.0, 2.5)}


def make(rank: int, priority: float = 0.0) -> TaskState:
    return TaskState(f"t{rank}", b"", GROUP, OPTIONS[priority], rank)


def empty(lane: Lane) -> list[TaskState]:
    """Take all tasks out, in order."""
    taken = []
    while (ts := lane.peek()) is not None:
        lane.pop()
        taken.append(ts)
    assert lane.n == 0
    return taken


def filled(*tasks: TaskState) -> Lane:
    lane = Lane()
    for ts in tasks:
        lane.push(ts)
    return lane


def test_an_empty_lane_has_no_head():
    assert Lane().peek() is None


def test_a_lower_rank_leaves_first_however_they_came():
    tasks = [make(rank) for rank in (5, 3, 9, 1, 7, 2)]
    assert [ts.rank for ts in empty(filled(*tasks))] == [1, 2, 3, 5, 7, 9]


def test_a_lower_priority_leaves_first_whatever_the_ranks():
    late, early, first = make(1, 2.5), make(8, 0.0), make(9, -1.0)
    assert empty(filled(late, early, first)) == [first, early, late]


def test_equal_tasks_leave_as_they_came():
    first, second, third = make(4), make(4), make(4)
    assert empty(filled(make(9), first, second, third))[:3] == [first, second, third]


def test_who_is_withdrawn_is_not_the_head():
    first, second = make(1), make(2)
    lane = filled(first, second)
    lane.withdraw(first)
    assert lane.n == 1
    assert lane.peek() is second


def test_who_is_withdrawn_and_comes_again_leaves_once():
    one, other = make(1), make(2)
    lane = filled(one, other)
    lane.withdraw(one)
    lane.push(one)
    lane.withdraw(one)
    lane.push(one)
    assert lane.n == 2
    assert empty(lane) == [one, other]


def test_who_comes_again_stands_behind_its_equals():
    one, other, last = make(1), make(1), make(2)
    lane = filled(one, other, last)
    lane.withdraw(one)
    lane.push(one)
    assert empty(lane) == [other, one, last]


def test_dead_entries_never_outnumber_the_living():
    tasks = [make(rank) for rank in range(1000)]
    random.Random(1).shuffle(tasks)
    lane = filled(*tasks)
    for ts in tasks[:990]:
        lane.withdraw(ts)
        entries = len(lane._run) + len(lane._heap)
        assert entries <= 2 * lane.n + 1
    for ts in tasks[990:]:
        lane.withdraw(ts)
    assert not lane._run
    assert not lane._heap
    assert not lane._dead


def test_what_comes_in_order_touches_no_heap():
    lane = filled(*[make(rank) for rank in range(100)])
    assert not lane._heap


def test_all_are_listed_without_the_dead():
    tasks = [make(rank) for rank in (5, 1, 3, 2)]
    lane = filled(*tasks)
    lane.withdraw(tasks[1])
    assert sorted(ts.rank for ts in lane.each()) == [2, 3, 5]
    assert [ts.rank for ts in empty(lane)] == [2, 3, 5]


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(0, 6), st.sampled_from([-1.0, 0.0, 2.5])),
        st.tuples(st.just("pop"), st.just(0), st.just(0.0)),
        st.tuples(st.just("withdraw"), st.integers(0, 30), st.just(0.0)),
        st.tuples(st.just("return"), st.integers(0, 30), st.just(0.0)),
    ),
    max_size=60,
)


@given(STEPS)
def test_it_is_a_stable_priority_queue(steps: list[tuple[str, int, float]]):
    lane = Lane()
    model: list[Any] = []
    for what, number, priority in steps:
        if what == "push":
            ts = make(number, priority)
            lane.push(ts)
            model.append(ts)
        elif what == "pop":
            best = min(model, key=lambda ts: (ts.options.priority, ts.rank), default=None)
            assert lane.peek() is best
            if best is not None:
                lane.pop()
                model.remove(best)
        elif model:
            ts = model.pop(number % len(model))
            lane.withdraw(ts)
            if what == "return":
                lane.push(ts)
                model.append(ts)
        assert lane.n == len(model)
    model.sort(key=lambda ts: (ts.options.priority, ts.rank))
    assert empty(lane) == model


@pytest.mark.parametrize("order", ["rising", "falling"])
def test_it_holds_one_entry_for_each_task(order: str):
    ranks = range(50) if order == "rising" else range(50, 0, -1)
    lane = filled(*[make(rank) for rank in ranks])
    assert len(lane._run) + len(lane._heap) == lane.n == 50
