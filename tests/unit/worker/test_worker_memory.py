"""Objects go to disk and come back; claims for room are served, and none waits for ever."""

from __future__ import annotations

import pytest

from tests.unit.worker.harness import Bench, asked, held, needs, returned
from treadle import wire
from treadle import worker as w
from treadle.worker._job import Stage
from treadle.worker._replica import Place

#: A share of each mark that puts it out of the way.
NO_MARKS = {"spill": 1.0, "high": 1.0, "low": 0.9}


def bench_of(budget: int = 100, *, slots: int = 1, **limits: float) -> Bench:
    return Bench(slots=slots, memory_bytes=budget, limits={**NO_MARKS, **limits})


def on_disk(bench: Bench, id: int, nbytes: int) -> None:
    """An object that has gone to disk."""
    bench.hold(id, nbytes)
    bench.begin(99)
    bench.tell(w.GrantAsked(bench.slot_of(99), 99, 1, bench.books.budget))
    for command in bench.did(w.Spill):
        bench.tell(w.Spilled(command.id, command.attempt))
    bench.end(99, nbytes=0)
    bench.order(wire.Free(99, 1))
    assert bench.place(id, 0) is Place.disk


def grant(bench: Bench, id: int, nbytes: int) -> list[object]:
    bench.tell(w.GrantAsked(bench.slot_of(id), id, 1, nbytes))
    return bench.did(w.Grant, w.Deny, w.Spill)


def own(id: int, nbytes: int) -> tuple[wire.Input, ...]:
    return (wire.Input(id, 0, nbytes, ()),)


def test_a_result_that_fits_is_granted():
    bench = bench_of()
    bench.begin(1)
    assert grant(bench, 1, 100) == [w.Grant(1, 1, 1, 100)]
    assert bench.books.used == 100
    bench.end(1, nbytes=70)
    assert bench.books.used == 70


def test_a_failure_gives_back_what_was_granted():
    bench = bench_of()
    bench.begin(1)
    grant(bench, 1, 60)
    bench.raises(1)
    assert bench.books.used == 0
    slot = bench.begin(2)
    grant(bench, 2, 60)
    bench.tell(w.SlotDown(slot, wire.Attempt(2, 1), -9))
    assert bench.books.used == 0


def test_without_a_budget_all_is_granted():
    bench = bench_of(0)
    bench.begin(1)
    assert grant(bench, 1, 10**15) == [w.Grant(1, 1, 1, 10**15)]


def test_what_can_never_fit_is_denied():
    bench = bench_of()
    bench.begin(1)
    (deny,) = grant(bench, 1, 101)
    assert isinstance(deny, w.Deny)
    assert "101 bytes" in deny.why
    bench.raises(1)
    assert bench.books.used == 0


def test_the_least_recently_used_goes_to_disk_for_a_result():
    bench = bench_of(slots=2)
    for id in (1, 2, 3):
        bench.hold(id, 30)
    bench.begin(7, inputs=own(1, 30))
    bench.end(7, nbytes=0)
    bench.begin(8)
    assert grant(bench, 8, 60) == [w.Spill(2, 0), w.Spill(3, 0)]
    bench.tell(w.Spilled(2, 0))
    assert bench.did() == []
    bench.tell(w.Spilled(3, 0))
    assert bench.did() == [w.Grant(bench.slot_of(8), 8, 1, 60)]
    assert bench.books.disk_bytes == 60


def test_what_is_used_stays():
    bench = bench_of(slots=2)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.begin(8)
    assert grant(bench, 8, 60) == []
    bench.end(7, nbytes=0)
    assert bench.did() == [w.Spill(1, 0)]


def test_an_input_on_disk_comes_back_before_the_job_starts():
    bench = bench_of()
    on_disk(bench, 1, 80)
    bench.run(2, inputs=own(1, 80))
    assert bench.did() == [w.Restore(1, 0)]
    assert bench.stage(2) is Stage.waiting
    bench.tell(w.Restored(1, 0))
    assert bench.did(w.Feed) != []
    assert (bench.books.used, bench.books.disk_bytes) == (80, 0)


def test_an_input_on_its_way_to_disk_comes_back_too():
    bench = bench_of(slots=2)
    bench.hold(1, 80)
    bench.begin(7)
    assert grant(bench, 7, 60) == [w.Spill(1, 0)]
    bench.run(2, inputs=own(1, 80))
    assert bench.stage(2) is Stage.waiting
    bench.tell(w.Spilled(1, 0))
    assert bench.did(w.Grant) != []
    bench.end(7, nbytes=10)
    assert bench.did(w.Restore) == [w.Restore(1, 0)]


