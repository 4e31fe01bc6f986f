"""Equal calls: one runs, the others wait for it; failures are not replayed."""

from __future__ import annotations

import pytest

from tests.unit.dataflow.harness import FAILED, KEY, OK, Bench, placed, settled
from treadle.dataflow import _events as ev
from treadle.dataflow._node import Phase
from treadle.dataflow.states import States


def test_a_memoized_task_is_prepared_looked_up_launched_and_recorded():
    bench = Bench()
    node = bench.node(memoize=True)
    assert bench.feed(ev.Submitted(node)) == [ev.Prepare(node)]
    assert bench.feed(ev.Prepared(node, KEY)) == [ev.LookUp(node)]
    assert (node.hashsum, node.status) == (KEY, States.pending)
    assert bench.feed(ev.LookedUp(node, hit=False)) == [ev.Launch(node, 0)]
    bench.feed(ev.Launched(node, 0))
    assert bench.end(node) == [ev.Record(node, ok=True)]
    assert bench.feed(ev.Recorded(node)) == [ev.Settle(node, ev.Verdict.result)]
    assert bench.machine.leaders == {}


def test_a_hit_ends_the_task_without_an_attempt():
    bench = Bench()
    node = bench.submit(memoize=True)
    child = bench.submit(node)
    bench.feed(ev.Prepared(node, KEY))
    assert bench.feed(ev.LookedUp(node, hit=True)) == [
        ev.Settle(node, ev.Verdict.from_memo),
        ev.Launch(child, 0),
    ]
    assert node.status is States.memo_done


def test_a_stored_failure_fails_the_task_without_an_attempt_or_a_retry():
    bench = Bench(retries=3, judged=True)
    node = bench.submit(memoize=True)
    child = bench.submit(node)
    bench.feed(ev.Prepared(node, KEY))
    assert bench.feed(ev.LookedUp(node, hit=True, ok=False)) == [
        ev.Settle(node, ev.Verdict.error),
        ev.Settle(child, ev.Verdict.dependency),
    ]
    assert (node.status, node.fail_count) == (States.failed, 0)


def test_arguments_that_cannot_be_bound_fail_the_task():
    bench = Bench(retries=3)
    node = bench.submit(memoize=True)
    assert bench.feed(ev.Unprepared(node)) == settled([node], ev.Verdict.error)


def test_a_memo_table_that_cannot_be_asked_fails_the_task_and_the_next_one_asks():
    bench = Bench()
    node = bench.submit(memoize=True)
    bench.feed(ev.Prepared(node, KEY))
    twin = bench.twin()
    assert bench.feed(ev.Unprepared(node)) == [ev.Settle(node, ev.Verdict.error), ev.LookUp(twin)]


def test_tasks_without_a_key_have_no_twins():
    bench = Bench()
    nodes = [bench.submit(memoize=True) for _ in range(3)]
    for node in nodes:
        assert bench.feed(ev.Prepared(node, None)) == [ev.LookUp(node)]
    assert bench.machine.leaders == {}


def test_a_key_of_a_plug_in_that_is_no_string_is_not_touched():
    class Explosive:
        def __hash__(self) -> int:
            raise ValueError

    bench = Bench()
    node = bench.submit(memoize=True)
    key = Explosive()
    assert bench.feed(ev.Prepared(node, key)) == [ev.LookUp(node)]  # type: ignore[arg-type]
    assert node.hashsum is key
    assert bench.machine.leaders == {}


def test_tasks_with_other_keys_do_not_wait_for_each_other():
    bench = Bench()
    bench.lead(key="one")
    assert bench.lead(key="two").phase is Phase.running


# --- twins ----------------------------------------------------------------------------------------


def test_equal_calls_in_flight_run_once_and_end_together():
    bench = Bench()
    leader = bench.lead()
    twins = [bench.twin() for _ in range(3)]
    assert bench.end_and_record(leader) == [
        ev.Settle(leader, ev.Verdict.result),
        *[ev.Settle(twin, ev.Verdict.twin, leader) for twin in twins],
    ]
    assert {twin.status for twin in twins} == {States.memo_done}
    assert bench.machine.leaders == {}
    assert leader.twins is None


def test_twins_of_a_hit_end_with_it():
    bench = Bench()
    leader = bench.submit(memoize=True)
    bench.feed(ev.Prepared(leader, KEY))
    twin = bench.twin()
    assert bench.feed(ev.LookedUp(leader, hit=True)) == [
        ev.Settle(leader, ev.Verdict.from_memo),
        ev.Settle(twin, ev.Verdict.twin, leader),
    ]


def test_twins_are_settled_before_anything_that_waited_for_their_leader_starts():
    bench = Bench()
    leader = bench.lead()
    after_leader = bench.submit(leader)
    twin = bench.twin()
    after_twin = bench.submit(twin)
    assert bench.end_and_record(leader) == [
        ev.Settle(leader, ev.Verdict.result),
        ev.Settle(twin, ev.Verdict.twin, leader),
        ev.Launch(after_leader, 0),
        ev.Launch(after_twin, 0),
    ]


def test_an_equal_call_after_the_end_leads_anew():
    bench = Bench()
    bench.end_and_record(bench.lead())
    assert bench.lead().phase is Phase.running


def test_twins_wait_while_their_leader_is_tried_again():
    bench = Bench(retries=1)
    leader = bench.lead()
    twin = bench.twin()
    assert bench.end(leader, FAILED) == [ev.Launch(leader, 1)]
    assert twin.phase is Phase.twin
    assert bench.end_and_record(leader)[-1] == ev.Settle(twin, ev.Verdict.twin, leader)


