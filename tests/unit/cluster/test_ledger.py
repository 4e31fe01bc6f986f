"""What a client wants is told once, whatever becomes of links and of the scheduler."""

from __future__ import annotations

import pytest

from tests.unit.cluster.ledger_bench import (
    OOPS,
    Bench,
    bundle,
    fail,
    finish,
    in_parts,
    task,
)
from treadle import wire
from treadle.cluster._calls import Call
from treadle.cluster._ledger import CALLS, DATA
from treadle.cluster._resources import Asked
from treadle.dataflow._sink import SinkTask
from treadle.errors import RemoteError, ResultLost, SchedulerLost


@pytest.fixture(params=[False, True], ids=["once", "each frame twice"])
def bench(request):
    bench = Bench(twice=request.param)
    bench.connect()
    return bench


# --- outcomes ------------------------------------------------------------------------------------


def test_a_result_is_told_once(bench):
    bench.admit(task(0))
    bench.work()
    (outcome,) = bench.told()
    assert (outcome.id, outcome.value.inline, outcome.error, outcome.rows) == (0, b"i", None, 1)
    assert bench.ledger.open == 0


def test_a_graph_goes_as_one_message_and_its_outcomes_come_in_order(bench):
    bench.admit(task(0), task(1, 0), task(2, 1), task(3, 0, 2))
    assert [type(m) for m in bench.said].count(wire.Submit) == 1
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [0, 1, 2, 3]


def test_an_error_names_the_task_to_blame_and_spreads(bench):
    bench.admit(task(0), task(1, 0))
    bench.work(fail)
    first, second = bench.told()
    assert (first.id, first.blame, first.text) == (0, None, "ValueError('oops')")
    assert (second.id, second.blame) == (1, 0)
    assert isinstance(first.error(), RemoteError)
    assert "task 0" in str(first.error()) or "oops" in str(first.error())


def test_attempts_that_failed_before_are_told_with_the_outcome(bench):
    options = wire.Options(retries=2)
    bench.admit(task(0, options=options), task(1, options=options))
    calls = []

    def rule(run):
        calls.append(run.id)
        return fail(run) if run.id == bench.id(0) or calls.count(run.id) == 1 else finish(run)

    bench.work(rule)
    outcomes = {outcome.id: outcome for outcome in bench.told()}
    assert len(outcomes[0].tries) == 2
    assert outcomes[0].error is not None
    assert [t.text for t in outcomes[1].tries] == ["ValueError('oops')"]
    assert outcomes[1].value is not None


def test_tasks_share_a_table_of_what_they_ask_for(bench):
    slow, fast = wire.Options(priority=5.0), wire.Options(priority=-5.0)
    bench.admit(task(0, options=slow), task(1), task(2, options=fast), task(3, options=slow))
    (submit,) = [m for m in bench.said if type(m) is wire.Submit]
    assert [submit.options[t.options].priority for t in submit.tasks] == [5.0, 0.0, -5.0, 5.0]
    assert len(submit.options) == 3


def test_what_is_shown_of_a_task_goes_with_it(bench):
    bench.admit(task(0, options=Asked(wire.Options(priority=2.0), {"why": "because"})))
    assert bench.scheduler.books.tasks[bench.id(0)].metadata == {"why": "because"}


def test_calls_are_told_apart_from_a_kernels_tasks(bench):
    bench.admit(task(7), task(CALLS + 7))
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [7]
    assert [outcome.id for outcome in bench.ledger.called] == [CALLS + 7]


# --- release and cancel --------------------------------------------------------------------------


def test_what_is_released_is_forgotten_by_the_scheduler(bench):
    bench.admit(task(0), task(1, 0))
    bench.work()
    bench.ledger.release([bench.id(0), bench.id(1)])
    bench.settle()
    assert bench.known == 0
    assert bench.ledger.wants == {}


def test_a_result_that_comes_after_its_release_is_released_again(bench):
    bench.admit(task(0))
    (run,) = bench.runs.values()
    bench.worker(*finish(run))  # on its way to the client
    bench.ledger.release([bench.id(0)])
    bench.settle()
    assert bench.told() == []
    assert bench.known == 0


def test_nothing_is_told_of_a_cancelled_task_and_what_ran_is_stopped(bench):
    bench.admit(task(0))
    bench.ledger.cancel([bench.id(0)])
    bench.settle()
    assert (bench.told(), bench.stopped) == ([], [bench.id(0)])
    assert bench.known == 0


@pytest.mark.parametrize("rule", [finish, fail])
def test_an_outcome_that_crosses_a_cancel_is_not_told_and_leaves_nothing(bench, rule):
    bench.admit(task(0))
    (run,) = bench.runs.values()
    bench.worker(*rule(run))
    bench.ledger.cancel([bench.id(0)])
    bench.settle()
    assert (bench.told(), bench.known, bench.ledger.wants) == ([], 0, {})


