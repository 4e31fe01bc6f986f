"""The link to the scheduler: what is told, told again, and answered when it is told twice."""

from __future__ import annotations

from tests.unit.worker.harness import Bench, has, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker import SCHEDULER, SHELL, _link
from treadle.worker._job import Stage


def relink(bench: Bench) -> wire.Register:
    bench.tell(w.LinkUp())
    (register,) = bench.said(wire.Register)
    return register


def test_a_worker_says_who_it_is():
    bench = Bench(
        link=False,
        slots=3,
        resources=(("gpu", 2.0),),
        memory_bytes=100,
        block="b",
        ends_in_s=60.0,
    )
    bench.tell(w.Tick())
    bench.now += 10
    register = relink(bench)
    assert register == wire.Register("me", 7, "here", 3, (("gpu", 2.0),), 100, "b", 50.0, number=1)
    assert relink(bench).number == 2


def test_it_says_all_that_it_holds_runs_and_has_queued():
    bench = Bench()
    bench.hold(5)
    bench.begin(1)
    bench.run(2)
    bench.run(3, inputs=needs(9))
    register = relink(bench)
    assert [each.id for each in register.holds] == [5]
    assert register.running == (wire.Attempt(1, 1),)
    assert register.queued == (wire.Attempt(2, 1), wire.Attempt(3, 1))


def test_outcomes_of_the_time_without_a_link_are_told_with_the_next():
    bench = Bench()
    bench.begin(1)
    bench.tell(w.LinkDown(SCHEDULER))
    bench.end(1)
    assert bench.said() == []
    assert [outcome.id for outcome in relink(bench).ended] == [1]


def test_without_a_link_it_goes_on():
    bench = Bench()
    bench.begin(1)
    bench.run(2)
    bench.tell(w.LinkDown(SCHEDULER))
    bench.end(1)
    assert bench.stage(2) is Stage.fed


def test_an_outcome_is_kept_until_a_later_beat_is_acknowledged():
    bench = Bench()
    bench.begin(1)
    bench.wait(1.0)
    (beat,) = bench.said(wire.Beat)
    bench.end(1)
    bench.order(wire.Beaten(beat.number))
    assert [outcome.id for outcome in relink(bench).ended] == [1]
    bench.order(wire.Registered(1.0, 10.0))
    bench.wait(1.0)
    bench.order(wire.Beaten(bench.said(wire.Beat)[0].number))
    assert relink(bench).ended == ()


def test_beats_come_as_often_as_asked_and_tell_all_jobs():
    bench = Bench()
    bench.begin(1)
    bench.run(2)
    bench.wait(5.5)
    beats = bench.said(wire.Beat)
    assert [beat.number for beat in beats] == [1, 2, 3, 4, 5]
    assert beats[0].attempts == (wire.Attempt(1, 1), wire.Attempt(2, 1))


def test_no_beat_before_the_worker_is_registered():
    bench = Bench(link=False)
    bench.tell(w.LinkUp())
    bench.wait(10.0)
    assert bench.said(wire.Beat) == []
    bench.order(wire.Registered(1.0, 10.0))
    bench.tell(w.LinkDown(SCHEDULER))
    bench.wait(10.0)
    assert bench.said() == []
    assert bench.worker.wake_at is None


def test_after_a_long_sleep_there_is_one_beat():
    bench = Bench()
    bench.now += 1000
    bench.tell(w.Tick())
    assert len(bench.said(wire.Beat)) == 1


def test_a_beat_tells_how_the_memory_is_if_it_has_changed():
    bench = Bench()
    bench.hold(1, 33)
    bench.wait(2.0)
    assert [type(m) for m in bench.said()] == [wire.Status, wire.Beat, wire.Beat]
    assert bench.said(wire.Status) == [wire.Status(33)]


# --- told twice --------------------------------------------------------------------------------


def test_what_is_queued_or_runs_is_not_run_twice():
    bench = Bench()
    bench.run(1)
    bench.run(1)
    assert (bench.did(), bench.said()) == ([], [])
    bench.tell(w.Began(1, 1, 1))
    bench.run(1)
    assert bench.said() == [wire.Started((wire.Attempt(1, 1),))]


def test_what_has_ended_is_told_again():
    bench = Bench()
    bench.begin(1)
    bench.raises(1)
    bench.run(1)
    assert [type(m) for m in bench.said()] == [wire.Failed]
    assert bench.did() == []


def test_what_is_held_is_told_again_even_if_the_outcome_is_forgotten():
    bench = Bench()
    bench.begin(1)
    bench.end(1, nbytes=5)
    bench.wait(1.0)
    bench.order(wire.Beaten(bench.books.beats))
    bench.run(1)
    assert bench.said() == [wire.Finished(1, 1, 5, "int", 0.0)]


def test_all_pieces_of_a_bundle_are_told_again():
    bench = Bench()
    rows = (b"",) * 4
    slot = bench.begin(10, rows=rows)
    bench.end(10, slot=slot, rows=1, last=False)
    bench.tell(w.SlotDown(slot, wire.Attempt(12, 1), -11))
    bench.run(10, rows=rows)
    assert [(type(m).__name__, m.id, m.rows) for m in bench.said()] == [
        ("Finished", 10, 1),
        ("Returned", 11, 1),
        ("Died", 12, 1),
        ("Returned", 13, 1),
    ]


def test_rows_of_which_nothing_is_known_any_longer_are_returned():
    bench = Bench()
    rows = (b"",) * 4
    slot = bench.begin(10, rows=rows)
    bench.end(10, slot=slot, rows=1, last=False)
    bench.tell(w.Raised(slot, 11, 1, wire.Failure("exception", "E", ""), 0.1, rows=3, last=True))
    bench.wait(1.0)
    bench.order(wire.Beaten(bench.books.beats))
    bench.run(10, rows=rows)
    assert [(type(m).__name__, m.id, m.rows) for m in bench.said()] == [
        ("Finished", 10, 1),
        ("Returned", 11, 3),
    ]


