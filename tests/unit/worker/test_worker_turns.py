"""What waits for other tasks goes aside, and gets its turn again."""

from __future__ import annotations

from tests.unit.worker.harness import Bench, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage


def aside(id: int, attempt: int = 1) -> wire.Aside:
    return wire.Aside((wire.Attempt(id, attempt),))


def back(id: int, attempt: int = 1) -> wire.Back:
    return wire.Back((wire.Attempt(id, attempt),))


# --- aside -----------------------------------------------------------------------------------


def test_who_waits_is_told_and_another_process_is_started_in_its_place():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    assert bench.said() == [aside(1)]
    assert bench.did() == [w.StartSlot()]
    bench.run(2)
    assert bench.stage(2) is Stage.ready
    bench.slot_up()
    assert bench.stage(2) is Stage.fed


def test_a_start_is_told_before_that_it_waits():
    bench = Bench()
    bench.run(1, ahead=True)
    bench.wait_aside(1)
    assert bench.said() == [wire.Started((wire.Attempt(1, 1),)), aside(1)]


def test_that_it_has_begun_may_be_told_after_that_it_waits():
    bench = Bench()
    bench.run(1)
    bench.wait_aside(1)
    bench.tell(w.Began(1, 1, 1))
    assert bench.worker.refused == {}


def test_what_stands_behind_who_waits_is_taken_back():
    bench = Bench()
    bench.run(1, ahead=True)
    bench.run(2, ahead=True)
    assert bench.stage(2) is Stage.fed
    bench.wait_aside(1)
    assert bench.did(w.TakeBack) == [w.TakeBack(1, 2, 1)]
    bench.run(3, ahead=True)
    assert bench.stage(3) is Stage.ready, "nothing is fed behind who waits"
    bench.tell(w.TakenBack(1, 2, 1))
    bench.slot_up()
    assert (bench.slot_of(2), bench.slot_of(3)) == (2, 2)


def test_who_waits_keeps_its_resources():
    bench = Bench(resources=(("gpu", 1.0),))
    bench.begin(1, resources=(("gpu", 1.0),))
    bench.wait_aside(1)
    bench.slot_up()
    bench.run(2, resources=(("gpu", 1.0),))
    bench.run(3)
    assert (bench.stage(2), bench.stage(3)) == (Stage.ready, Stage.fed)


def test_a_wide_task_gives_all_its_slots():
    bench = Bench(slots=2)
    slot = bench.begin(1, slots=2)
    bench.wait_aside(1)
    assert bench.did() == [w.StartSlot()]
    bench.run(2)
    bench.slot_up()
    bench.run(3)
    assert (bench.stage(2), bench.stage(3)) == (Stage.fed, Stage.fed)
    bench.want_turn(1)
    bench.end(2)
    assert bench.did(w.GiveTurn) == []
    bench.run(4)
    assert bench.stage(4) is Stage.ready, "the free slot is kept for who waits for two"
    bench.end(3)
    assert bench.did(w.GiveTurn) == [w.GiveTurn(slot, 1)]


def test_a_bundle_waits_under_its_first_rows_name():
    bench = Bench()
    bench.begin(10, rows=(b"", b"", b""))
    bench.end(10, last=False)
    bench.tell(w.WentAside(1, 10, 1))
    assert bench.said() == [aside(10)]
    bench.tell(w.WantsTurn(1, 10, 1))
    assert bench.did(w.GiveTurn) == [w.GiveTurn(1, 1)]


def test_twenty_tasks_that_wait_for_each_other_go_on_one_slot():
    bench = Bench()
    for id in range(1, 21):
        bench.begin(id)
        bench.wait_aside(id)
        assert bench.did(w.StartSlot) == [w.StartSlot()]
        bench.slot_up()
    bench.begin(21)
    bench.end(21)
    for id in range(20, 0, -1):
        bench.want_turn(id)
        assert bench.did(w.GiveTurn) == [w.GiveTurn(id, 1)]
        bench.end(id)
    assert bench.books.free_slots == 1
    assert len(bench.books.idle) == 21
    bench.wait(2 * bench.books.limits.spare_s)
    assert len(bench.did(w.KillSlot)) == 20


# --- turns -----------------------------------------------------------------------------------


def test_a_turn_is_given_at_once_while_a_slot_is_free():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.want_turn(1)
    assert bench.did(w.GiveTurn) == [w.GiveTurn(1, 1)]
    assert bench.said() == [back(1)]
    bench.run(2)
    bench.slot_up()
    assert bench.stage(2) is Stage.ready


def test_who_wants_a_turn_gets_it_before_anything_new_begins():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.run(3, rank=(-5.0, 0))
    bench.want_turn(1)
    assert (bench.did(), bench.said()) == ([], [])
    bench.end(2)
    assert bench.did() == [w.GiveTurn(1, 1)]
    assert back(1) in bench.said()
    assert bench.stage(3) is Stage.ready
    bench.end(1)
    assert bench.stage(3) is Stage.fed