def test_dependents_of_a_cancelled_task_are_told_as_cancelled(bench):
    bench.admit(task(0), task(1, 0))
    bench.ledger.cancel([bench.id(0)])
    bench.settle()
    (outcome,) = bench.told()
    assert (outcome.id, outcome.cancelled) == (1, True)


def test_a_long_reason_is_cut_to_what_a_message_holds(bench):
    bench.admit(task(0))
    bench.ledger.cancel([bench.id(0)], reason="x" * 10_000)
    bench.settle()
    assert bench.known == 0


# --- losses --------------------------------------------------------------------------------------


def test_a_lost_result_is_computed_again_and_its_value_hears_of_it(bench):
    bench.admit(task(0))
    bench.work()
    (outcome,) = bench.told()
    bench.step(wire.Register("w1", 1, "host", 2), "worker/w1")
    bench.worker(wire.Dropped((wire.Attempt(bench.id(0), _attempt(bench, 0)),), "it fell"))
    bench.settle()
    assert "lost" in outcome.value.story
    bench.work()
    assert outcome.value.story[-1] == "found 1"
    assert bench.told() == []


def test_a_value_that_is_lost_for_good_says_so_when_asked(bench):
    bench.admit(task(0))
    bench.work()
    (outcome,) = bench.told()
    failure = wire.Failure("lost", "ResultLost", "the disk is gone")
    bench.ledger.handle([wire.Erred(bench.id(0), failure, bench.id(0))])
    assert isinstance(outcome.value.error, ResultLost)
    assert bench.told() == []


def _attempt(bench, number):
    return bench.scheduler.books.tasks[bench.id(number)].attempt


# --- refusals ------------------------------------------------------------------------------------


def test_one_task_that_cannot_be_admitted_harms_no_other(bench):
    bench.admit(*(task(n) if n != 5 else task(5, 99) for n in range(10)))
    bench.work()
    outcomes = {outcome.id: outcome for outcome in bench.told()}
    assert sorted(outcomes) == list(range(10))
    assert [n for n in outcomes if outcomes[n].error is not None] == [5]
    assert "not known" in str(outcomes[5].error())


def test_what_depends_on_a_refused_task_is_refused_too_and_nothing_else(bench):
    bench.admit(task(0, 99), task(1, 0), task(2))
    bench.work()
    outcomes = {outcome.id: outcome for outcome in bench.told()}
    assert [n for n in sorted(outcomes) if outcomes[n].error is not None] == [0, 1]


# --- links ---------------------------------------------------------------------------------------


def test_what_was_said_into_a_dying_link_is_said_again(bench):
    bench.beat()
    bench.ledger.admit([task(0)])
    bench.lose_said()
    bench.cut()
    bench.connect()
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [0]


def test_what_has_arrived_and_is_said_again_runs_once(bench):
    bench.beat()
    bench.admit(task(0))
    bench.cut()
    bench.connect()
    assert len(bench.runs) == 1
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [0]


def test_an_outcome_that_was_lost_with_the_link_is_told_on_the_next(bench):
    bench.beat()
    bench.admit(task(0), task(1))
    bench.beat()
    first, second = bench.runs.values()
    bench.worker(*finish(first))
    bench.cut()
    bench.runs = {(second.id, second.attempt): second}
    bench.worker(*finish(second))
    bench.runs = {}
    bench.connect()
    assert sorted(outcome.id for outcome in bench.told()) == [0, 1]


def test_a_beat_that_comes_back_lets_go_of_what_was_said_before_it(bench):
    bench.admit(task(0))
    assert bench.ledger.unacked
    bench.beat()
    assert not bench.ledger.unacked


def test_a_release_that_was_lost_with_the_link_is_said_again(bench):
    bench.admit(task(0))
    bench.work()
    bench.beat()
    bench.ledger.release([bench.id(0)])
    bench.lose_said()
    bench.cut()
    bench.connect()
    assert bench.known == 0


def test_questions_are_asked_again_and_answered_once():
    bench = Bench(boldly=False)
    bench.connect()
    bench.admit(task(0))
    bench.beat()
    ask = bench.ledger.ask(lambda number: wire.WhoHas(number, (bench.id(0),)))
    bench.lose_said()
    bench.cut()
    bench.connect()
    replies = [m for m in bench.ledger.news if type(m) is wire.Reply]
    assert [(reply.ask, reply.value) for reply in replies] == [(ask, [[]])]


def test_without_boldness_nothing_is_said_before_the_welcome():
    bench = Bench(boldly=False)
    bench.ledger.admit([task(0)])
    first = bench.ledger.link_up(boldly=False)
    assert [type(m) for m in first] == [wire.Attach]
    assert bench.ledger.take() == []
    bench.linked = True
    bench.say(first)
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [0]


