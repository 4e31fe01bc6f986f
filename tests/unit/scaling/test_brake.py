"""Blocks that die at once, and submissions that are refused, are not tried again and again."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.scaling.harness import batch
from treadle.scaling import History, JobState, ScaleOut


def times_of_starts(b):
    return [at for at, order in b.orders if isinstance(order, ScaleOut)]


def test_after_each_death_the_wait_is_twice_as_long():
    b = batch(init_blocks=0, max_blocks=1)
    b.tasks, b.fate = 1, JobState.FAILED
    b.look(step_s=0.1, times=330)
    starts = times_of_starts(b)
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert waits == pytest.approx([1.1, 2.1, 4.1, 8.1, 16.1], abs=0.15)


def test_it_wants_to_be_woken_when_the_wait_is_over():
    b = batch(init_blocks=0, max_blocks=1)
    b.tasks, b.fate = 1, JobState.FAILED
    b.look()
    b.look()
    assert b.scaler.wake_at == b.now + 1
    assert b.look(step_s=1) == [ScaleOut(1)]


def test_a_wait_never_grows_beyond_five_minutes():
    b = batch(init_blocks=0, max_blocks=1)
    b.tasks, b.fate = 1, JobState.FAILED
    b.look(step_s=10, times=200)
    starts = times_of_starts(b)
    assert starts[-1] - starts[-2] == pytest.approx(300, abs=20)


def test_after_a_death_one_block_at_a_time_is_on_trial():
    b = batch(init_blocks=0, max_blocks=10)
    b.tasks = 10
    b.look()
    b.kill(*b.states)
    b.look()
    assert b.look(step_s=600) == [ScaleOut(1)]
    assert b.look() == []
    assert b.look(step_s=30) == [ScaleOut(9)]  # the one on trial has run for long enough


def test_a_block_with_workers_is_no_longer_on_trial():
    history = History()
    history.saw({"0": JobState.RUNNING}, 0.0)
    assert history.unproven == 1
    history.saw({"0": JobState.RUNNING}, 1.0, worked={"0"})
    assert history.unproven == 0
    history.saw({"0": JobState.FAILED}, 2.0)
    assert history.streak == 0


def test_deaths_and_refusals_by_turns_do_not_hide_each_other():
    b = batch(init_blocks=0, max_blocks=4)
    b.tasks = 1
    for number in range(360):
        b.fate = (JobState.FAILED, None)[number % 2]
        b.look(step_s=10)
    assert b.submitted <= 20


def test_a_submission_that_is_refused_is_tried_later_and_later():
    b = batch(init_blocks=4, max_blocks=4)
    b.fate = None
    b.look(step_s=0.5, times=200)
    starts = times_of_starts(b)
    waits = [later - earlier for earlier, later in itertools.pairwise(starts)]
    assert waits == pytest.approx([5, 15, 45], abs=0.6)
    assert b.submitted == 4  # one each time, though four are wanted


def test_when_a_submission_is_taken_again_all_goes_on():
    b = batch(init_blocks=3, max_blocks=3)
    b.fate = None
    b.look(times=2)
    b.fate, b.tasks = JobState.RUNNING, 1
    b.look(times=40)
    assert len(b.alive) == 3


def test_blocks_that_keep_ending_are_replaced_at_a_bounded_rate():
    b = batch(init_blocks=0, max_blocks=2)
    b.tasks, b.fate = 100, JobState.COMPLETED  # they end well, at once, and nothing gets done
    b.look(step_s=0.5, times=600)
    assert b.submitted <= 2 + 5 + 5 * 6 + 1


def test_a_large_set_of_blocks_may_come_at_once():
    b = batch(init_blocks=500, max_blocks=1000)
    b.tasks = 1000
    b.look()
    assert len(b.alive) == 1000


# --- the history ---------------------------------------------------------------------------------


def history_of(*states: JobState, ran_s: float = 0.0) -> History:
    history = History()
    alive = {str(i): JobState.RUNNING for i in range(len(states))}
    history.saw(alive, 0.0)
    history.saw({str(i): state for i, state in enumerate(states)}, ran_s)
    return history


FAILED, DONE, RUNNING = JobState.FAILED, JobState.COMPLETED, JobState.RUNNING


@pytest.mark.parametrize(
    ("states", "streak"),
    [
        ((), 0),
        ((FAILED, FAILED, FAILED), 3),
        ((DONE, FAILED, FAILED), 2),
        ((FAILED, FAILED, DONE), 0),
        ((FAILED, JobState.SCALED_IN, FAILED), 2),
        ((FAILED, JobState.CANCELLED, JobState.MISSING), 2),
        ((FAILED, RUNNING, FAILED), 2),
        ((FAILED, JobState.TIMEOUT, FAILED), 1),
    ],
)
def test_deaths_are_counted_back_to_the_last_block_that_was_any_good(states, streak):
    assert history_of(*states).streak == streak


def test_who_has_run_for_long_has_not_died_at_once():
    history = history_of(FAILED, FAILED, FAILED, ran_s=31)
    assert history.streak == 0
    assert not history.is_hopeless(3)


def test_while_a_block_lives_there_is_hope():
    assert history_of(FAILED, FAILED, FAILED).is_hopeless(3)
    assert not history_of(FAILED, FAILED, FAILED).is_hopeless(4)
    assert not history_of(RUNNING, FAILED, FAILED, FAILED).is_hopeless(3)
    assert not history_of(JobState.PENDING, FAILED, FAILED, FAILED).is_hopeless(3)


def test_what_the_provider_cannot_tell_changes_nothing():
    history = history_of(RUNNING)
    history.saw({"0": JobState.UNKNOWN}, 40.0)
    assert history.alive == ["0"]
    assert history.blocks["0"].state is RUNNING


def test_the_dead_do_not_rise():
    history = history_of(FAILED)
    history.saw({"0": RUNNING}, 40.0)
    assert history.alive == []


def test_blocks_that_nobody_speaks_of_are_forgotten():
    history = history_of(FAILED, FAILED)
    history.saw({"1": FAILED}, 1.0)
    assert list(history.blocks) == ["1"]
