"""Long chains, wide fans: no recursion, and work that grows with the number of tasks and no more."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from treadle.dataflow import _events as ev
from treadle.dataflow._invariants import check
from treadle.dataflow._machine import Commands, Machine
from treadle.dataflow._node import Node
from treadle.dataflow.states import States


def launched(machine: Machine, number: int, **options: bool) -> Node:
    node = Node(number, **options)
    machine.handle(ev.Submitted(node))
    machine.handle(ev.Launched(node, 0))
    return node


def failing_chain(length: int) -> tuple[Machine, Commands]:
    machine = Machine()
    first = last = launched(machine, 0)
    for number in range(1, length):
        node = Node(number)
        machine.handle(ev.Submitted(node, [last]))
        last = node
    return machine, machine.handle(ev.AttemptEnded(first, 0, ev.Ended.failed))


def fan_in(width: int) -> tuple[Machine, Commands]:
    machine = Machine()
    parents = [launched(machine, number) for number in range(width)]
    child = Node(width)
    commands = machine.handle(ev.Submitted(child, parents))
    assert child.waiting_on == width
    for parent in parents:
        assert commands == [] or type(commands[0]) is ev.Settle
        commands = machine.handle(ev.AttemptEnded(parent, 0, ev.Ended.succeeded))
    return machine, commands


def failing_fan_out(width: int) -> tuple[Machine, Commands]:
    machine = Machine()
    first = launched(machine, 0)
    for number in range(1, width + 1):
        machine.handle(ev.Submitted(Node(number), [first]))
    return machine, machine.handle(ev.AttemptEnded(first, 0, ev.Ended.failed))


def failing_twins(count: int) -> tuple[Machine, Commands]:
    """Each twin inherits in its turn and fails, and half of them have been cancelled before."""
    machine = Machine()
    twins = [Node(number, memoize=True) for number in range(count)]
    for node in twins:
        machine.handle(ev.Submitted(node))
        machine.handle(ev.Prepared(node, "key"))
    for node in twins[1::2]:
        machine.handle(ev.CancelAsked(node))
    commands: Commands = []
    for node in twins[::2]:
        commands = machine.handle(ev.LookedUp(node, hit=True, ok=False))
    return machine, commands


def steps_of(work: Callable[[], object]) -> int:
    """How many calls of Python functions a piece of work makes."""
    calls = 0

    def count(frame: object, event: str, arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        work()
    finally:
        sys.setprofile(before)
    return calls


def test_a_chain_of_ten_thousand_fails_from_its_first_to_its_last():
    machine, commands = failing_chain(10_000)
    assert [command.node.id for command in commands] == list(range(10_000))
    assert machine.counts[States.dep_fail] == 9_999
    assert machine.open == {}


def test_a_fan_in_of_five_thousand_is_launched_by_the_last():
    machine, commands = fan_in(5_000)
    child = machine.open[5_000]
    assert commands[1:] == [ev.Launch(child, 0)]
    check(machine)


def test_a_fan_out_of_five_thousand_fails_in_order():
    machine, commands = failing_fan_out(5_000)
    assert [command.node.id for command in commands] == list(range(5_001))
    assert machine.open == {}


def test_five_thousand_equal_calls_that_all_fail_end():
    machine, _ = failing_twins(5_000)
    assert (machine.open, machine.leaders) == ({}, {})
    assert machine.counts[States.failed] == 5_000


@pytest.mark.parametrize("work", [failing_chain, fan_in, failing_fan_out, failing_twins])
def test_twice_the_tasks_take_twice_the_steps(work):
    once, twice = steps_of(lambda: work(1_000)), steps_of(lambda: work(2_000))
    assert 1.9 < twice / once < 2.1
