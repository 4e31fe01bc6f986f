"""How many blocks there are, strategy by strategy."""

from __future__ import annotations

import math

import pytest

from tests.unit.scaling.harness import batch
from treadle.scaling import JobState, Limits, Looked, ScaleIn, ScaleOut, Scaler, Started

EACH = pytest.mark.parametrize("strategy", ["none", "simple", "htex_auto_scale"])
BOTH = pytest.mark.parametrize("strategy", ["simple", "htex_auto_scale"])


@EACH
def test_the_first_blocks_are_started_at_the_first_look(strategy):
    b = batch(strategy, init_blocks=3, max_blocks=5)
    assert b.look() == [ScaleOut(3)]
    assert b.look(times=5) == []


@EACH
def test_blocks_that_the_executor_started_itself_count_as_the_first(strategy):
    b = batch(strategy, init_blocks=2, max_blocks=5)
    b.states = {"0": JobState.PENDING, "1": JobState.RUNNING}
    assert b.look(times=3) == []


def test_an_unknown_strategy_is_refused():
    with pytest.raises(ValueError, match="strategy='clever': one of none, simple, htex_auto_scale"):
        Scaler("clever")


# --- out -----------------------------------------------------------------------------------------


@BOTH
def test_tasks_bring_the_blocks_that_they_need(strategy):
    b = batch(strategy, init_blocks=0, max_blocks=10)
    b.workers, b.tasks = 4, 9
    assert b.look() == [ScaleOut(3)]
    assert b.look() == []


def test_strategy_none_takes_no_notice_of_tasks():
    b = batch("none", init_blocks=1, max_blocks=10)
    b.tasks = 100
    b.look(times=3)
    assert b.submitted == 1


@BOTH
def test_there_are_never_more_than_the_most(strategy):
    b = batch(strategy, init_blocks=1, max_blocks=4)
    b.tasks = 1000
    b.look(times=5)
    assert b.most == 4


def test_parallelism_says_how_many_tasks_have_a_slot_of_their_own():
    b = batch(init_blocks=0, max_blocks=100, parallelism=0.5, nodes=2)
    b.workers, b.tasks = 4, 100
    assert b.look() == [ScaleOut(7)]  # 50 slots, 8 in a block


def test_without_parallelism_there_is_one_block_for_all_tasks():
    b = batch(init_blocks=0, max_blocks=10, parallelism=0)
    b.tasks = 50
    assert b.look() == [ScaleOut(1)]
    assert b.look(times=3) == []


def test_fractions_do_not_add_up_to_a_block_too_many():
    b = batch(init_blocks=0, max_blocks=100, parallelism=0.1)
    b.tasks = 30  # 30 * 0.1 is a little more than 3
    assert b.look() == [ScaleOut(3)]


@pytest.mark.parametrize("workers", [0, -1, math.nan])
def test_no_workers_yet_count_as_one(workers):
    b = batch(init_blocks=0, max_blocks=5)
    b.workers, b.tasks = workers, 2
    assert b.look() == [ScaleOut(2)]


@pytest.mark.parametrize("tasks", [math.nan, -3])
def test_figures_that_are_none_ask_for_nothing(tasks):
    b = batch(init_blocks=0, max_blocks=5)
    b.tasks = tasks
    assert b.look() == []


def test_a_figure_beyond_all_bounds_asks_for_all():
    b = batch(init_blocks=0, max_blocks=5)
    b.tasks = math.inf
    assert b.look() == [ScaleOut(5)]


def test_blocks_that_wait_in_a_queue_count():
    b = batch(init_blocks=0, max_blocks=10)
    b.fate, b.tasks = JobState.PENDING, 3
    b.look(times=100)
    assert b.submitted == 3


def test_blocks_that_are_still_leaving_take_a_place():
    scaler = Scaler()
    limits = Limits(init_blocks=0, max_blocks=3)
    looked = Looked({}, tasks=5, limits=limits, leaving=2)
    assert scaler.handle(looked, now=0) == [ScaleOut(1)]


def test_blocks_that_no_look_has_shown_yet_count():
    scaler = Scaler()
    limits = Limits(init_blocks=0, max_blocks=3)
    looked = Looked({}, tasks=5, limits=limits)
    assert scaler.handle(looked, now=0) == [ScaleOut(3)]
    scaler.handle(Started(3, ("0", "1", "2")), now=0)
    assert scaler.handle(looked, now=1) == []