def test_what_a_worse_ranked_job_wants_goes_for_a_better_one():
    bench = bench_of()
    bench.hold(1, 80)
    bench.begin(9)
    bench.run(2, inputs=own(1, 80), rank=(2.0, 0))
    assert bench.stage(2) is Stage.ready
    bench.run(3, inputs=needs(30, nbytes=80), rank=(1.0, 0))
    assert bench.did() == [w.Spill(1, 0)]
    assert bench.stage(2) is Stage.waiting
    bench.tell(w.Spilled(1, 0))
    bench.tell(wire.Data(asked(bench, "p1")[0], held(30, nbytes=80)), "p1")
    assert bench.stage(3) is Stage.ready
    bench.run(4, inputs=needs(40, nbytes=80), rank=(3.0, 0))
    assert (bench.did(), bench.said(to="p1")) == ([], []), "a worse one waits"


def test_a_job_whose_inputs_are_too_large_goes_on_when_nothing_else_does():
    bench = bench_of()
    bench.run(1, inputs=needs(11, nbytes=90) + needs(12, holders=("p2",), nbytes=90))
    first = "p1" if bench.said(to="p1") else "p2"
    id, other = (11, "p2") if first == "p1" else (12, "p1")
    bench.tell(wire.Data(asked(bench, first)[0], held(id, nbytes=90)), first)
    assert asked(bench, other)[1] == [23 - id]


def test_a_grant_is_given_over_the_budget_when_nothing_else_goes_on():
    bench = bench_of()
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    assert grant(bench, 7, 60) == [w.Grant(1, 7, 1, 60)]
    assert bench.books.used == 140


def test_a_grant_does_not_wait_for_ever_for_what_goes_on():
    bench = bench_of(slots=2, room_s=10.0)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.begin(8)
    assert grant(bench, 8, 60) == []
    bench.wait(9.0)
    assert bench.did(w.Grant) == []
    bench.wait(2.0)
    assert bench.did(w.Grant) == [w.Grant(bench.slot_of(8), 8, 1, 60)]


def test_a_fetch_does_not_wait_for_ever_for_what_goes_on():
    bench = bench_of(slots=2, room_s=10.0)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.run(8, inputs=needs(11, nbytes=60))
    assert bench.said(to="p1") == []
    bench.wait(11.0)
    assert asked(bench, "p1")[1] == [11]


def test_a_copy_that_no_job_needs_is_not_brought_over_the_budget():
    bench = bench_of(slots=2, fetch_s=60.0)
    bench.order(wire.Fetch(10, 1, 101, ("p1",)))
    assert bench.said() == [wire.NotFetched(10, 1, ())]
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.order(wire.Fetch(11, 1, 60, ("p1",)))
    bench.wait(59.0)
    assert bench.said(to="p1") == []
    bench.wait(2.0)
    assert bench.said(wire.NotFetched) == [wire.NotFetched(11, 1, ())]


def test_results_come_before_inputs():
    bench = bench_of(slots=3)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.begin(8, rank=(9.0, 0))
    assert grant(bench, 8, 50) == []
    bench.run(9, inputs=needs(11, nbytes=20), rank=(0.0, 0))
    assert bench.said(to="p1") == []


def test_the_best_ranked_grant_is_first():
    bench = bench_of(slots=3)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.begin(8, rank=(2.0, 0))
    bench.begin(9, rank=(1.0, 0))
    slot = bench.slot_of(9)
    assert grant(bench, 8, 60) == []
    assert grant(bench, 9, 60) == []
    bench.end(7, nbytes=0)
    bench.tell(w.Spilled(1, 0))
    assert bench.did(w.Grant) == [w.Grant(slot, 9, 1, 60)]


def test_what_cannot_be_written_to_disk_stays_and_is_not_tried_again_at_once():
    bench = bench_of(respill_s=60.0)
    bench.hold(1, 80)
    bench.begin(7)
    assert grant(bench, 7, 60) == [w.Spill(1, 0)]
    bench.tell(w.NotSpilled(1, 0, "no space left on device"))
    assert bench.did() == [w.Grant(1, 7, 1, 60)], "nothing else goes on"
    assert bench.place(1, 0) is Place.memory
    bench.end(7, nbytes=0)
    bench.begin(8)
    assert grant(bench, 8, 60) == [w.Grant(1, 8, 1, 60)]
    bench.end(8, nbytes=0)
    bench.now += 61.0
    bench.begin(9)
    assert grant(bench, 9, 60) == [w.Spill(1, 0)]


def test_a_ready_job_goes_on_waiting_while_its_input_could_not_be_written():
    bench = bench_of()
    bench.hold(1, 80)
    bench.begin(7)
    bench.run(2, inputs=own(1, 80), rank=(5.0, 0))
    grant(bench, 7, 60)
    assert bench.stage(2) is Stage.waiting
    bench.tell(w.NotSpilled(1, 0, ""))
    assert bench.stage(2) is Stage.ready


