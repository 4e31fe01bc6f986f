"""`check` finds each kind of books that do not balance, and names the task."""

from __future__ import annotations

from collections import deque

import pytest

from tests.unit.dataflow.harness import Bench, placed
from treadle.dataflow._invariants import PHASES, check
from treadle.dataflow._node import Phase
from treadle.dataflow.states import States
from treadle.errors import InternalError


def complains(bench: Bench, text: str) -> None:
    with pytest.raises(InternalError, match=text):
        check(bench.machine)


@pytest.mark.parametrize("phase", Phase)
def test_the_books_balance_in_every_phase(phase):
    bench, _ = placed(phase)
    check(bench.machine)


def test_a_task_filed_under_another_number_is_found():
    bench, node = placed(Phase.running)
    bench.machine.open = {99: node}
    complains(bench, "task 0 is filed under 99; story of task 0: pending -> launched")


def test_a_task_that_has_ended_and_is_open_is_found():
    bench, node = placed(Phase.ended)
    bench.machine.open[node.id] = node
    complains(bench, "has ended and is still open")
    node.phase = Phase.running
    complains(bench, "has ended and is still open")


@pytest.mark.parametrize("state", list(PHASES))
@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.ended])
def test_a_state_and_a_phase_that_do_not_fit_are_found(state, phase):
    if phase in PHASES[state]:
        return
    bench, node = placed(Phase.running)
    node.status, node.phase = state, phase
    complains(bench, f"is {state.name} and in the phase {phase.name}")


def test_a_state_that_only_monitoring_shows_is_found():
    bench, node = placed(Phase.running)
    node.status = States.running
    complains(bench, "is running and in the phase running")


@pytest.mark.parametrize("field", ["waiting_on", "failed_on"])
def test_a_negative_count_is_found(field):
    bench, node = placed(Phase.waiting)
    setattr(node, field, -1)
    complains(bench, "counts fewer than no dependencies")


def test_a_task_that_goes_on_with_open_dependencies_is_found():
    bench, node = placed(Phase.running)
    node.waiting_on = 1
    complains(bench, "is running with 1 dependencies open")


def test_a_task_that_waits_for_nothing_is_found():
    bench, node = placed(Phase.waiting)
    node.waiting_on = 0
    complains(bench, "is waiting with 0 dependencies open")


@pytest.mark.parametrize("children", [1, 2])
def test_an_edge_that_is_not_counted_is_found(children):
    bench, parent = placed(Phase.running)
    nodes = [bench.submit(parent, others=1) for _ in range(children)]
    other = bench.submit(parent, parent, others=1)
    check(bench.machine)
    nodes[-1].waiting_on = 1
    check(bench.machine)
    other.waiting_on = 1
    complains(bench, f"task {other.id} 2 tasks lead to it, it counts 1")


def test_an_edge_to_a_single_dependent_that_is_not_counted_is_found():
    bench, parent = placed(Phase.running)
    child = bench.submit(parent, others=1)
    parent.dependents = child
    child.waiting_on = 1
    check(bench.machine)
    second = bench.run()
    second.dependents = child
    complains(bench, f"task {child.id} 2 tasks lead to it")


@pytest.mark.parametrize("state", [States.pending, States.launched, States.joining])
def test_a_wrong_count_of_a_state_is_found(state):
    bench, _ = placed(Phase.running)
    bench.machine.counts[state] += 1
    complains(bench, f"tasks {state.name}, found")


def test_a_leader_that_has_ended_is_found():
    bench, node = placed(Phase.looking_up)
    (key,) = bench.machine.leaders
    node.phase = Phase.ended
    del bench.machine.open[node.id]
    bench.machine.counts[States.pending] = 0
    complains(bench, f"leads the key '{key}' but has ended")


def test_a_leader_of_another_key_is_found():
    bench, node = placed(Phase.looking_up)
    bench.machine.led_keys[node.id] = "another"
    complains(bench, "or has another key")


def test_a_key_that_nobody_leads_is_found():
    bench, _ = placed(Phase.looking_up)
    bench.machine.leaders.clear()
    complains(bench, "1 lead, of 0 keys")


def test_a_twin_of_nobody_is_found():
    bench, twin = placed(Phase.twin)
    bench.nodes[0].twins = None
    complains(bench, f"task {twin.id} is a twin of 0 tasks in the phase twin")


def test_a_twin_listed_twice_is_found():
    bench, twin = placed(Phase.twin)
    bench.nodes[0].twins = deque([twin, twin])
    complains(bench, "is a twin of 2 tasks")


def test_a_task_listed_as_a_twin_that_is_none_is_found():
    bench, _ = placed(Phase.twin)
    other = bench.run()
    twins = bench.nodes[0].twins
    assert twins is not None
    twins.append(other)
    complains(bench, f"task {other.id} is a twin of 1 tasks in the phase running")


def test_twins_of_a_task_that_leads_nothing_are_found():
    bench, node = placed(Phase.running)
    node.twins = deque()
    complains(bench, "has twins and leads no key")