def test_who_was_forgotten_knows_it_and_ends_all_that_was_open():
    bench = Bench(boldly=False)
    bench.connect()
    bench.admit(task(0))
    bench.beat()
    bench.cut(forget=True)
    bench.connect()
    assert bench.ledger.forgotten
    bench.ledger.end(lambda: SchedulerLost("forgotten"))
    (outcome,) = bench.told()
    assert isinstance(outcome.error(), SchedulerLost)
    bench.linked = True
    bench.say(bench.ledger.link_up(boldly=False))
    bench.settle()
    bench.admit(task(1))
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [1]


def test_who_was_never_heard_attaches_anew_and_loses_nothing():
    bench = Bench(boldly=False)
    bench.connect()
    bench.admit(task(0))
    bench.cut(forget=True)  # before any beat: the scheduler may never have heard us
    bench.connect()
    assert not bench.ledger.forgotten
    bench.work()
    assert [outcome.id for outcome in bench.told()] == [0]


# --- the end of a scheduler ----------------------------------------------------------------------


def _lost():
    return SchedulerLost("it is gone", -9, "last words")


def test_with_the_scheduler_all_that_is_open_ends_and_kept_values_stay(bench):
    bench.admit(task(0))
    bench.work()
    (kept,) = bench.told()
    bench.admit(task(1), task(2, 1))
    bench.ledger.end(_lost)
    outcomes = bench.told()
    assert [outcome.id for outcome in outcomes] == [1, 2]
    assert all(isinstance(outcome.error(), SchedulerLost) for outcome in outcomes)
    assert isinstance(kept.value.error, SchedulerLost)
    assert bench.ledger.open == 0


def test_functions_are_told_of_again_to_a_new_scheduler(bench):
    code = wire.Code(b"d" * 16, "f", b"pickle")
    bench.ledger.code(code)
    bench.ledger.code(code)
    bench.settle()
    assert bench.said.count(code) == 1
    bench.ledger.end(_lost)
    fresh = Bench()
    fresh.ledger = bench.ledger
    fresh.connect()
    assert fresh.said.count(code) == 1


def test_what_depends_on_what_was_lost_ends_at_once(bench):
    bench.admit(task(0))
    bench.work()
    bench.ledger.end(_lost)
    bench.told()
    fresh = Bench()
    fresh.ledger = bench.ledger
    fresh.connect()
    fresh.admit(task(1, 0), task(2))
    fresh.work()
    outcomes = {outcome.id: outcome for outcome in fresh.told()}
    assert isinstance(outcomes[1].error(), ResultLost)
    assert outcomes[2].value is not None
    fresh.ledger.release([fresh.id(n) for n in range(3)])
    assert fresh.ledger.past == {}


def test_what_has_a_kept_result_in_it_needs_no_old_scheduler(bench):
    bench.admit(task(0))
    bench.work()
    bench.ledger.end(_lost)
    bench.told()
    fresh = Bench()
    fresh.ledger = bench.ledger
    fresh.connect()
    fresh.admit(SinkTask(1, "f", Call(b"call", (), Pins(), (0,)), (0,)))
    fresh.work()
    assert [outcome.error for outcome in fresh.told()] == [None]


def test_what_is_here_for_good_is_wanted_of_nobody(bench):
    bench.admit(task(0), bundle(10, 4))
    bench.work()
    told = bench.told()
    for outcome in told:
        bench.ledger.keep_here(bench.id(outcome.id))
    bench.settle()
    assert bench.known == 0
    bench.ledger.release([bench.id(outcome.id) for outcome in told])
    assert bench.ledger.past == {}


def test_an_app_that_raises_what_kernels_raise_is_told_apart(bench):
    bench.admit(task(0), task(1, 0))
    failure = wire.Failure("exception", "treadle.errors._tree.DependencyError", "of others")
    bench.work(lambda run: [wire.Failed(run.id, run.attempt, failure, 0.0)])
    assert [outcome.dependency for outcome in bench.told()] == [True, False]


def test_the_end_is_told_to_all_who_asked(bench):
    ask = bench.ledger.ask(lambda number: wire.WhoHas(number, ()))
    assert bench.ledger.end(_lost) == [ask]


# --- data ----------------------------------------------------------------------------------------


class Pins:
    def drop_data(self, ids):
        pass


def test_data_is_unused_when_the_last_task_that_names_it_is_released(bench):
    data = bench.id(DATA)
    bench.ledger.wants[data] = object()
    bench.ledger.ask(lambda n: wire.Scatter(n, (wire.DataSpec(data, "data", 10),), patient=True))
    calls = [Call(b"call", (data,), Pins()) for _ in range(2)]
    bench.admit(SinkTask(0, "f", calls[0]), SinkTask(1, "f", calls[1]))
    (submit,) = [m for m in bench.said if type(m) is wire.Submit]
    assert [t.dependencies for t in submit.tasks] == [(data,), (data,)]
    bench.ledger.release([bench.id(0)])
    assert (bench.ledger.unused, data in bench.ledger.users) == ([], True)
    bench.ledger.cancel([bench.id(1)])
    assert (bench.ledger.unused, data in bench.ledger.users) == ([data], False)