def test_what_cannot_be_read_back_is_dropped_and_its_jobs_returned():
    bench = bench_of()
    on_disk(bench, 1, 80)
    bench.run(2, inputs=own(1, 80))
    bench.tell(w.NotRestored(1, 0, "input/output error"))
    assert bench.said() == [
        wire.Dropped((wire.Attempt(1, 0),), "input/output error"),
        returned(2, "inputs", missing=((1, "me"),)),
    ]
    assert (bench.books.used, bench.books.disk_bytes, bench.books.store) == (0, 0, {})


def test_what_is_freed_on_its_way_goes_when_it_has_arrived():
    bench = bench_of()
    bench.hold(1, 80)
    bench.begin(7)
    grant(bench, 7, 60)
    bench.order(wire.Free(1, 0))
    assert bench.did() == []
    bench.tell(w.Spilled(1, 0))
    assert w.Discard(1, 0) in bench.did()
    assert bench.books.disk_bytes == 0


def test_what_is_freed_while_it_is_used_goes_when_it_is_not():
    bench = bench_of()
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.order(wire.Free(1, 0))
    assert bench.did() == []
    bench.end(7)
    assert bench.did(w.Discard) == [w.Discard(1, 0)]


def test_what_is_freed_and_needed_again_is_reported_again():
    bench = bench_of(slots=2)
    bench.hold(1, 80)
    bench.begin(7, inputs=own(1, 80))
    bench.order(wire.Free(1, 0))
    bench.run(8, inputs=own(1, 80))
    assert bench.said(wire.Holding) == [wire.Holding(held(1, attempt=0, nbytes=80))]
    bench.end(7)
    assert bench.did(w.Discard) == []


def test_what_a_peer_wants_comes_back_from_disk():
    bench = bench_of()
    on_disk(bench, 1, 80)
    bench.tell(wire.GetData(5, (wire.Attempt(1, 0),)), "p1")
    assert bench.did() == [w.Restore(1, 0)]
    bench.tell(w.Restored(1, 0))
    assert bench.said(to="p1") == [wire.Data(5, held(1, attempt=0, nbytes=80))]


def test_a_peer_is_told_that_what_it_wants_was_lost_on_disk():
    bench = bench_of()
    on_disk(bench, 1, 80)
    bench.tell(wire.GetData(5, (wire.Attempt(1, 0),)), "p1")
    bench.tell(w.NotRestored(1, 0, ""))
    assert bench.said(to="p1") == [wire.Data(5, (), (1,))]
    assert bench.books.transfers == {}


# --- marks -------------------------------------------------------------------------------------


def test_above_a_mark_what_nobody_wants_goes_to_disk():
    bench = bench_of(spill=0.5)
    bench.hold(1, 30)
    assert bench.did() == []
    bench.hold(2, 30)
    assert bench.did() == [w.Spill(1, 0)]


def test_above_the_high_mark_nothing_is_started_until_below_the_low_one():
    bench = bench_of(slots=2, high=0.8, low=0.5)
    bench.begin(7)
    bench.hold(1, 90)
    assert bench.said(wire.Status) == [wire.Status(90, 0, True)]
    bench.run(8)
    assert bench.did() == []
    bench.hold(2, 5)
    bench.order(wire.Free(1, 0))
    assert [m.paused for m in bench.said(wire.Status)] == [False]
    assert bench.did(w.Feed) != []


def test_between_the_marks_it_stays_as_it_is():
    bench = bench_of(slots=2, high=0.8, low=0.5)
    bench.begin(7)
    bench.hold(1, 60)
    assert not bench.books.paused
    bench.hold(2, 30)
    assert bench.books.paused
    bench.order(wire.Free(2, 0))
    assert bench.books.paused


def test_a_paused_worker_that_runs_nothing_starts_its_best_job():
    bench = bench_of(slots=2, high=0.8, low=0.5)
    bench.hold(1, 90)
    assert bench.books.paused
    bench.order(wire.Run(2, 1, b"", rank=(2.0, 0)), wire.Run(3, 1, b"", rank=(1.0, 0)))
    assert [c.run.id for c in bench.did(w.Feed)] == [3]


def test_a_paused_worker_starts_a_job_now_and_then():
    bench = bench_of(slots=2, high=0.8, low=0.5, room_s=10.0)
    bench.begin(7)
    bench.hold(1, 90)
    bench.run(8)
    bench.wait(9.0)
    assert bench.did(w.Feed) == []
    bench.wait(2.0)
    assert [c.run.id for c in bench.did(w.Feed)] == [8]


@pytest.mark.parametrize("nbytes", [0, 1])
def test_what_is_empty_is_not_written_to_disk(nbytes):
    bench = bench_of()
    bench.hold(1, nbytes)
    bench.begin(7)
    assert len(grant(bench, 7, 100)) == 1
    assert (bench.place(1, 0) is Place.spilling) == bool(nbytes)
