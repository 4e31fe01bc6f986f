"""Tasks that an executor takes before their dependencies have ended."""

from __future__ import annotations

import pytest

from tests.unit.dataflow.harness import FAILED, OK, Bench, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._invariants import check
from treadle.dataflow._node import Node, Phase
from treadle.dataflow._transitions import states_of
from treadle.dataflow.states import States
from treadle.errors import IllegalTransition, InternalError


def early(bench: Bench, *dependencies: Node, rows: int = 1, others: int = 0, **options) -> Node:
    """A task that asks to be handed over early, submitted."""
    node = bench.node(**options)
    node.early, node.rows = True, rows
    bench.orders = bench.feed(ev.Submitted(node, dependencies, others))
    return node


def tell(bench: Bench, node: Node, how: ev.Ended = OK, **more) -> list[ev.Command]:
    return bench.feed(ev.OutcomeTold(node, how, **more))


def counted(bench: Bench) -> dict[States, int]:
    return {state: count for state, count in bench.machine.counts.items() if count}


def test_a_task_without_dependencies_is_handed_over_and_launched():
    bench = Bench()
    node = early(bench)
    assert bench.orders == [ev.Admit(node)]
    assert (node.status, node.phase) == (States.launched, Phase.running)
    assert tell(bench, node) == [ev.Settle(node, ev.Verdict.result)]
    assert counted(bench) == {States.exec_done: 1}


def test_a_whole_chain_is_handed_over_at_once_and_each_is_pending_until_its_turn():
    bench = Bench()
    chain = [early(bench)]
    for _ in range(3):
        chain.append(early(bench, chain[-1]))
        assert bench.orders == [ev.Admit(chain[-1])]
    assert [node.status for node in chain] == [States.launched] + [States.pending] * 3
    for number, node in enumerate(chain):
        assert node.status is States.launched
        assert tell(bench, node) == [ev.Settle(node, ev.Verdict.result)], "and nothing is launched"
        assert [n.status for n in chain[number + 2 :]] == [States.pending] * len(
            chain[number + 2 :]
        )


def test_a_failure_spreads_down_the_chain_by_the_kernels_own_verdict():
    bench = Bench()
    a = early(bench)
    b = early(bench, a)
    c = early(bench, b)
    assert tell(bench, a, FAILED) == [
        ev.Settle(a, ev.Verdict.error),
        ev.Settle(b, ev.Verdict.dependency),
        ev.Settle(c, ev.Verdict.dependency),
    ]
    assert tell(bench, b, FAILED, blamed=True) == []
    assert counted(bench) == {States.failed: 1, States.dep_fail: 2}


def test_the_verdict_waits_for_all_parents_whatever_the_executor_says():
    bench = Bench()
    a, b = early(bench), early(bench)
    child = early(bench, a, b)
    tell(bench, a, FAILED)
    assert child.status is States.pending
    assert tell(bench, child, FAILED, blamed=True) == []
    assert tell(bench, child, OK) == []
    assert tell(bench, b) == [
        ev.Settle(b, ev.Verdict.result),
        ev.Settle(child, ev.Verdict.dependency),
    ]


def test_what_lacks_an_input_that_was_lost_fails_though_all_parents_succeed():
    bench = Bench()
    a = early(bench)
    child = early(bench, a)
    assert tell(bench, child, FAILED, blamed=True) == []
    assert tell(bench, a)[1:] == [ev.Settle(child, ev.Verdict.dependency)]
    late = early(bench, a)
    assert tell(bench, late, FAILED, blamed=True) == [ev.Settle(late, ev.Verdict.error)]


def test_an_outcome_that_overtakes_those_of_its_dependencies_counts():
    bench = Bench()
    a = early(bench)
    good, bad = early(bench, a), early(bench, a)
    assert tell(bench, good) == [ev.Settle(good, ev.Verdict.result)]
    assert tell(bench, bad, FAILED) == [ev.Settle(bad, ev.Verdict.error)]
    assert tell(bench, a) == [ev.Settle(a, ev.Verdict.result)]
    assert states_of(good) == [States.pending, States.launched, States.exec_done]


@pytest.mark.parametrize("how", [OK, FAILED])
def test_failed_attempts_are_replayed(how):
    bench = Bench(retries=5)
    node = early(bench)
    tell(bench, node, how, failed=2)
    again = [States.fail_retryable, States.pending, States.launched]
    end = States.exec_done if how is OK else States.failed
    assert states_of(node) == [States.pending, States.launched, *again, *again, end]
    failures = 2 if how is OK else 3
    assert (node.try_id, node.fail_count, node.fail_cost) == (2, failures, failures)


def test_deaths_are_attempts_that_cost_nothing():
    bench = Bench(retries=1)
    node = early(bench)
    tell(bench, node, failed=3, free=2)
    assert (node.try_id, node.fail_count, node.fail_cost) == (3, 3, 1)


def test_an_app_that_raises_a_dependency_error_itself_is_dep_fail():
    bench = Bench()
    node = early(bench)
    assert tell(bench, node, ev.Ended.dependency) == settled([node], ev.Verdict.dependency)
    assert node.status is States.dep_fail


def test_an_outcome_counts_once_and_only_of_what_was_handed_over():
    bench = Bench()
    node, plain = early(bench), bench.run()
    tell(bench, node)
    before = bench.books()
    assert tell(bench, node, FAILED) == []
    assert tell(bench, plain) == []
    assert bench.books() == before


# --- who is not taken early -------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"memoize": True}, {"join": True}, {"others": 1}])
def test_what_needs_the_kernel_itself_is_not_handed_over(options):
    bench = Bench()
    node = early(bench, **options)
    assert not node.early
    assert ev.Admit(node) not in bench.orders


