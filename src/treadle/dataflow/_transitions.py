"""The one table of legal transitions of a task in the kernel.

A step that is not in the row of the task's state is a bug or a misuse: `advance` raises
`IllegalTransition`, which prints the task's story. The diagram in `docs/states.md` is drawn from
this table.

The story is an integer: each state the task has been in is one hexadecimal digit (its number plus
one), the newest last. A successful task's story costs 28 bytes, and a step one shift.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from treadle.dataflow.states import States
from treadle.errors import IllegalTransition

if TYPE_CHECKING:
    from treadle.dataflow._node import Node


class Step(StrEnum):
    """What may happen to a task."""

    submit = "the kernel takes the task over"
    launch = "an executor takes an attempt"
    memo_hit = "the memo table has the result"
    succeed = "the attempt, or all that a join waited for, has succeeded"
    join_on = "the body of a join app has returned the tasks to wait for"
    retry = "the attempt has failed and the budget allows another"
    again = "the next attempt begins"
    fail = "the task has failed for good"
    dep_failed = "a dependency has failed"
    cancel = "the task has been cancelled"


TABLE: dict[States, dict[Step, States]] = {
    States.unsched: {Step.submit: States.pending},
    States.pending: {
        Step.launch: States.launched,
        Step.memo_hit: States.memo_done,
        Step.retry: States.fail_retryable,
        Step.fail: States.failed,
        Step.dep_failed: States.dep_fail,
        Step.cancel: States.failed,
    },
    States.launched: {
        Step.succeed: States.exec_done,
        Step.join_on: States.joining,
        Step.retry: States.fail_retryable,
        Step.fail: States.failed,
        Step.dep_failed: States.dep_fail,
        Step.cancel: States.failed,
    },
    States.fail_retryable: {Step.again: States.pending},
    States.joining: {
        Step.succeed: States.exec_done,
        Step.fail: States.failed,
        Step.cancel: States.failed,
    },
    # What only monitoring shows of a task, and the final states: no step leads out.
    States.running: {},
    States.running_ended: {},
    States.exec_done: {},
    States.memo_done: {},
    States.failed: {},
    States.dep_fail: {},
}

#: Digits kept of a story: enough for 64 states, so that endless retries cost no more.
_STORY_BITS = 256
_STORY_MASK = (1 << _STORY_BITS) - 1


def advance(node: Node, step: Step) -> States:
    """Move the task on by one step and return the state it was in.

    Raises:
        IllegalTransition: the table has no such step; the task is unchanged.
    """
    old = node.status
    try:
        new = TABLE[old][step]
    except KeyError:
        raise illegal(node, step.name) from None
    node.status = new
    node.story = (node.story << 4 | new + 1) & _STORY_MASK
    return old


def illegal(node: Node, step: str) -> IllegalTransition:
    """The error for a step that the task's state does not allow."""
    allowed = [s.name for s in TABLE[node.status]]
    return IllegalTransition(node.id, node.status.name, step, allowed, tell(node))


def steps_to(old: States, new: States) -> list[Step]:
    """The steps that lead directly from one state to another, in the order of the table."""
    return [step for step, target in TABLE[old].items() if target is new]


def states_of(node: Node) -> list[States]:
    """The states the task has been in, oldest first (the last 64 of them)."""
    states = []
    rest = node.story
    while rest:
        states.append(States((rest & 15) - 1))
        rest >>= 4
    return states[::-1]


def tell(node: Node) -> str:
    """The task's story in words: its states, attempts and what it waits for."""
    path = " -> ".join(s.name for s in states_of(node)) or node.status.name
    awaited = "inner tasks" if States.joining in (node.status, *states_of(node)) else "dependencies"
    return (
        f"story of task {node.id}: {path}; attempt {node.try_id + 1}, "
        f"{node.fail_count} failed attempts of cost {node.fail_cost:g}, "
        f"{node.waiting_on} {awaited} open, {node.failed_on} failed"
    )
