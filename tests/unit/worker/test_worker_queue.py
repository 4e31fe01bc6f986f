"""Jobs start by rank, on what is free; and are fed ahead and taken back."""

from __future__ import annotations

import pytest

from tests.unit.worker.harness import Bench, returned
from treadle import wire
from treadle import worker as w
from treadle.errors import IllegalTransition
from treadle.worker._job import TABLE, Stage, advance


def fed(bench: Bench) -> list[object]:
    return [command.run.id for command in bench.did(w.Feed)]


def test_slots_are_started_at_once():
    bench = Bench(slots=3, link=False)
    bench.tell(w.Tick())
    assert bench.did() == [w.StartSlot()] * 3


def test_a_job_is_fed_to_an_idle_slot_and_its_result_is_told():
    bench = Bench()
    bench.run(1)
    assert fed(bench) == [1]
    bench.tell(w.Began(1, 1, 1))
    assert bench.said() == [wire.Started((wire.Attempt(1, 1),))]
    bench.end(1, nbytes=33, memory_bytes=5, inline=b"x")
    assert bench.said() == [wire.Finished(1, 1, 33, "int", 0.5, 5, b"x")]
    assert bench.stage(1) is None
    bench.order(wire.Free(1, 1))
    assert bench.did() == [w.Discard(1, 1)]


def test_a_failure_is_told():
    bench = Bench()
    bench.begin(1)
    bench.raises(1, final=True)
    (failed,) = bench.said(wire.Failed)
    assert (failed.id, failed.final, failed.failure.type) == (1, True, "ValueError")
    assert bench.books.store == {}


def test_an_end_without_a_beginning_is_an_end():
    bench = Bench()
    bench.run(1)
    bench.end(1)
    assert [type(m) for m in bench.said()] == [wire.Finished]


def test_a_start_and_an_end_in_one_step_are_one_report():
    bench = Bench()
    bench.run(1)
    bench.tell([w.Began(1, 1, 1), w.Ended(1, 1, 1, 1, "int", 0.1)])
    assert [type(m) for m in bench.said()] == [wire.Finished]


def test_the_lowest_rank_is_first_and_equal_ranks_by_arrival():
    bench = Bench()
    bench.begin(1)
    bench.run(2, rank=(5.0, 0))
    bench.run(3, rank=(1.0, 7))
    bench.run(4, rank=(1.0, 7))
    order = []
    for id in (1, 3, 4):
        bench.end(id)
        order += fed(bench)
        bench.tell(w.Began(1, order[-1], 1))
    assert order == [3, 4, 2]


def test_a_job_of_several_slots_waits_until_they_are_free():
    bench = Bench(slots=2)
    bench.begin(1)
    bench.run(2, slots=2)
    assert fed(bench) == []
    bench.end(1)
    assert fed(bench) == [2]
    bench.run(3)
    assert fed(bench) == []


def test_a_job_of_several_slots_is_not_starved():
    bench = Bench(slots=2)
    bench.begin(1)
    bench.run(2, slots=2, rank=(1.0, 0))
    bench.run(3, rank=(2.0, 0))
    assert fed(bench) == [], "the slot is reserved for who is better ranked"
    bench.run(4, rank=(0.0, 0))
    assert fed(bench) == [4], "who is better ranked than it does not wait"


def test_what_is_reserved_is_not_fed_ahead_either():
    bench = Bench(slots=2)
    bench.begin(1, ahead=True)
    bench.run(2, slots=2, rank=(1.0, 0))
    bench.run(3, rank=(2.0, 0), ahead=True)
    assert fed(bench) == []


def test_jobs_that_need_different_things_do_not_hold_each_other_up():
    bench = Bench(slots=3, resources=(("gpu", 1.0),))
    bench.begin(1, resources=(("gpu", 1.0),))
    bench.run(2, resources=(("gpu", 1.0),))
    assert fed(bench) == []
    bench.run(3, rank=(9.0, 0))
    assert fed(bench) == [3]


def test_amounts_add_up():
    bench = Bench(slots=4, resources=(("gpu", 1.0),))
    for id in range(1, 12):
        bench.run(id, resources=(("gpu", 0.3),))
    assert sorted(id for id in range(1, 12) if bench.stage(id) is Stage.fed) == [1, 2, 3]
    for id in range(1, 12):
        bench.end(id)
    assert bench.books.free == {"gpu": 1.0}


