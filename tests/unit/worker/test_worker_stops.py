"""Jobs are stopped, take too long, die; slots end and are replaced."""

from __future__ import annotations

from tests.unit.worker.harness import Bench, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage


def test_a_ready_job_is_returned_at_once():
    bench = Bench()
    bench.begin(1)
    bench.run(2)
    bench.order(wire.Stop(2, 1))
    assert bench.said() == [returned(2, "stopped")]
    bench.end(1)
    assert bench.did(w.Feed) == []


def test_a_running_job_is_killed_and_a_new_slot_started():
    bench = Bench()
    slot = bench.begin(1)
    bench.order(wire.Stop(1, 1))
    assert bench.did() == [w.KillSlot(slot), w.StartSlot()]
    assert bench.said() == [returned(1, "stopped")]
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -9, ours=True))
    assert bench.said() == []


def test_what_a_killed_slot_takes_is_taken_until_it_is_dead():
    bench = Bench(resources=(("gpu", 1.0),))
    slot = bench.begin(1, resources=(("gpu", 1.0),))
    bench.order(wire.Stop(1, 1))
    bench.run(2, resources=(("gpu", 1.0),))
    bench.slot_up()
    assert bench.stage(2) is Stage.ready
    bench.tell(w.SlotDown(slot, None, -9, ours=True))
    assert bench.stage(2) is Stage.fed


def test_a_result_that_comes_after_the_stop_is_forgotten():
    bench = Bench()
    slot = bench.begin(1)
    bench.order(wire.Stop(1, 1))
    bench.end(1, slot=slot)
    assert bench.said() == []
    assert bench.did(w.Discard) == [w.Discard(1, 1)]


def test_an_outcome_that_came_first_is_the_answer():
    bench = Bench()
    bench.begin(1)
    bench.end(1)
    bench.order(wire.Stop(1, 1))
    assert [type(m) for m in bench.said()] == [wire.Finished]


def test_a_stop_of_what_is_unknown_is_answered():
    bench = Bench()
    bench.order(wire.Stop(1, 1))
    assert bench.said() == [returned(1, "unknown")]


def test_a_fed_job_is_taken_back_or_killed_when_it_has_begun():
    for read_first in (False, True):
        bench = Bench()
        bench.begin(1, ahead=True)
        bench.run(2, ahead=True)
        bench.order(wire.Stop(2, 1))
        assert bench.did() == [w.TakeBack(1, 2, 1)]
        assert bench.said() == [returned(2, "stopped")]
        bench.end(1)
        if read_first:
            bench.tell(w.Began(1, 2, 1))
            assert bench.did() == [w.KillSlot(1), w.StartSlot()]
        else:
            bench.tell(w.TakenBack(1, 2, 1))
            assert bench.did() == []
        assert bench.said() == []


def test_a_slot_that_dies_accuses_what_it_ran_and_the_rest_goes_back():
    bench = Bench()
    slot = bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -11))
    assert bench.said() == [wire.Died(1, 1, -11)]
    assert bench.stage(2) is Stage.ready
    bench.slot_up()
    assert bench.stage(2) is Stage.fed


def test_what_is_accused_may_have_been_read_without_a_word():
    bench = Bench()
    bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.tell(w.SlotDown(1, wire.Attempt(2, 1), -11))
    assert bench.said() == [returned(1, "slot"), wire.Died(2, 1, -11)]


def test_a_slot_that_ends_by_our_hand_accuses_nobody():
    bench = Bench()
    slot = bench.begin(1)
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -9, ours=True))
    assert bench.said() == [returned(1, "slot")]


def test_a_slot_that_died_between_two_attempts_accuses_nobody():
    bench = Bench()
    slot = bench.begin(1)
    bench.tell(w.SlotDown(slot, None, 1))
    assert bench.said() == [returned(1, "slot")]


def test_a_dead_slot_is_replaced():
    bench = Bench(slots=2)
    slot = bench.begin(1)
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -11))
    assert bench.did(w.StartSlot) == [w.StartSlot()]


def test_slots_that_die_at_their_start_are_replaced_ever_more_slowly():
    bench = Bench(link=False, limits={"restarts": 99})
    bench.tell(w.Tick())
    waits = []
    for _ in range(12):
        bench.tell(w.SlotDown(99, None, 1))
        assert bench.did(w.StartSlot) == []
        assert bench.worker.wake_at is not None
        waits.append(round(bench.worker.wake_at - bench.now, 3))
        bench.wait(waits[-1])
        assert bench.did(w.StartSlot) == [w.StartSlot()]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-1] == 30.0


def test_idle_slots_that_die_are_replaced_slowly_too_until_one_works():
    bench = Bench()
    bench.tell(w.SlotDown(1, None, 1))
    assert bench.did(w.StartSlot) == []
    bench.wait(0.2)
    bench.slot_up()
    bench.begin(1)
    bench.tell(w.SlotDown(2, wire.Attempt(1, 1), 1))
    assert bench.did(w.StartSlot) == [w.StartSlot()]


def test_a_worker_whose_slots_never_come_up_asks_to_leave():
    bench = Bench(limits={"restarts": 3})
    bench.begin(1)
    bench.run(2)
    bench.tell(w.SlotDown(1, wire.Attempt(1, 1), 1))
    for _ in range(3):
        bench.wait(10.0)
        bench.tell(w.SlotDown(99, None, 1))
    assert returned(2, "drained") in bench.said()
    (leaving,) = bench.said(wire.Leaving)
    assert "die when they start" in leaving.why


