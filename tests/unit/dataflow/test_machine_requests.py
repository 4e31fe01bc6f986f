"""What people ask for: to cancel, to launch, another state, the end of the kernel."""

from __future__ import annotations

import pytest

from tests.unit.dataflow.harness import FAILED, KEY, Bench, placed, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Phase
from treadle.dataflow._transitions import TABLE, states_of
from treadle.dataflow.states import FINAL_STATES, States
from treadle.errors import IllegalTransition

# --- cancel ---------------------------------------------------------------------------------------

#: The code runs and nobody has stopped it; or it has run, and its outcome is on its way.
UNSTOPPABLE = (Phase.running, Phase.recording, Phase.ended)


@pytest.mark.parametrize("phase", [p for p in Phase if p not in UNSTOPPABLE])
@pytest.mark.parametrize("stopped", [True, False])
def test_a_task_whose_code_does_not_run_can_be_cancelled(phase, stopped):
    bench, node = placed(phase)
    child = bench.submit(node)
    commands = bench.feed(ev.CancelAsked(node, stopped=stopped))
    assert commands == [
        ev.Settle(node, ev.Verdict.cancelled),
        ev.Settle(child, ev.Verdict.dependency),
    ]
    assert (node.status, child.status) == (States.failed, States.dep_fail)


def test_a_running_task_is_cancelled_once_its_attempt_is_stopped():
    bench, node = placed(Phase.running)
    before = bench.books()
    assert bench.feed(ev.CancelAsked(node)) == []
    assert bench.books() == before
    assert bench.feed(ev.CancelAsked(node, stopped=True)) == settled([node], ev.Verdict.cancelled)
    assert bench.end(node) == []


@pytest.mark.parametrize("phase", [Phase.recording, Phase.ended])
def test_a_task_whose_outcome_is_known_cannot_be_cancelled(phase):
    bench, node = placed(phase)
    before = bench.books()
    assert bench.feed(ev.CancelAsked(node, stopped=True)) == []
    assert bench.books() == before


def test_a_cancelled_attempt_and_a_cancelled_task_end_the_task_once():
    bench, node = placed(Phase.running)
    commands = bench.end(node, ev.Ended.cancelled)
    assert commands == settled([node], ev.Verdict.cancelled)
    assert bench.feed(ev.CancelAsked(node, stopped=True)) == []


def test_a_memoized_task_that_is_cancelled_is_not_recorded():
    bench = Bench()
    node = bench.run(memoize=True)
    commands = bench.feed(ev.CancelAsked(node, stopped=True))
    assert commands == settled([node], ev.Verdict.cancelled)


# --- another state --------------------------------------------------------------------------------

#: What may be asked for in each phase, and what is then ordered or ended.
LEGAL_STATES: dict[Phase, set[States]] = {
    Phase.waiting: {States.launched, States.fail_retryable, States.failed, States.dep_fail},
    Phase.preparing: {States.fail_retryable, States.failed, States.dep_fail},
    Phase.looking_up: {States.fail_retryable, States.failed, States.dep_fail},
    Phase.twin: {States.fail_retryable, States.failed, States.dep_fail},
    Phase.launching: {States.launched, States.fail_retryable, States.failed, States.dep_fail},
    Phase.running: {States.fail_retryable, States.failed, States.dep_fail},
    Phase.judging: {States.failed, States.dep_fail},
    Phase.watching: {States.failed, States.dep_fail},
    Phase.joining: {States.failed},
    Phase.recording: {States.failed, States.dep_fail},
    Phase.ended: set(),
}

EVERY = [(phase, state) for phase in Phase for state in States]


@pytest.mark.parametrize(("phase", "state"), [e for e in EVERY if e[1] not in LEGAL_STATES[e[0]]])
def test_a_state_that_is_out_of_reach_raises_the_story(phase, state):
    bench, node = placed(phase)
    before = bench.books()
    with pytest.raises(IllegalTransition) as caught:
        bench.feed(ev.StateAsked(node, state))
    error = caught.value
    assert error.step == f"update_task_state({state.name}) in phase {phase.name}"
    assert f"task {node.id} is {node.status.name} and cannot take the step" in str(error)
    assert f"story of task {node.id}: pending" in str(error)
    assert error.allowed == tuple(step.name for step in TABLE[node.status])
    assert bench.books() == before


@pytest.mark.parametrize("phase", [p for p in Phase if States.failed in LEGAL_STATES[p]])
@pytest.mark.parametrize(
    ("state", "verdict"),
    [(States.failed, ev.Verdict.abandoned), (States.dep_fail, ev.Verdict.dependency)],
)
def test_a_task_can_be_set_to_a_failure(phase, state, verdict):
    if state not in LEGAL_STATES[phase]:
        return
    bench, node = placed(phase)
    child = bench.submit(node)
    assert bench.feed(ev.StateAsked(node, state)) == [
        ev.Settle(node, verdict),
        ev.Settle(child, ev.Verdict.dependency),
    ]
    assert node.status is state