def test_after_a_while_the_best_reserves_all_it_needs():
    bench = Bench(slots=9, resources=(("a", 1.0), ("b", 1.0)))
    bench.begin(1, resources=(("a", 1.0),))
    bench.run(2, resources=(("a", 1.0), ("b", 1.0)), rank=(0.0, 0))
    bench.run(3, resources=(("b", 1.0),), rank=(1.0, 0))
    assert fed(bench) == [3], "b is free, and 2 could not use it"
    bench.end(3)
    bench.wait(2.0)
    bench.run(4, resources=(("b", 1.0),), rank=(1.0, 0))
    assert fed(bench) == []
    bench.end(1)
    assert fed(bench) == [2]


def test_what_can_never_run_here_is_returned():
    bench = Bench(slots=2, resources=(("gpu", 1.0),))
    bench.run(1, slots=3)
    assert bench.said() == [returned(1, "unfit")]
    bench.run(2, resources=(("gpu", 2.0),))
    assert bench.said() == [returned(2, "unfit")]
    bench.run(3, resources=(("tpu", 1.0),))
    assert bench.said() == [returned(3, "unfit")]


# --- ahead -------------------------------------------------------------------------------------


def test_short_jobs_are_fed_ahead_to_a_bounded_depth_and_in_turn():
    bench = Bench(slots=2, limits={"depth": 2})
    bench.begin(1, ahead=True)
    bench.begin(2, ahead=True)
    for id in (3, 4, 5, 6, 7):
        bench.run(id, ahead=True)
    assert [bench.stage(id) for id in (3, 4, 5, 6, 7)] == [Stage.fed] * 4 + [Stage.ready]
    assert sorted(bench.slot_of(id) for id in (3, 4, 5, 6)) == [1, 1, 2, 2]
    assert len({bench.slot_of(3), bench.slot_of(4)}) == 2


def test_what_is_not_short_is_not_fed_ahead_nor_behind_what_is_not():
    bench = Bench()
    bench.begin(1, ahead=True)
    bench.run(2)
    assert bench.stage(2) is Stage.ready
    other = Bench()
    other.begin(1)
    other.run(2, ahead=True)
    assert other.stage(2) is Stage.ready


def test_what_stands_behind_a_long_job_is_taken_back_and_runs_elsewhere():
    bench = Bench(slots=2)
    bench.begin(1, ahead=True)
    bench.begin(2, ahead=True)
    bench.run(3, ahead=True)
    behind = bench.slot_of(3)
    bench.end(2 if behind == bench.slot_of(1) else 1)
    bench.wait(0.004)
    assert bench.did() == []
    bench.wait(0.002)
    assert bench.did() == [w.TakeBack(behind, 3, 1)]
    bench.tell(w.TakenBack(behind, 3, 1))
    assert fed(bench) == [3]
    assert bench.slot_of(3) != behind


def test_a_blocked_slot_is_fed_no_more_until_it_has_ended_what_blocked_it():
    bench = Bench()
    bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.wait(0.01)
    bench.tell(w.TakenBack(1, 2, 1))
    assert bench.stage(2) is Stage.ready
    bench.run(3, ahead=True)
    assert fed(bench) == []
    bench.end(1)
    assert fed(bench) == [2, 3]


def test_what_the_slot_has_read_first_is_not_taken_back():
    bench = Bench()
    bench.begin(1, ahead=True)
    bench.run(2, ahead=True)
    bench.wait(0.01)
    bench.end(1)
    bench.tell(w.Began(1, 2, 1))
    assert bench.stage(2) is Stage.running
    bench.tell(w.TakenBack(1, 2, 1))
    assert bench.stage(2) is Stage.running
    bench.end(2)
    assert [m.id for m in bench.said(wire.Finished)] == [2]


def test_the_start_of_a_short_job_is_reported_only_if_it_is_not_so_short():
    bench = Bench()
    bench.begin(1, ahead=True)
    assert bench.said() == []
    bench.wait(0.01)
    assert bench.said() == [wire.Started((wire.Attempt(1, 1),))]


# --- the table ---------------------------------------------------------------------------------


def test_a_job_cannot_skip_a_stage():
    bench = Bench()
    bench.begin(1)
    job = bench.books.jobs[1]
    with pytest.raises(IllegalTransition, match="running"):
        advance(job, Stage.waiting)
    assert job.stage is Stage.running


def test_nothing_leads_out_of_gone_and_all_else_leads_there():
    assert TABLE[Stage.gone] == ()
    assert all(Stage.gone in TABLE[stage] for stage in Stage if stage is not Stage.gone)