def test_a_slot_too_many_is_killed_after_a_while():
    bench = Bench()
    bench.tell(w.SlotUp(5))
    assert bench.did() == []
    bench.wait(bench.books.limits.spare_s)
    assert [type(c) for c in bench.did()] == [w.KillSlot]


def test_an_end_of_another_attempt_changes_nothing():
    bench = Bench()
    slot = bench.begin(1, 2)
    bench.end(1, 1, slot=slot)
    assert (bench.said(), bench.did()) == ([], [w.Discard(1, 1)])
    assert bench.stage(1) is Stage.running


# --- walltime ----------------------------------------------------------------------------------


def test_what_takes_too_long_fails_for_good():
    bench = Bench()
    slot = bench.begin(1, walltime_s=2.0)
    bench.wait(1.9)
    assert bench.did(w.KillSlot) == []
    bench.wait(0.2)
    assert bench.did(w.KillSlot) == [w.KillSlot(slot)]
    (failed,) = bench.said(wire.Failed)
    assert (failed.final, failed.failure.kind) == (True, "walltime")
    assert "2 s" in failed.failure.text


def test_a_tick_is_wanted_when_a_walltime_is_over():
    bench = Bench()
    bench.begin(1, walltime_s=0.25)
    assert bench.worker.wake_at == bench.now + 0.25


def test_a_walltime_counts_from_the_beginning():
    bench = Bench()
    bench.begin(1)
    bench.run(2, walltime_s=1.0)
    bench.wait(5.0)
    bench.end(1)
    bench.tell(w.Began(1, 2, 1))
    bench.wait(0.5)
    assert bench.did(w.KillSlot) == []


# --- bundles -----------------------------------------------------------------------------------


def bundle(bench: Bench, rows: int = 5, id: int = 10) -> int:
    return bench.begin(id, rows=tuple(b"r" for _ in range(rows)))


def test_a_bundle_is_told_in_pieces():
    bench = Bench()
    slot = bundle(bench)
    bench.end(10, rows=2, last=False, slot=slot)
    assert [(m.id, m.rows) for m in bench.said(wire.Finished)] == [(10, 2)]
    bench.tell(w.Raised(slot, 12, 1, wire.Failure("exception", "E", ""), 0.1, last=False))
    assert [(m.id, m.rows) for m in bench.said(wire.Failed)] == [(12, 1)]
    bench.end(13, rows=2, slot=slot)
    assert [(m.id, m.rows) for m in bench.said(wire.Finished)] == [(13, 2)]
    assert bench.stage(10) is None
    assert sorted(bench.books.store) == [(10, 1), (13, 1)]


def test_a_death_in_a_bundle_accuses_one_row():
    bench = Bench()
    slot = bundle(bench)
    bench.end(10, rows=2, last=False, slot=slot)
    bench.tell(w.SlotDown(slot, wire.Attempt(12, 1), -11))
    assert bench.said() == [wire.Died(12, 1, -11), returned(13, "slot", rows=2)]


def test_rows_that_were_not_told_before_a_death_go_back():
    bench = Bench()
    slot = bundle(bench)
    bench.tell(w.SlotDown(slot, wire.Attempt(12, 1), -11))
    assert bench.said() == [
        returned(10, "slot", rows=2),
        wire.Died(12, 1, -11),
        returned(13, "slot", rows=2),
    ]


def test_the_last_row_of_a_bundle_may_die():
    bench = Bench()
    slot = bundle(bench)
    bench.end(10, rows=4, last=False, slot=slot)
    bench.tell(w.SlotDown(slot, wire.Attempt(14, 1), -11))
    assert bench.said() == [wire.Died(14, 1, -11)]


def test_a_bundle_is_stopped_as_a_whole_by_any_of_its_rows():
    for row in (10, 11, 14):
        bench = Bench()
        slot = bundle(bench)
        bench.end(10, last=False, slot=slot)
        bench.order(wire.Stop(row, 1))
        assert bench.said() == [returned(11, "stopped", rows=4)]
        assert bench.did(w.KillSlot) == [w.KillSlot(slot)]


def test_a_row_that_takes_too_long_fails_and_the_rest_goes_back():
    bench = Bench()
    slot = bench.begin(10, rows=(b"",) * 3, walltime_s=1.0)
    bench.wait(0.7)
    bench.end(10, last=False, slot=slot)
    bench.wait(0.7)
    assert bench.did(w.KillSlot) == []
    bench.wait(0.7)
    (failed,) = bench.said(wire.Failed)
    assert (failed.id, failed.rows) == (11, 1)
    assert bench.said(wire.Returned) == [returned(12, "slot")]


def test_a_row_is_told_once():
    bench = Bench()
    slot = bundle(bench)
    bench.end(10, rows=2, last=False, slot=slot)
    bench.end(10, rows=1, last=False, slot=slot)
    assert bench.said() == []
    bench.end(12, rows=99, slot=slot)
    assert [(m.id, m.rows) for m in bench.said(wire.Finished)] == [(12, 3)]


def test_what_a_bundle_has_not_told_at_its_end_goes_back():
    bench = Bench()
    slot = bundle(bench)
    bench.end(12, rows=1, last=True, slot=slot)
    assert [(m.id, m.rows) for m in bench.said()] == [(10, 2), (12, 1), (13, 2)]