def test_an_older_attempt_changes_nothing():
    bench = Bench()
    bench.begin(1, 2)
    bench.run(1, 1)
    assert (bench.did(), bench.said()) == ([], [])
    bench.end(1, 2)
    bench.run(1, 1)
    assert (bench.did(), bench.said()) == ([], [])
    bench.wait(1.0)
    bench.order(wire.Beaten(bench.books.beats))
    bench.run(1, 1)
    assert (bench.did(), bench.said()) == ([], [])
    assert bench.worker.refused["old attempt"] == 3


def test_a_newer_attempt_ends_the_older():
    bench = Bench()
    slot = bench.begin(1)
    bench.run(1, 2)
    assert bench.said() == [returned(1, "stopped")]
    assert bench.did() == [w.KillSlot(slot), w.StartSlot()]
    bench.tell(w.SlotDown(slot, None, -9, ours=True))
    bench.slot_up()
    assert [c.run.attempt for c in bench.did(w.Feed)] == [2]


def test_a_late_stop_does_not_make_it_forget_a_newer_outcome():
    bench = Bench()
    bench.begin(1, 2)
    bench.end(1, 2)
    bench.order(wire.Stop(1, 1))
    assert bench.said() == [returned(1, "unknown")]
    assert [outcome.attempt for outcome in relink(bench).ended] == [2]


def test_a_row_that_is_run_by_itself_is_not_forgotten_for_the_bundle_it_was_of():
    bench = Bench(slots=2)
    slot = bench.begin(10, rows=(b"",) * 3)
    bench.begin(11, 2)
    bench.end(11, 2)
    bench.end(10, slot=slot, last=False)
    bench.end(11, slot=slot, last=False)
    assert [(m.id, m.attempt) for m in bench.said()] == [(11, 1)]
    assert (11, 2) in [(outcome.id, outcome.attempt) for outcome in relink(bench).ended]


def test_what_is_freed_is_not_held_though_it_is_still_used():
    bench = Bench()
    bench.hold(5)
    bench.begin(1, inputs=has(5))
    bench.order(wire.Free(5, 0))
    assert relink(bench).holds == ()


def test_a_free_of_another_attempt_changes_nothing():
    bench = Bench()
    bench.begin(1, 2)
    bench.end(1, 2)
    bench.order(wire.Free(1, 1))
    assert bench.did() == []


# --- reset, refusals ---------------------------------------------------------------------------


def test_a_reset_ends_and_drops_everything():
    bench = Bench(slots=2)
    bench.hold(5)
    slot = bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.run(3, ahead=True)
    bench.run(4, inputs=needs(9))
    bench.order(wire.Reset("lost"))
    (register,) = bench.said()
    assert (register.holds, register.running, register.queued, register.ended) == ((),) * 4
    assert w.KillSlot(slot) in bench.did()
    assert w.Discard(5, 0) in bench.did()
    assert (bench.books.jobs, bench.books.store, bench.books.told) == ({}, {}, {})
    bench.run(1, 2)
    assert bench.stage(1) is not None


def test_who_may_not_say_a_thing_is_refused_and_counted():
    bench = Bench()
    bench.tell(wire.Run(1, 1, b""), "p1")
    bench.tell(wire.Stop(1, 1), SHELL)
    bench.tell(w.SlotUp(9), SCHEDULER)
    bench.tell(wire.Data(1, ()), SCHEDULER)
    bench.tell(wire.GetData(1, ()), "me")
    assert (bench.stage(1), bench.last) == (None, [])
    assert sum(bench.worker.refused.values()) == 5
    assert bench.worker.refused["Run from a worker"] == 1


def test_what_is_unknown_is_counted():
    bench = Bench()
    for event in (
        w.Began(9, 1, 1),
        w.Ended(9, 1, 1, 1, "", 0.1),
        w.Raised(9, 1, 1, wire.Failure("exception", "", ""), 0.1),
        w.TakenBack(1, 1, 1),
        w.GrantAsked(1, 1, 1, 5),
        w.SlotDown(9, None, 1),
        w.SlotUp(1),
        w.Spilled(1, 1),
        w.Restored(1, 1),
        w.NotSpilled(1, 1, ""),
        w.NotRestored(1, 1, ""),
        w.Sent("p1", 1),
    ):
        before = sum(bench.worker.refused.values())
        bench.tell(event)
        assert sum(bench.worker.refused.values()) == before + 1, event
    before = sum(bench.worker.refused.values())
    bench.order(wire.Free(1, 1), wire.Beaten(99))
    bench.tell([wire.Data(5, ()), wire.Busy(5)], "p1")
    assert sum(bench.worker.refused.values()) == before + 4


def test_time_does_not_run_backwards():
    bench = Bench()
    bench.now -= 50
    bench.tell(w.Tick())
    assert bench.books.now == 100.0


def test_more_than_a_message_may_hold_is_told_in_several(monkeypatch):
    monkeypatch.setattr(_link, "MAX_ITEMS", 3)
    bench = Bench()
    for id in range(5):
        bench.hold(id)
    for id in range(10, 15):
        bench.begin(id)
        bench.raises(id)
    bench.tell(w.LinkUp())
    register, holding, *rest = bench.said()
    assert (len(register.holds), len(holding.objects), len(register.ended)) == (3, 2, 3)
    assert [type(m) for m in rest[:2]] == [wire.Failed] * 2
