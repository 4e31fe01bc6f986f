"""What takes no slot runs at once, in a process of its own; and what wants to run elsewhere."""

from __future__ import annotations

from tests.unit.worker.harness import FAILURE, Bench, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage

RESCHEDULED = wire.Failure("rescheduled", "Reschedule", "")


# --- beside the slots ------------------------------------------------------------------------


def test_what_takes_no_slot_runs_at_once_in_a_process_of_its_own():
    bench = Bench()
    bench.begin(1)
    bench.run(2)
    bench.run(3, slots=0, rank=(9.0, 9))
    assert bench.did() == [w.StartSlot()]
    bench.slot_up()
    assert (bench.stage(2), bench.stage(3)) == (Stage.ready, Stage.fed)
    assert bench.slot_of(3) == 2
    bench.end(3)
    assert bench.stage(2) is Stage.ready, "a spare process is no slot"


def test_each_that_takes_no_slot_has_its_own_process():
    bench = Bench()
    for id in (1, 2, 3):
        bench.run(id, slots=0, ahead=True)
    assert bench.stage(1) is Stage.fed
    for _ in range(3):
        bench.slot_up()
    assert sorted(bench.slot_of(id) for id in (1, 2, 3)) == [1, 2, 3]
    assert bench.books.starting == 0
    bench.begin(4)
    assert bench.slot_of(4) == 4


def test_what_takes_no_slot_runs_though_the_worker_is_paused_or_a_turn_is_wanted():
    bench = Bench(memory_bytes=100)
    bench.begin(1)
    bench.wait_aside(1)
    bench.slot_up()
    bench.begin(2)
    bench.want_turn(1)
    bench.run(3, slots=0)
    bench.slot_up()
    assert bench.stage(3) is Stage.fed
    bench.hold(6, 99)
    bench.run(4, slots=0)
    bench.slot_up()
    assert bench.stage(4) is Stage.fed


def test_what_takes_no_slot_waits_for_no_turn():
    bench = Bench()
    bench.begin(1)
    bench.run(2, slots=0)
    bench.slot_up()
    bench.wait_aside(2)
    assert (bench.did(), bench.said(wire.Aside)) == ([], [])
    bench.want_turn(2)
    assert bench.did() == [w.GiveTurn(2, 1)]
    assert bench.worker.refused == {}


def test_an_actors_call_waits_for_no_turn():
    bench = Bench()
    bench.run(1, actor=True)
    bench.end(1)
    bench.slot_up()
    bench.begin(5)
    bench.begin(2, home=1)
    bench.wait_aside(2)
    bench.want_turn(2)
    assert (bench.did(), bench.said()) == ([w.GiveTurn(1, 1)], [])


def test_what_takes_no_slot_and_a_resource_waits_for_that():
    bench = Bench(resources=(("gpu", 1.0),))
    for id in (1, 2):
        bench.run(id, slots=0, resources=(("gpu", 1.0),))
    bench.slot_up()
    assert (bench.stage(1), bench.stage(2)) == (Stage.fed, Stage.ready)
    bench.end(1)
    assert bench.stage(2) is Stage.fed


# --- once more, elsewhere --------------------------------------------------------------------


def test_a_task_that_wants_to_be_rescheduled_is_returned():
    bench = Bench()
    bench.begin(1)
    bench.tell(w.Raised(1, 1, 1, RESCHEDULED, 0.1))
    assert bench.said() == [returned(1, "rescheduled")]
    bench.begin(2)


def test_a_row_that_wants_to_be_rescheduled_is_returned_alone():
    bench = Bench()
    bench.begin(10, rows=(b"", b"", b""))
    bench.end(10, last=False)
    bench.tell(w.Raised(1, 11, 1, RESCHEDULED, 0.1, last=False))
    assert bench.said() == [returned(11, "rescheduled")]
    bench.tell(w.Raised(1, 12, 1, FAILURE, 0.1))
    assert [type(m) for m in bench.said()] == [wire.Failed]


def test_a_call_of_an_actor_has_no_other_place_to_go():
    bench = Bench()
    bench.run(1, actor=True)
    bench.end(1)
    bench.begin(2, home=1)
    bench.tell(w.Raised(1, 2, 1, RESCHEDULED, 0.1))
    assert [type(m) for m in bench.said()] == [wire.Failed]
