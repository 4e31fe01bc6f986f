"""A worker that is to go: what it returns, what it finishes, and when it ends."""

from __future__ import annotations

import pytest

from tests.unit.worker.harness import Bench, asked, held, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage


@pytest.mark.parametrize("ask", [wire.Drain(), w.DrainAsked("preempted", 30.0)])
def test_what_has_not_begun_is_returned_and_nothing_new_is_begun(ask):
    bench = Bench()
    bench.begin(1)
    bench.run(2)
    bench.run(3, inputs=needs(9))
    bench.order(ask) if isinstance(ask, wire.Message) else bench.tell(ask)
    assert bench.said(wire.Returned) == [returned(2, "drained"), returned(3, "drained")]
    bench.run(4)
    assert bench.said() == [returned(4, "drained")]
    bench.end(1)
    assert [m.id for m in bench.said(wire.Finished)] == [1]
    assert bench.did() == []


def test_what_is_fed_is_taken_back_unless_it_has_begun():
    bench = Bench()
    bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.run(3, ahead=True)
    bench.order(wire.Drain())
    assert bench.did() == [w.TakeBack(1, 2, 1), w.TakeBack(1, 3, 1)]
    bench.end(1)
    bench.tell(w.Began(1, 2, 1))
    bench.tell(w.TakenBack(1, 3, 1))
    assert bench.said() == [returned(3, "drained")]
    bench.end(2)
    assert [m.id for m in bench.said(wire.Finished)] == [2]


def test_a_dead_slot_is_not_replaced():
    bench = Bench()
    slot = bench.begin(1)
    bench.order(wire.Drain())
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -11))
    assert bench.did() == []
    assert bench.said() == [wire.Died(1, 1, -11)]


def test_data_is_served_to_the_end_but_no_longer_fetched():
    bench = Bench()
    bench.hold(5)
    bench.order(wire.Fetch(11, 1, 10, ("p1",)))
    ask, _ = asked(bench, "p1")
    bench.order(wire.Drain())
    assert bench.said() == [wire.NotFetched(11, 1, ())]
    bench.tell(wire.Data(ask, held(11)), "p1")
    assert bench.did() == [w.Discard(11, 1)]
    bench.order(wire.Fetch(12, 1, 10, ("p1",)))
    assert bench.said() == [wire.NotFetched(12, 1, ())]
    bench.tell(wire.GetData(1, (wire.Attempt(5, 0),)), "p2")
    assert bench.said(to="p2") == [wire.Data(1, held(5, attempt=0))]


def test_it_says_that_it_must_leave_and_again_on_a_new_link():
    bench = Bench()
    bench.tell(w.DrainAsked("the block ends", 30.0))
    assert bench.said() == [wire.Leaving("the block ends", 30.0)]
    bench.now += 10
    bench.tell(w.LinkUp())
    assert bench.said(wire.Leaving) == [wire.Leaving("the block ends", 20.0)]


def test_when_the_grace_is_over_what_still_runs_is_ended():
    bench = Bench()
    slot = bench.begin(1)
    bench.tell(w.DrainAsked("the block ends", 5.0))
    bench.wait(4.9)
    assert bench.stage(1) is Stage.running
    bench.wait(0.2)
    assert bench.said(wire.Returned) == [returned(1, "drained")]
    assert bench.did(w.KillSlot) == [w.KillSlot(slot)]


def test_a_shorter_grace_counts_and_a_longer_one_does_not():
    bench = Bench()
    bench.begin(1)
    bench.tell(w.DrainAsked("", 50.0))
    bench.tell(w.DrainAsked("", 5.0))
    bench.tell(w.DrainAsked("", 500.0))
    bench.wait(6.0)
    assert bench.stage(1) is None


def test_it_asks_to_leave_in_time_before_its_block_ends():
    bench = Bench(ends_in_s=100.0)
    bench.begin(1)
    bench.wait(89.0)
    assert bench.said(wire.Leaving) == []
    bench.wait(2.0)
    (leaving,) = bench.said(wire.Leaving)
    assert leaving == wire.Leaving("its block ends", pytest.approx(10.0))
    assert bench.stage(1) is Stage.running
    bench.wait(10.0)
    assert bench.said(wire.Returned) == [returned(1, "drained")]


def test_before_the_end_of_a_long_block_a_minute_is_enough():
    bench = Bench(ends_in_s=36000.0)
    bench.wait(36000.0 - 61.0)
    assert bench.said(wire.Leaving) == []
    bench.wait(1.5)
    assert bench.said(wire.Leaving) == [wire.Leaving("its block ends", pytest.approx(60.0, abs=1))]


def test_a_drain_by_order_has_no_end():
    bench = Bench()
    bench.begin(1)
    bench.order(wire.Drain())
    bench.wait(100.0)
    assert bench.stage(1) is Stage.running


def test_it_departs_when_it_is_told_to():
    bench = Bench(slots=2)
    bench.begin(1)
    bench.order(wire.Drain())
    bench.order(wire.Depart())
    assert bench.said() == [returned(1, "drained")]
    assert (
        bench.did(w.KillSlot) == [w.KillSlot(1), w.KillSlot(2)] or len(bench.did(w.KillSlot)) == 2
    )
    assert bench.did(w.Exit) == [w.Exit()]
    assert bench.run(2) == []
    assert bench.worker.wake_at is None


def test_an_actor_goes_on_answering_while_the_worker_drains():
    bench = Bench()
    bench.run(1, actor=True)
    slot = bench.slot_of(1)
    bench.tell(w.Began(slot, 1, 1))
    bench.end(1)
    bench.run(10, home=1)
    bench.tell(w.Began(slot, 10, 1))
    bench.run(11, home=1)
    bench.order(wire.Drain())
    assert bench.said() == []
    bench.end(10, slot=slot)
    assert bench.slot_of(11) == slot
    bench.run(12, home=1)
    bench.run(2)
    assert bench.said() == [returned(2, "drained")]
    assert bench.stage(12) is Stage.ready


def test_who_was_told_to_drain_says_so_on_a_new_link():
    bench = Bench()
    bench.order(wire.Drain())
    bench.tell(w.LinkDown(w.SCHEDULER))
    bench.tell(w.LinkUp())
    (leaving,) = bench.said(wire.Leaving)
    assert leaving.why == "it was told to drain"


def test_a_reset_ends_a_drain_by_order_but_not_our_own():
    bench = Bench()
    bench.order(wire.Drain())
    bench.order(wire.Reset(""))
    bench.slot_up()
    bench.run(1)
    assert bench.stage(1) is Stage.fed
    bench = Bench()
    bench.tell(w.DrainAsked("", 9.0))
    bench.order(wire.Reset(""))
    bench.run(1)
    assert bench.stage(1) is None