def test_with_a_retry_handler_nothing_is_handed_over_early():
    bench = Bench(judged=True)
    node = early(bench)
    assert bench.orders == [ev.Launch(node, 0)]


def test_what_waits_for_a_task_that_is_not_there_is_not_handed_over():
    bench = Bench()
    elsewhere = bench.run()
    child = early(bench, elsewhere)
    grandchild = early(bench, child)
    assert bench.orders == []
    assert not child.early
    assert not grandchild.early
    assert bench.end(elsewhere)[1:] == [ev.Launch(child, 0)]


def test_what_can_no_longer_run_is_not_handed_over_and_fails_in_its_time():
    bench = Bench()
    failed, runs = early(bench), early(bench)
    tell(bench, failed, FAILED)
    child = early(bench, failed, runs)
    assert bench.orders == []
    grandchild = early(bench, child)
    assert bench.orders == []
    assert tell(bench, runs)[1:] == settled([child, grandchild], ev.Verdict.dependency)
    early(bench, failed)
    assert bench.orders == settled([bench.nodes[-1]], ev.Verdict.dependency)


def test_what_has_succeeded_keeps_nobody_back():
    bench = Bench()
    done = bench.run()
    bench.end(done)
    child = early(bench, done)
    assert bench.orders == [ev.Admit(child)]
    assert child.status is States.launched


# --- what people ask for ------------------------------------------------------------------------------


def test_cancelling_settles_at_once_though_it_runs_and_a_late_outcome_is_refused():
    bench = Bench()
    node = early(bench)
    child = early(bench, node)
    assert bench.feed(ev.CancelAsked(node)) == [
        ev.Settle(node, ev.Verdict.cancelled),
        ev.Settle(child, ev.Verdict.dependency),
    ]
    assert tell(bench, node) == []


def test_a_cancelled_parent_stops_its_child_when_the_other_parents_have_ended():
    bench = Bench()
    a, b = early(bench), early(bench)
    child = early(bench, a, b)
    bench.feed(ev.CancelAsked(a))
    assert child.status is States.pending
    assert tell(bench, child, FAILED, blamed=True) == []
    assert tell(bench, b)[1:] == settled([child], ev.Verdict.dependency)


def test_attempts_are_not_counted_by_hand():
    bench = Bench(retries=9)
    node = early(bench)
    with pytest.raises(IllegalTransition):
        bench.feed(ev.StateAsked(node, States.fail_retryable))
    child = early(bench, node)
    assert bench.feed(ev.StateAsked(child, States.launched)) == []
    tell(bench, node)
    assert tell(bench, child) == settled([child], ev.Verdict.result)


def test_an_outcome_by_hand_is_refused():
    bench = Bench()
    node = early(bench)
    with pytest.raises(IllegalTransition):
        bench.feed(ev.AttemptEnded(node, 0, OK, must=True))
    assert bench.end(node) == []
    assert tell(bench, node) == settled([node], ev.Verdict.result)


def test_a_closing_kernel_lets_its_executors_finish_what_they_were_handed():
    bench = Bench()
    node = early(bench)
    child, grandchild = early(bench, node), None
    grandchild = early(bench, child)
    assert bench.feed(ev.Closed()) == []
    tell(bench, node)
    assert child.status is States.launched
    assert tell(bench, child, failed=1) == settled([child], ev.Verdict.result)
    assert bench.feed(ev.Closed(all=True)) == settled([grandchild], ev.Verdict.abandoned)


# --- bundles ------------------------------------------------------------------------------------------


def test_a_bundle_counts_as_its_rows():
    bench = Bench()
    node = early(bench, rows=10)
    assert counted(bench) == {States.launched: 10}
    assert tell(bench, node, rows=4) == []
    assert tell(bench, node, FAILED, rows=1) == []
    assert tell(bench, node, ev.Ended.dependency, rows=2) == []
    assert counted(bench) == {
        States.launched: 3,
        States.exec_done: 4,
        States.failed: 1,
        States.dep_fail: 2,
    }
    assert tell(bench, node, rows=3) == settled([node], ev.Verdict.result)
    assert counted(bench) == {States.exec_done: 7, States.failed: 1, States.dep_fail: 2}


def test_a_bundle_waits_for_what_all_its_rows_need():
    bench = Bench()
    common = early(bench)
    early(bench, common, rows=5)
    assert counted(bench) == {States.launched: 1, States.pending: 5}
    tell(bench, common, FAILED)
    assert counted(bench) == {States.failed: 1, States.dep_fail: 5}


def test_the_rows_that_are_left_are_cancelled_together():
    bench = Bench()
    node = early(bench, rows=5)
    tell(bench, node, rows=2)
    assert bench.feed(ev.CancelAsked(node)) == settled([node], ev.Verdict.cancelled)
    assert counted(bench) == {States.exec_done: 2, States.failed: 3}
    assert tell(bench, node, rows=1) == []


# --- the books ----------------------------------------------------------------------------------------


def test_an_early_task_in_a_phase_that_only_the_kernel_knows_is_found():
    bench = Bench()
    node = early(bench)
    node.phase = Phase.launching
    with pytest.raises(InternalError, match="is at its executor early, and launching"):
        check(bench.machine)


def test_an_early_task_that_waits_for_one_that_is_not_there_is_found():
    bench = Bench()
    parent = early(bench)
    early(bench, parent)
    parent.early = False
    with pytest.raises(InternalError, match="is not at its executor"):
        check(bench.machine)


def test_a_bundle_without_rows_is_found():
    bench = Bench()
    node = early(bench, rows=2)
    node.rows = 0
    with pytest.raises(InternalError, match="open with 0 rows"):
        check(bench.machine)