def test_a_failure_is_not_replayed_the_first_twin_runs_for_the_rest():
    bench = Bench()
    leader = bench.lead()
    heir, *rest = [bench.twin() for _ in range(3)]
    assert bench.end_and_record(leader, FAILED) == [
        ev.Settle(leader, ev.Verdict.error),
        ev.LookUp(heir),
    ]
    assert bench.machine.leaders == {KEY: heir}
    late = bench.twin()
    assert bench.feed(ev.LookedUp(heir, hit=False)) == [ev.Launch(heir, 0)]
    bench.feed(ev.Launched(heir, 0))
    assert bench.end_and_record(heir) == [
        ev.Settle(heir, ev.Verdict.result),
        *[ev.Settle(twin, ev.Verdict.twin, heir) for twin in (*rest, late)],
    ]


def test_each_twin_runs_in_its_turn_while_all_fail():
    bench = Bench()
    leader = bench.lead()
    twins = [bench.twin() for _ in range(3)]
    for heir in twins:
        assert bench.end_and_record(leader, FAILED) == [
            ev.Settle(leader, ev.Verdict.error),
            ev.LookUp(heir),
        ]
        bench.feed(ev.LookedUp(heir, hit=False))
        leader = heir
    assert leader.twins is None
    assert bench.end_and_record(leader, FAILED) == settled([leader], ev.Verdict.error)
    assert bench.machine.leaders == {}


def test_an_heir_may_find_that_its_key_has_been_stored_meanwhile():
    bench = Bench()
    leader = bench.lead()
    heir, other = bench.twin(), bench.twin()
    bench.end_and_record(leader, FAILED)
    assert bench.feed(ev.LookedUp(heir, hit=True)) == [
        ev.Settle(heir, ev.Verdict.from_memo),
        ev.Settle(other, ev.Verdict.twin, heir),
    ]


def test_the_twins_are_handed_from_heir_to_heir_not_copied():
    bench = Bench()
    leader = bench.lead()
    heir, *_ = [bench.twin() for _ in range(3)]
    twins = leader.twins
    bench.end_and_record(leader, FAILED)
    assert heir.twins is twins


def test_a_leader_that_is_cancelled_leaves_its_key_to_the_first_twin():
    bench = Bench()
    leader = bench.lead()
    after = bench.submit(leader)
    twin = bench.twin()
    assert bench.feed(ev.CancelAsked(leader, stopped=True)) == [
        ev.Settle(leader, ev.Verdict.cancelled),
        ev.Settle(after, ev.Verdict.dependency),
        ev.LookUp(twin),
    ]


def test_a_twin_that_is_cancelled_ends_alone():
    bench = Bench()
    leader = bench.lead()
    first, second = bench.twin(), bench.twin()
    assert bench.feed(ev.CancelAsked(first)) == settled([first], ev.Verdict.cancelled)
    assert bench.end_and_record(leader) == [
        ev.Settle(leader, ev.Verdict.result),
        ev.Settle(second, ev.Verdict.twin, leader),
    ]


def test_a_twin_that_was_cancelled_does_not_inherit():
    bench = Bench()
    leader = bench.lead()
    first, second = bench.twin(), bench.twin()
    bench.feed(ev.CancelAsked(first))
    assert bench.end_and_record(leader, FAILED)[1:] == [ev.LookUp(second)]


@pytest.mark.parametrize("how", [OK, FAILED])
def test_nobody_inherits_where_all_twins_were_cancelled(how):
    bench = Bench()
    leader = bench.lead()
    for twin in [bench.twin(), bench.twin()]:
        bench.feed(ev.CancelAsked(twin))
    assert [command.node for command in bench.end_and_record(leader, how)] == [leader]
    assert (bench.machine.leaders, bench.machine.led_keys, leader.twins) == ({}, {}, None)


def test_what_depends_on_a_cancelled_twin_fails_and_what_depends_on_its_leader_does_not():
    bench = Bench()
    leader = bench.lead()
    twin = bench.twin()
    after_leader, after_twin = bench.submit(leader), bench.submit(twin)
    assert bench.feed(ev.CancelAsked(twin)) == [
        ev.Settle(twin, ev.Verdict.cancelled),
        ev.Settle(after_twin, ev.Verdict.dependency),
    ]
    assert bench.end_and_record(leader)[1:] == [ev.Launch(after_leader, 0)]


def test_a_call_that_depends_on_an_equal_one_runs_for_itself():
    bench = Bench()
    first = bench.lead()
    second = bench.submit(first, memoize=True)
    assert bench.end_and_record(first)[1:] == [ev.Prepare(second)]
    assert bench.feed(ev.Prepared(second, KEY)) == [ev.LookUp(second)]


@pytest.mark.parametrize("written", [None, "another key"])
@pytest.mark.parametrize("how", [OK, FAILED])
def test_a_plug_in_that_writes_over_the_key_loses_no_twin(how, written):
    bench = Bench()
    leader = bench.lead()
    twin = bench.twin()
    leader.hashsum = twin.hashsum = written
    commands = bench.end_and_record(leader, how)
    if how is OK:
        assert commands[1:] == [ev.Settle(twin, ev.Verdict.twin, leader)]
    else:
        assert commands[1:] == [ev.LookUp(twin)]
        bench.feed(ev.LookedUp(twin, hit=False))
        bench.end_and_record(twin)
    assert bench.machine.leaders == {}


def test_a_leader_that_fails_while_it_is_looked_up_leaves_its_key():
    bench, leader = placed(Phase.looking_up)
    twin = bench.twin()
    assert bench.feed(ev.LookedUp(leader, hit=True, ok=False))[1:] == [ev.LookUp(twin)]
    assert bench.feed(ev.LookedUp(leader, hit=False)) == []
    assert bench.feed(ev.LookedUp(twin, hit=False)) == [ev.Launch(twin, 0)]