def test_turns_are_given_in_the_order_they_were_asked_for():
    bench = Bench()
    for id in (1, 2, 3):
        bench.begin(id)
        bench.wait_aside(id)
        bench.slot_up()
    bench.begin(4)
    bench.want_turn(2)
    bench.want_turn(1)
    bench.want_turn(3)
    given = []
    for id in (4, 2, 1):
        bench.end(id)
        given += [c.slot for c in bench.did(w.GiveTurn)]
    assert given == [2, 1, 3]


def test_what_was_fed_ahead_makes_way_for_who_wants_a_turn():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    for id in (2, 3, 4):
        bench.run(id, ahead=True)
    bench.want_turn(1)
    assert bench.did(w.TakeBack) == [w.TakeBack(2, 3, 1), w.TakeBack(2, 4, 1)]
    bench.tell([w.TakenBack(2, 3, 1), w.TakenBack(2, 4, 1)])
    bench.run(5, ahead=True)
    assert bench.stage(5) is Stage.ready
    bench.end(2)
    assert bench.did() == [w.GiveTurn(1, 1)]
    bench.end(1)
    assert all(bench.stage(id) is Stage.fed for id in (3, 4, 5))


def test_who_is_not_aside_and_wants_a_turn_has_it():
    bench = Bench()
    bench.begin(1)
    bench.want_turn(1)
    assert (bench.did(), bench.said()) == ([w.GiveTurn(1, 1)], [])


def test_who_wants_a_turn_twice_gets_one():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.want_turn(1)
    bench.want_turn(1)
    bench.wait_aside(1)
    bench.end(2)
    assert bench.did(w.GiveTurn) == [w.GiveTurn(1, 1)]
    assert bench.worker.refused == {"wants a turn twice": 1, "is aside": 1}


def test_what_has_seceded_ends_without_a_turn():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.end(1)
    assert [type(m) for m in bench.said()] == [wire.Finished]
    assert bench.books.free_slots == 0
    bench.run(3)
    assert bench.stage(3) is Stage.ready
    bench.end(2)
    assert bench.stage(3) is Stage.fed


def test_what_a_slot_reads_before_it_can_be_taken_back_runs_over_the_count():
    bench = Bench()
    bench.run(1, ahead=True)
    bench.run(2, ahead=True)
    bench.wait_aside(1)
    bench.slot_up()
    bench.run(3, ahead=True)
    assert bench.slot_of(3) == 2
    bench.end(1)
    bench.tell(w.Began(1, 2, 1))
    assert (bench.stage(2), bench.stage(3)) == (Stage.running, Stage.fed)
    bench.run(4)
    bench.end(3)
    assert bench.stage(4) is Stage.ready, "one of the two makes up for the other"
    bench.end(2)
    assert bench.stage(4) is Stage.fed


def test_a_stopped_task_that_waits_is_killed_as_any_other():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.want_turn(1)
    bench.order(wire.Stop(1, 1))
    assert bench.said() == [returned(1, "stopped")]
    assert bench.did() == [w.KillSlot(1)]
    bench.end(2)
    assert bench.did(w.GiveTurn) == []
    bench.tell(w.SlotDown(1, None, -9, ours=True))
    assert bench.books.free_slots == 1


def test_the_death_of_a_slot_that_waits_accuses_what_it_runs():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.tell(w.SlotDown(1, wire.Attempt(1, 1), -11))
    assert bench.said() == [wire.Died(1, 1, -11)]
    assert (bench.books.free_slots, bench.books.aside) == (1, {})


def test_walltime_goes_on_while_a_task_waits():
    bench = Bench()
    bench.begin(1, walltime_s=5.0)
    bench.wait_aside(1)
    bench.slot_up()
    bench.wait(5.0)
    (failed,) = bench.said(wire.Failed)
    assert failed.failure.kind == "walltime"
    assert w.KillSlot(1) in bench.did()


def test_a_new_link_is_told_what_is_aside():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.tell(w.LinkDown(w.SCHEDULER))
    bench.tell(w.LinkUp())
    said = bench.said()
    assert isinstance(said[0], wire.Register)
    assert said[0].running == (wire.Attempt(1, 1),)
    assert said[1] == aside(1)


def test_a_reset_ends_all_processes():
    bench = Bench(slots=2)
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.order(wire.Reset("restart"))
    assert sorted(c.slot for c in bench.did(w.KillSlot)) == [1, 2, 3]
    assert bench.did(w.StartSlot) == [w.StartSlot()] * 2


def test_who_waits_while_the_worker_drains_gets_its_turn():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.order(wire.Drain())
    bench.want_turn(1)
    bench.end(2)
    assert bench.did(w.GiveTurn) == [w.GiveTurn(1, 1)]