# --- bundles -------------------------------------------------------------------------------------


def _rows_told(bench):
    return sorted((outcome.id, outcome.rows) for outcome in bench.told())


def test_rows_of_a_bundle_are_told_in_parts_and_each_is_told_once(bench):
    bench.admit(bundle(100, 20))
    bench.work(in_parts(3, 4))
    told = bench.told()
    covered = [row for o in told for row in range(o.id, o.id + o.rows)]
    assert sorted(covered) == list(range(100, 120))
    assert all(outcome.value.listed for outcome in told)
    bench.ledger.release([bench.id(outcome.id) for outcome in told])
    bench.settle()
    assert (bench.known, len(bench.ledger.bundles)) == (0, 0)


def test_a_row_that_fails_is_told_alone(bench):
    bench.admit(bundle(0, 5))

    def rule(run):
        assert isinstance(run.id, int)
        told = []
        for row in range(run.id, run.id + len(run.rows)):
            if row == bench.id(2):
                told.append(wire.Failed(row, run.attempt, OOPS, 0.0))
            else:
                told.append(wire.Finished(row, run.attempt, 1, "int", 0.0))
        return told

    bench.work(rule)
    outcomes = {outcome.id: outcome for outcome in bench.told()}
    assert sorted(outcomes) == [0, 1, 2, 3, 4]
    assert [n for n in outcomes if outcomes[n].error is not None] == [2]


def test_the_rest_of_a_bundle_is_cancelled_whatever_the_scheduler_has_cut(bench):
    bench.admit(bundle(0, 64))
    bench.worker(wire.Finished(*_first_row(bench), 1, "int", 0.0))
    bench.settle()
    first = bench.told()
    assert _rows(first) == [0]
    bench.ledger.cancel([bench.id(0)])
    bench.settle()
    bench.runs = {}
    assert bench.told() == []
    # The first part is done and was told, so it is still wanted.
    assert bench.known == 1
    bench.ledger.release([bench.id(0)])
    bench.settle()
    assert (bench.known, len(bench.ledger.bundles)) == (0, 0)


def _first_row(bench):
    """Identifier and attempt of the first row of bundle 0, which a worker was given."""
    return next((id, attempt) for id, attempt in bench.runs if id == bench.id(0))


def _rows(outcomes):
    return [row for o in outcomes for row in range(o.id, o.id + o.rows)]


def test_results_that_cross_the_cancel_of_a_bundle_are_released(bench):
    bench.admit(bundle(0, 8))
    for run in list(bench.runs.values()):
        for row in range(max(1, len(run.rows))):
            bench.worker(wire.Finished(run.id + row, run.attempt, 1, "int", 0.0))
    bench.ledger.cancel([bench.id(0)])
    bench.settle()
    bench.runs = {}
    assert bench.told() == []
    assert (bench.known, len(bench.ledger.bundles)) == (0, 0)


def test_a_bundle_goes_on_after_a_lost_link(bench):
    bench.beat()
    bench.admit(bundle(0, 10))
    first = bench.runs.pop((bench.id(0), _first_row(bench)[1]))
    bench.worker(*in_parts(1)(first))
    bench.cut()
    bench.connect()
    bench.work(in_parts(4))
    assert sorted(_rows(bench.told())) == list(range(10))


def test_rows_that_were_lost_come_again_in_other_parts(bench):
    bench.admit(bundle(0, 1), task(50))
    bench.work()
    bench.told()
    ledger = bench.ledger
    ledger.admit([bundle(200, 10)])
    ledger.take()
    start = bench.id(200)
    ledger.handle([wire.Done(start, 1, "int", ("w0",), rows=10)])
    (outcome,) = bench.told()
    ledger.handle([wire.Lost(start, 10)])
    ledger.handle([wire.Done(start, 1, "int", ("w0",), rows=4)])
    ledger.handle([wire.Done(start + 4, 1, "int", ("w0",), rows=6)])
    assert outcome.value.story == ["lost", "found 4", "found 6"]
    assert bench.told() == []


def test_when_the_scheduler_is_lost_each_open_stretch_of_rows_is_told(bench):
    bench.admit(bundle(0, 10))
    bench.worker(wire.Finished(*_first_row(bench), 1, "int", 0.0))
    bench.settle()
    bench.told()
    bench.ledger.end(_lost)
    outcomes = bench.told()
    assert sorted(_rows(outcomes)) == list(range(1, 10))
    assert all(isinstance(outcome.error(), SchedulerLost) for outcome in outcomes)
