"""The table of transitions: what stands in it is taken, what does not raises and tells the story."""

from __future__ import annotations

import pytest

from treadle.dataflow._node import Node
from treadle.dataflow._transitions import TABLE, Step, advance, states_of, steps_to, tell
from treadle.dataflow.states import States
from treadle.errors import IllegalTransition

EVERY_STEP = [(state, step) for state in States for step in Step]
LEGAL = [(state, step) for state, step in EVERY_STEP if step in TABLE[state]]
ILLEGAL = [(state, step) for state, step in EVERY_STEP if step not in TABLE[state]]

#: The table once more, by hand: a change of one of them alone is a mistake.
EXPECTED = {
    ("unsched", "submit", "pending"),
    ("pending", "launch", "launched"),
    ("pending", "memo_hit", "memo_done"),
    ("pending", "retry", "fail_retryable"),
    ("pending", "fail", "failed"),
    ("pending", "dep_failed", "dep_fail"),
    ("pending", "cancel", "failed"),
    ("launched", "succeed", "exec_done"),
    ("launched", "join_on", "joining"),
    ("launched", "retry", "fail_retryable"),
    ("launched", "fail", "failed"),
    ("launched", "dep_failed", "dep_fail"),
    ("launched", "cancel", "failed"),
    ("fail_retryable", "again", "pending"),
    ("joining", "succeed", "exec_done"),
    ("joining", "fail", "failed"),
    ("joining", "cancel", "failed"),
}


def task_in(state: States) -> Node:
    node = Node(23)
    node.status = state
    return node


def test_the_table_is_the_one_we_mean():
    assert {
        (s.name, t.name, n.name) for s, row in TABLE.items() for t, n in row.items()
    } == EXPECTED


@pytest.mark.parametrize(("state", "step"), LEGAL)
def test_a_legal_step_moves_the_task_and_tells_where_it_was(state, step):
    node = task_in(state)
    assert advance(node, step) is state
    assert node.status is TABLE[state][step]
    assert states_of(node) == [TABLE[state][step]]


@pytest.mark.parametrize(("state", "step"), ILLEGAL)
def test_an_illegal_step_raises_and_moves_nothing(state, step):
    node = task_in(state)
    with pytest.raises(IllegalTransition) as caught:
        advance(node, step)
    error = caught.value
    assert (error.task_id, error.state, error.step) == (23, state.name, step.name)
    assert error.allowed == tuple(legal.name for legal in TABLE[state])
    assert "story of task 23" in error.story
    assert (node.status, node.story) == (state, 0)


@pytest.mark.parametrize("state", States)
def test_the_steps_between_two_states_are_those_of_the_table(state):
    for target in States:
        expected = [step for step in Step if TABLE[state].get(step) is target]
        assert steps_to(state, target) == expected


def test_a_task_tells_its_story_from_the_first_state_to_the_last():
    node = Node(7)
    for step in (Step.submit, Step.launch, Step.retry, Step.again, Step.launch, Step.join_on):
        advance(node, step)
    names = ["pending", "launched", "fail_retryable", "pending", "launched", "joining"]
    assert [state.name for state in states_of(node)] == names
    node.try_id, node.fail_count, node.fail_cost = 1, 1, 0.5
    node.waiting_on, node.failed_on = 3, 2
    assert tell(node) == (
        f"story of task 7: {' -> '.join(names)}; attempt 2, 1 failed attempts of cost 0.5, "
        "3 inner tasks open, 2 failed"
    )
    advance(node, Step.succeed)
    assert "exec_done" in tell(node)
    assert "3 inner tasks open" in tell(node)


def test_a_task_that_waits_tells_of_its_dependencies():
    node = Node(0)
    assert tell(node).startswith("story of task 0: unsched; attempt 1, 0 failed")
    advance(node, Step.submit)
    node.waiting_on = 4
    assert "4 dependencies open, 0 failed" in tell(node)


def test_the_story_keeps_the_last_64_states_of_an_endless_task():
    node = Node(0)
    advance(node, Step.submit)
    for _ in range(100):
        advance(node, Step.retry)
        advance(node, Step.again)
    assert node.story.bit_length() <= 256
    assert states_of(node) == [States.fail_retryable, States.pending] * 32
    advance(node, Step.cancel)
    assert len(states_of(node)) == 64
    assert states_of(node)[-3:] == [States.fail_retryable, States.pending, States.failed]