def test_an_unknown_task_cannot_be_set_to_pending():
    bench = Bench()
    node = bench.node()
    with pytest.raises(IllegalTransition):
        bench.feed(ev.StateAsked(node, States.pending))
    assert bench.feed(ev.Submitted(node)) == [ev.Launch(node, 0)]


@pytest.mark.parametrize("phase", [Phase.launching, Phase.running])
def test_an_attempt_set_to_failed_is_made_again_whatever_the_budget(phase):
    bench, node = placed(phase)
    assert bench.feed(ev.StateAsked(node, States.fail_retryable)) == [ev.Launch(node, 1)]
    assert bench.feed(ev.AttemptEnded(node, 0, ev.Ended.succeeded)) == []
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]


@pytest.mark.parametrize("phase", [Phase.waiting, Phase.preparing, Phase.looking_up, Phase.twin])
def test_a_retry_of_what_was_never_tried_is_a_mark_in_the_story(phase):
    bench, node = placed(phase)
    assert bench.feed(ev.StateAsked(node, States.fail_retryable)) == []
    assert (node.phase, node.try_id) == (phase, 0)
    assert states_of(node) == [States.pending, States.fail_retryable, States.pending]


def test_a_task_on_its_way_may_be_marked_as_launched():
    bench, node = placed(Phase.launching)
    assert bench.feed(ev.StateAsked(node, States.launched)) == []
    assert (node.phase, node.status) == (Phase.launching, States.launched)
    assert bench.feed(ev.Launched(node, 0)) == []
    assert node.phase is Phase.running
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]


def test_an_outcome_may_overtake_even_the_mark():
    bench, node = placed(Phase.launching)
    bench.feed(ev.StateAsked(node, States.launched))
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]
    assert states_of(node) == [States.pending, States.launched, States.exec_done]


def test_a_task_marked_as_launched_still_waits_for_its_dependencies():
    bench, node = placed(Phase.waiting)
    assert bench.feed(ev.StateAsked(node, States.launched)) == []
    assert bench.feed(ev.DependencyEnded(node, ok=True)) == []
    assert bench.feed(ev.DependencyEnded(node, ok=True)) == [ev.Launch(node, 0)]
    bench.feed(ev.Launched(node, 0))
    assert bench.end(node) == [ev.Settle(node, ev.Verdict.result)]


def test_a_task_that_the_memo_table_may_have_is_not_marked_as_launched():
    bench = Bench()
    node = bench.submit(others=1, memoize=True)
    with pytest.raises(IllegalTransition):
        bench.feed(ev.StateAsked(node, States.launched))
    running = bench.submit(memoize=True)
    bench.feed(ev.Prepared(running, None))
    bench.feed(ev.LookedUp(running, hit=False))
    assert bench.feed(ev.StateAsked(running, States.launched)) == []


# --- the end of the kernel ------------------------------------------------------------------------

#: What the executors have, or have had.
KEPT = (Phase.running, Phase.judging, Phase.watching, Phase.joining, Phase.recording)

#: How a task ends when the kernel gives it up; elsewhere it is abandoned.
KNOWN = {Phase.judging: ev.Verdict.error, Phase.recording: ev.Verdict.result}


@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.ended and p not in KEPT])
def test_closing_gives_up_what_no_executor_has(phase):
    bench, node = placed(phase)
    commands = bench.feed(ev.Closed())
    assert ev.Settle(node, ev.Verdict.abandoned) in commands
    assert node.status is States.failed


@pytest.mark.parametrize("phase", KEPT)
def test_closing_keeps_what_the_executors_have(phase):
    bench, node = placed(phase)
    before = bench.books()[-1]
    assert bench.feed(ev.Closed()) == []
    assert bench.books()[-1] == before
    assert bench.machine.open == {node.id: node}


@pytest.mark.parametrize("phase", [p for p in Phase if p is not Phase.ended])
def test_nothing_is_open_when_all_is_closed(phase):
    bench, node = placed(phase)
    commands = bench.feed(ev.Closed(all=True))
    assert {type(command) for command in commands} == {ev.Settle}
    assert bench.verdicts[node.id] is KNOWN.get(phase, ev.Verdict.abandoned)
    assert (bench.machine.open, bench.machine.leaders) == ({}, {})
    assert bench.feed(ev.Closed(all=True)) == []


def test_closing_a_machine_where_all_has_ended_does_nothing():
    bench, _ = placed(Phase.ended)
    assert bench.feed(ev.Closed(all=True)) == []


