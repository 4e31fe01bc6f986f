"""Actors: a process of their own, calls in order, and what is lost with them."""

from __future__ import annotations

from tests.unit.worker.harness import Bench, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage
from treadle.worker._replica import Place


def make(bench: Bench, id: int = 1, **options: object) -> int:
    """An actor that lives; its slot."""
    bench.run(id, actor=True, **options)
    slot = bench.slot_of(id)
    bench.tell(w.Began(slot, id, 1))
    if bench.books.starting:
        bench.slot_up()
    bench.end(id)
    return slot


def call(bench: Bench, id: int, actor: int = 1, **options: object) -> None:
    bench.run(id, home=actor, **options)


def test_an_actor_has_a_slot_beside_the_others():
    bench = Bench()
    bench.begin(5)
    bench.run(1, actor=True)
    assert bench.did() == [w.StartSlot()]
    bench.slot_up()
    assert bench.stage(1) is Stage.fed
    assert bench.slot_of(1) != bench.slot_of(5)


def test_a_slot_that_an_actor_took_is_replaced():
    bench = Bench()
    bench.run(1, actor=True)
    assert [type(c) for c in bench.did()] == [w.Feed, w.StartSlot]


def test_an_actor_is_an_object_that_stays():
    bench = Bench(memory_bytes=100)
    make(bench)
    assert bench.said(wire.Finished) != []
    assert bench.place(1) is Place.slot
    assert bench.books.used == 0
    bench.tell(wire.GetData(3, (wire.Attempt(1, 1),)), "p1")
    assert bench.said(to="p1") == [wire.Data(3, (), (1,))]
    bench.begin(7)
    bench.tell(w.GrantAsked(bench.slot_of(7), 7, 1, 100))
    assert bench.did() == [w.Grant(bench.slot_of(7), 7, 1, 100)]
    bench.tell(w.LinkUp())
    assert [each.id for each in bench.said(wire.Register)[0].holds] == [1]


def test_an_actor_keeps_its_resources_for_life():
    bench = Bench(resources=(("gpu", 1.0),))
    slot = make(bench, resources=(("gpu", 1.0),))
    bench.run(2, resources=(("gpu", 1.0),))
    assert bench.stage(2) is Stage.ready
    bench.order(wire.Free(1, 1))
    bench.tell(w.SlotDown(slot, None, -9, ours=True))
    assert bench.stage(2) is Stage.fed


def test_calls_go_to_the_actor_one_at_a_time_in_the_order_of_arrival():
    bench = Bench()
    slot = make(bench)
    call(bench, 10, rank=(9.0, 0))
    call(bench, 11, rank=(0.0, 0))
    assert (bench.stage(10), bench.slot_of(10)) == (Stage.fed, slot)
    assert bench.stage(11) is Stage.ready
    bench.end(10)
    assert bench.slot_of(11) == slot


def test_a_call_waits_for_the_one_before_it_though_that_waits_for_inputs():
    bench = Bench()
    make(bench)
    call(bench, 10, inputs=needs(9))
    (request,) = bench.said(wire.GetData, "p1")
    call(bench, 11)
    assert bench.stage(11) is Stage.ready
    bench.tell(wire.Data(request.ask, (wire.Held(9, 1, 5),)), "p1")
    assert (bench.stage(10), bench.stage(11)) == (Stage.fed, Stage.ready)


def test_calls_may_come_before_the_actor_is_made():
    bench = Bench()
    slot = bench.begin(1, actor=True)
    call(bench, 10)
    assert bench.stage(10) is Stage.ready
    bench.end(1, slot=slot)
    assert bench.slot_of(10) == slot


def test_calls_take_no_slots_or_resources():
    bench = Bench()
    make(bench)
    bench.begin(5)
    call(bench, 10, slots=1, resources=(("gpu", 5.0),))
    assert bench.stage(10) is Stage.fed


def test_a_call_of_an_unknown_actor_is_returned():
    bench = Bench()
    call(bench, 10)
    assert bench.said() == [returned(10, "slot")]