def test_the_limits_may_change_while_it_runs():
    b = batch(init_blocks=1, max_blocks=1)
    b.tasks = 10
    b.look(times=2)
    b.limits = Limits(max_blocks=3)
    assert b.look() == [ScaleOut(2)]


# --- what dies is replaced -----------------------------------------------------------------------


@BOTH
def test_the_least_blocks_are_there_without_a_task(strategy):
    b = batch(strategy, init_blocks=2, min_blocks=2, max_blocks=2)
    b.look(step_s=40, times=3)
    b.kill("0")
    b.look(times=3)
    assert len(b.alive) == 2


def test_strategy_none_replaces_nothing():
    b = batch("none", init_blocks=2, min_blocks=2, max_blocks=2)
    b.look(step_s=40, times=3)
    b.kill("0", "1")
    assert b.look(times=10) == []


# --- in ------------------------------------------------------------------------------------------


@BOTH
def test_idle_blocks_are_ended_after_a_while(strategy):
    b = batch(strategy, init_blocks=3, min_blocks=1, max_blocks=3, max_idle_s=60)
    b.look()
    began = b.now
    while not (orders := b.look()):
        assert b.now < began + 100
    assert orders == [ScaleIn(2)]
    assert b.now - began >= 60
    assert b.look(times=50) == []


def test_a_task_starts_the_while_anew():
    b = batch(init_blocks=1, max_blocks=1, max_idle_s=60)
    b.look(times=10)
    b.tasks = 1
    b.look()
    b.tasks = 0
    assert b.look(times=11) == []


def test_it_wants_to_be_woken_when_the_while_is_over():
    b = batch(init_blocks=1, max_blocks=1, max_idle_s=60)
    b.look()
    b.look()
    assert b.scaler.wake_at == b.now + 60
    assert b.look(step_s=60) == [ScaleIn(1)]


def test_simple_keeps_all_blocks_as_long_as_there_is_a_task():
    b = batch("simple", init_blocks=5, max_blocks=5, max_idle_s=10)
    b.tasks = 1
    b.idle = set("01234")
    b.look(times=100)
    assert len(b.alive) == 5


def test_auto_scale_ends_idle_blocks_that_the_tasks_do_not_need():
    b = batch("htex_auto_scale", init_blocks=5, max_blocks=5, max_idle_s=10)
    b.tasks = 2
    b.look()
    b.idle = {"3", "4"}
    assert b.look() == [ScaleIn(3, 10)]
    assert len(b.alive) == 3


def test_auto_scale_leaves_one_block_for_the_last_task():
    b = batch("htex_auto_scale", init_blocks=3, max_blocks=3, max_idle_s=10)
    b.tasks, b.idle = 1, set("012")
    b.look(times=10)
    assert len(b.alive) == 1


def test_auto_scale_does_not_start_what_it_has_just_ended():
    b = batch("htex_auto_scale", init_blocks=0, max_blocks=9, max_idle_s=0)
    b.tasks, b.workers = 21, 4
    b.look()
    b.idle = set(b.states)
    b.tasks = 9
    b.look()
    b.orders.clear()
    b.look(times=50)
    assert [o for _, o in b.orders if isinstance(o, ScaleOut)] == []
    assert len(b.alive) == 3


def test_none_ends_nothing():
    b = batch("none", init_blocks=3, max_blocks=3, max_idle_s=1)
    b.look()
    assert b.look(times=50) == []


# --- the end -------------------------------------------------------------------------------------


def test_when_the_kernel_ends_only_tasks_are_worth_a_block():
    b = batch(init_blocks=2, min_blocks=2, max_blocks=3)
    b.close()
    assert b.look(times=3) == []
    b.tasks = 1
    assert b.look() == [ScaleOut(1)]


# --- words ---------------------------------------------------------------------------------------


def test_it_says_what_is_waited_for():
    b = batch(init_blocks=1, max_blocks=1)
    b.fate, b.tasks = JobState.PENDING, 1
    b.look(times=2)
    b.look(step_s=41 * 60 - 5)
    said = b.scaler.explain(b.now, {"0": "Resources"})
    assert said == "0 of 1 blocks run; block 0 is PENDING (Resources) for 41 min"