def test_a_failure_that_was_being_judged_ends_as_what_it_was():
    bench = Bench(judged=True)
    node = bench.run()
    bench.end(node, ev.Ended.dependency)
    assert bench.feed(ev.Closed(all=True)) == settled([node], ev.Verdict.dependency)


def test_a_failure_to_launch_that_is_being_judged_outlives_the_first_closing():
    bench = Bench(judged=True)
    node = bench.submit()
    bench.end(node, FAILED)
    assert bench.feed(ev.Closed()) == []
    assert bench.feed(ev.Judged(node, 0, 0)) == settled([node], ev.Verdict.error)


def test_what_waits_for_a_result_that_is_being_recorded_is_given_up_when_all_is_closed():
    bench, node = placed(Phase.recording)
    child = bench.submit(node)
    assert bench.feed(ev.Closed(all=True)) == [
        ev.Settle(node, ev.Verdict.result),
        ev.Settle(child, ev.Verdict.abandoned),
    ]


def test_a_chain_that_waits_is_given_up_link_by_link_and_each_once():
    bench = Bench()
    nodes = [bench.submit(others=1)]
    for _ in range(3):
        nodes.append(bench.submit(nodes[-1]))
    assert bench.feed(ev.Closed()) == settled(nodes, ev.Verdict.abandoned)


def test_the_twins_of_what_is_given_up_are_given_up_and_asked_nothing():
    bench, leader = placed(Phase.looking_up)
    twins = [bench.twin() for _ in range(3)]
    assert bench.feed(ev.Closed()) == settled([leader, *twins], ev.Verdict.abandoned)
    assert (bench.machine.leaders, bench.machine.led_keys) == ({}, {})


def test_the_twins_of_what_runs_on_are_given_up():
    bench = Bench()
    leader = bench.lead()
    twin = bench.twin()
    assert bench.feed(ev.Closed()) == settled([twin], ev.Verdict.abandoned)
    assert bench.end_and_record(leader) == [ev.Settle(leader, ev.Verdict.result)]


def test_what_runs_on_is_not_tried_again():
    bench = Bench(retries=3)
    node = bench.run()
    bench.feed(ev.Closed())
    assert bench.end(node, FAILED) == settled([node], ev.Verdict.error)


def test_nothing_is_launched_any_more_not_even_by_hand():
    bench, node = placed(Phase.running)
    bench.feed(ev.Closed())
    with pytest.raises(IllegalTransition):
        bench.feed(ev.StateAsked(node, States.fail_retryable))
    assert bench.feed(ev.StateAsked(node, States.failed)) == settled([node], ev.Verdict.abandoned)


def test_a_join_that_runs_on_may_end():
    bench, node = placed(Phase.joining)
    bench.feed(ev.Closed())
    bench.feed(ev.InnerEnded(node, ok=True))
    assert bench.feed(ev.InnerEnded(node, ok=True)) == [ev.Settle(node, ev.Verdict.result)]


@pytest.mark.parametrize("all_", [True, False])
@pytest.mark.parametrize("broken", [True, False])
@pytest.mark.parametrize("memoize", [True, False])
def test_a_closed_machine_takes_nothing_new(memoize, broken, all_):
    bench = Bench()
    parent = bench.run()
    bench.feed(ev.Closed(all=all_))
    node = bench.node(memoize=memoize)
    event = ev.Submitted(node, [parent], others=1, broken=broken)
    assert bench.feed(event) == settled([node], ev.Verdict.abandoned)
    assert parent.dependents is None


def test_a_task_marked_as_launched_that_waits_is_given_up():
    bench, node = placed(Phase.waiting)
    bench.feed(ev.StateAsked(node, States.launched))
    assert bench.feed(ev.Closed()) == settled([node], ev.Verdict.abandoned)


@pytest.mark.parametrize("phase", Phase)
def test_late_answers_after_the_end_change_nothing(phase):
    bench, node = placed(phase)
    bench.feed(ev.Closed(all=True))
    before = bench.books()
    late = [
        ev.DependencyEnded(node, ok=True),
        ev.Prepared(node, KEY),
        ev.Unprepared(node),
        ev.LookedUp(node, hit=True),
        ev.Launched(node, 0),
        ev.AttemptEnded(node, 0, ev.Ended.succeeded),
        ev.Judged(node, 0, 0),
        ev.Recorded(node),
        ev.Joined(node, 0),
        ev.InnerEnded(node, ok=True),
        ev.CancelAsked(node, stopped=True),
        ev.LaunchAsked(node),
    ]
    assert [bench.feed(event) for event in late] == [[]] * len(late)
    assert bench.books() == before
    assert node.status in FINAL_STATES
