"""What slots say, as what the machine hears."""

from __future__ import annotations

import pytest

from tests.unit.cluster.agent_fakes import Store, run, slot
from treadle import wire, worker
from treadle.cluster._agent_reports import Reports
from treadle.cluster._packets import Asked, Raised, Ready, Returned, Worn
from treadle.wire import Failure, Spot

SPOT = Spot(1, 2, 0, 100)
FAILURE = Failure("exception", "ValueError", "no")


class Bench:
    def __init__(self):
        self.store = Store()
        self.rows = {}
        self.warnings = []
        self.printed = []
        self.slot = slot()
        self.slot.ready = True
        self.reports = Reports(
            self.store,
            self.rows,
            self.warnings.append,
            lambda slot, run, id, grown: self.printed.append((run.id, id, grown)),
        )

    def feed(self, order):
        self.slot.fed[order.attempt] = order

    def say(self, *packets):
        return self.reports.events(self.slot, packets)


@pytest.fixture
def bench():
    return Bench()


def test_a_small_result_is_kept_and_told_inline(bench):
    bench.feed(run(5, 2))
    (ended,) = bench.say(Returned(5, 2, 3, "int", 0.5, 7, b"abc"))
    assert ended == worker.Ended(1, 5, 2, 3, "int", 0.5, 7, b"abc", 1, True)
    assert bench.store.objects == {(5, 2): b"abc"}
    assert bench.slot.fed == {}


def test_a_large_result_is_committed_where_it_was_granted(bench):
    bench.feed(run(5, 2))
    assert bench.say(Asked(5, 2, 100)) == [worker.GrantAsked(1, 5, 2, 100)]
    bench.slot.spot = SPOT
    (ended,) = bench.say(Returned(5, 2, 100, "ndarray", 0.5))
    assert ended.inline is None
    assert bench.store.objects == {(5, 2): SPOT}
    assert bench.slot.spot is None


def test_a_large_result_that_nobody_granted_ends_the_slot(bench):
    bench.feed(run(5, 2))
    assert bench.say(Returned(5, 2, 100, "ndarray", 0.5)) == []
    assert bench.slot.doomed
    assert not bench.slot.ours


def test_more_than_was_granted_ends_the_slot(bench):
    bench.feed(run(5, 2))
    bench.slot.spot = SPOT
    assert bench.say(Returned(5, 2, 101, "ndarray", 0.5)) == []
    assert bench.slot.doomed


def test_what_was_granted_and_not_written_is_free_again(bench):
    bench.feed(run(5, 2))
    bench.slot.spot = SPOT
    (raised,) = bench.say(Raised(5, 2, FAILURE, 0.5, final=True))
    assert raised == worker.Raised(1, 5, 2, FAILURE, 0.5, True, 1, True)
    assert bench.store.log == [("abandon", SPOT)]
    assert bench.slot.fed == {}


def test_an_actor_stays_in_its_slot(bench):
    bench.feed(run(5, 2, actor=True))
    (ended,) = bench.say(Returned(5, 2, 0, "Counter", 0.1))
    assert ended.nbytes == 0
    assert bench.store.objects == {}
    assert not bench.slot.doomed


def test_rows_of_a_bundle_come_by_and_by(bench):
    bench.feed(run(10, 2, rows=(b"", b"", b"")))
    first, second = bench.say(
        Returned(10, 2, 3, "int", 0.1, 0, b"abc", 2, False),
        Raised(12, 2, FAILURE, 0.1),
    )
    assert (first.id, first.rows, first.last) == (10, 2, False)
    assert (second.id, second.rows, second.last) == (12, 1, True)
    assert bench.rows == {(10, 2): 2}
    assert bench.slot.fed == {}


def test_a_slot_is_up_once(bench):
    bench.slot.ready = False
    assert bench.say(Ready(99, "a thread is left")) == [worker.SlotUp(1)]
    assert bench.say(Ready(99)) == []
    assert bench.warnings == ["a thread is left"]


def test_a_worn_slot_is_ended_by_our_hand(bench):
    assert bench.say(Worn("it has changed its user")) == []
    assert bench.slot.doomed
    assert bench.slot.ours


def test_what_a_task_has_printed_is_noted_with_its_row(bench):
    bench.feed(run(10, 2, rows=(b"", b"")))
    bench.say(Returned(10, 2, 3, "int", 0.1, 0, b"abc", 1, False, (5, 0)))
    bench.say(Raised(11, 2, FAILURE, 0.1, False, True, (0, 7)))
    assert bench.printed == [(10, 10, (5, 0)), (10, 11, (0, 7))]


def test_words_about_a_task_that_was_not_given_are_passed_on_for_the_machine_to_refuse(bench):
    machine = worker.Worker("w", 1, host="h", slots=1)
    events = bench.say(Returned(5, 2, 3, "int", 0.5, 0, b"abc"))
    commands = machine.handle([worker.SlotUp(1), *events], source=worker.SHELL, now=1.0)
    assert worker.Discard(5, 2) in commands
    assert not [c for c in commands if isinstance(c, worker.Send)]


def test_a_spot_of_another_process_is_never_taken_from_a_report(bench):
    """A report has no place for one: only what was granted is committed."""
    assert "spot" not in Returned.__struct_fields__
    assert isinstance(SPOT, wire.Spot)