def test_a_paused_worker_starts_what_those_that_wait_may_wait_for():
    bench = Bench(memory_bytes=100)
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.hold(6, 99)
    assert bench.books.paused
    bench.run(2)
    bench.run(3)
    assert (bench.stage(2), bench.stage(3)) == (Stage.fed, Stage.ready)


def test_the_scheduler_may_send_what_those_that_wait_for_memory_to_be_free_wait_for():
    bench = Bench(memory_bytes=100)
    bench.run(1, inputs=needs(9, nbytes=90))
    (request,) = bench.said(wire.GetData, "p1")
    bench.tell(wire.Data(request.ask, (wire.Held(9, 1, 90),)), "p1")
    assert bench.said(wire.Status)[-1].paused
    bench.wait_aside(1)
    assert not bench.said(wire.Status)[-1].paused
    bench.slot_up()
    bench.begin(2)
    assert bench.said(wire.Status)[-1].paused
    bench.end(2)
    bench.want_turn(1)
    bench.order(wire.Free(9, 1))
    bench.end(1)
    assert not bench.said(wire.Status)[-1].paused
    assert not bench.books.paused


def test_room_is_granted_over_the_budget_if_all_others_wait():
    bench = Bench(memory_bytes=100)
    bench.run(1, inputs=needs(9, nbytes=50))
    (request,) = bench.said(wire.GetData, "p1")
    bench.tell(wire.Data(request.ask, (wire.Held(9, 1, 50),)), "p1")
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.tell(w.GrantAsked(2, 2, 1, 80))
    assert bench.did(w.Grant) == [w.Grant(2, 2, 1, 80)]


# --- spare processes -------------------------------------------------------------------------


def test_a_spare_process_serves_the_next_that_waits():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.end(2)
    bench.want_turn(1)
    bench.wait_aside(1)
    assert bench.did() == []
    bench.begin(3)
    assert bench.slot_of(3) == 2


def test_a_process_is_spare_only_if_it_was_all_the_time():
    bench = Bench()
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.want_turn(1)
    spare_s = bench.books.limits.spare_s
    bench.wait(spare_s * 0.9)
    bench.wait_aside(1)
    bench.want_turn(1)
    bench.wait(spare_s * 0.9)
    assert bench.did(w.KillSlot) == []
    bench.wait(spare_s)
    assert bench.did(w.KillSlot) == [w.KillSlot(2)]


def test_as_many_processes_are_spare_as_were_all_the_time():
    bench = Bench()
    for id in (1, 2):
        bench.begin(id)
        bench.wait_aside(id)
        bench.slot_up()
    ended = w.Ended(2, 2, 1, 10, "int", 0.5)
    bench.tell([w.WantsTurn(2, 2, 1), ended, w.WantsTurn(1, 1, 1)])
    spare_s = bench.books.limits.spare_s
    bench.wait(spare_s / 2)
    bench.wait_aside(1)
    bench.want_turn(1)
    bench.wait(spare_s / 2)
    assert len(bench.did(w.KillSlot)) == 1
    bench.wait(spare_s)
    assert len(bench.did(w.KillSlot)) == 1


# --- too many --------------------------------------------------------------------------------


def test_one_more_that_waits_than_there_may_be_fails():
    bench = Bench(limits={"beside": 2})
    for id in (1, 2):
        bench.begin(id)
        bench.wait_aside(id)
        bench.slot_up()
    bench.begin(3)
    bench.wait_aside(3)
    (failed,) = bench.said(wire.Failed)
    assert (failed.id, failed.failure.kind, failed.final) == (3, "unfit", True)
    assert "3 tasks that wait for others" in failed.failure.text
    assert w.KillSlot(3) in bench.did()


def test_who_takes_the_turn_of_another_that_waits_makes_none_too_many():
    bench = Bench(limits={"beside": 2})
    for id in (1, 2):
        bench.begin(id)
        bench.wait_aside(id)
        bench.slot_up()
    bench.begin(3)
    bench.want_turn(1)
    bench.wait_aside(3)
    assert bench.said() == [aside(3), back(1)]


def test_if_no_process_can_be_started_the_newest_of_those_that_wait_fails():
    bench = Bench()
    for id in (1, 2):
        bench.begin(id)
        bench.wait_aside(id)
        if id == 1:
            bench.slot_up()
    failed: list[wire.Failed] = []
    for number in range(10, 20):
        bench.tell(w.SlotDown(number, None, 71))
        failed += bench.said(wire.Failed)
        if failed:
            break
        bench.wait(bench.books.limits.restart_max_s)
    assert [m.id for m in failed] == [2]
    assert "no process can be started" in failed[0].failure.text
    assert bench.did(w.KillSlot) == [w.KillSlot(2)]
    bench.tell(w.SlotDown(2, None, -9, ours=True))
    bench.wait(bench.books.limits.restart_s)
    assert bench.did(w.StartSlot) == [w.StartSlot()]