def test_with_an_actor_its_calls_are_lost():
    bench = Bench()
    slot = make(bench)
    for id in (10, 11, 12):
        call(bench, id)
    bench.tell(w.Began(slot, 10, 1))
    bench.tell(w.SlotDown(slot, wire.Attempt(10, 1), -11))
    said = bench.said()
    assert said[:3] == [wire.Died(10, 1, -11), returned(11, "slot"), returned(12, "slot")]
    assert [type(m) for m in said[3:]] == [wire.Dropped]
    assert said[3].attempts == (wire.Attempt(1, 1),)
    assert "-11" in said[3].why
    assert (bench.books.actors, bench.books.store) == ({}, {})


def test_an_actor_that_dies_idle_is_dropped():
    bench = Bench()
    slot = make(bench)
    bench.tell(w.SlotDown(slot, None, 3))
    assert [type(m) for m in bench.said()] == [wire.Dropped]


def test_a_freed_actor_ends_with_its_slot():
    bench = Bench()
    slot = make(bench)
    call(bench, 10)
    call(bench, 11)
    bench.order(wire.Free(1, 1))
    assert bench.did(w.KillSlot) == [w.KillSlot(slot)]
    assert sorted(m.id for m in bench.said(wire.Returned)) == [10, 11]
    bench.tell(w.SlotDown(slot, None, -9, ours=True))
    assert (bench.did(), bench.said()) == ([], [])


def test_an_actor_that_cannot_be_made_is_none():
    bench = Bench()
    bench.begin(1, actor=True)
    call(bench, 10)
    bench.slot_up()
    bench.raises(1)
    assert [type(m) for m in bench.said()] == [wire.Failed, wire.Returned]
    assert bench.books.actors == {}
    bench.wait(bench.books.limits.spare_s)
    assert len(bench.did(w.KillSlot)) == 1, "its slot is one too many"


def test_the_death_of_an_actor_that_is_being_made_is_its_own():
    bench = Bench()
    slot = bench.begin(1, actor=True)
    call(bench, 10)
    bench.tell(w.SlotDown(slot, wire.Attempt(1, 1), -11))
    assert bench.said() == [wire.Died(1, 1, -11), returned(10, "slot")]


def test_a_call_that_is_stopped_before_it_runs_leaves_the_actor_alone():
    bench = Bench()
    make(bench)
    for id in (10, 11, 12):
        call(bench, id)
    bench.order(wire.Stop(11, 1))
    assert bench.said() == [returned(11, "stopped")]
    bench.end(10)
    assert bench.stage(12) is Stage.fed


def test_a_call_that_is_stopped_while_it_runs_takes_the_actor_along():
    bench = Bench()
    slot = make(bench)
    call(bench, 10)
    bench.tell(w.Began(slot, 10, 1))
    bench.order(wire.Stop(10, 1))
    assert bench.did(w.KillSlot) == [w.KillSlot(slot)]
    assert [type(m) for m in bench.said()] == [wire.Returned, wire.Dropped]


def test_a_call_that_is_returned_takes_those_behind_it_along():
    bench = Bench()
    make(bench)
    call(bench, 10)
    call(bench, 11, inputs=needs(9))
    call(bench, 12)
    call(bench, 13)
    bench.tell(w.LinkDown("p1"))
    assert [(m.id, m.why) for m in bench.said()] == [
        (11, "inputs"),
        (12, "slot"),
        (13, "slot"),
    ]
    assert bench.stage(10) is Stage.fed


def test_a_newer_attempt_of_an_actor_ends_the_older():
    bench = Bench()
    slot = make(bench)
    bench.run(1, 2, actor=True)
    assert bench.did(w.KillSlot) == [w.KillSlot(slot)]
    assert bench.stage(1) is not None
    assert bench.books.actors[1].attempt == 2


def test_an_actor_is_given_a_call_while_the_worker_is_paused():
    bench = Bench(memory_bytes=100)
    slot = make(bench)
    bench.begin(5)
    bench.hold(6, 99)
    assert bench.books.paused
    call(bench, 10)
    assert bench.slot_of(10) == slot
