"""When there is no hope for an executor, and what its tasks are told then."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from treadle.dataflow.job_error_handler import (
    JobErrorHandler,
    noop_error_handler,
    simple_error_handler,
    windowed_error_handler,
)
from treadle.errors import BadStateException, TooManyJobFailuresError
from treadle.providers import JobState, JobStatus

FAILED, RUNNING, MISSING = JobState.FAILED, JobState.RUNNING, JobState.MISSING


class Told:
    """An executor that keeps what it is told."""

    label = "gpu"
    error_management_enabled = True

    def __init__(self, init_blocks=1):
        self.provider = SimpleNamespace(init_blocks=init_blocks)
        self.told = []
        self.asked = []

    def set_bad_state_and_fail_all(self, exception):
        self.told.append(exception)

    def handle_errors(self, handler, status):
        self.asked.append((handler, status))


def blocks(*states):
    return {str(i): JobStatus(state) for i, state in enumerate(states)}


@pytest.mark.parametrize(
    ("handle", "states", "bad"),
    [
        (noop_error_handler, [FAILED] * 9, False),
        (simple_error_handler, [FAILED], False),
        (simple_error_handler, [FAILED, MISSING], True),
        (simple_error_handler, [FAILED, FAILED, RUNNING], False),
        (windowed_error_handler, [FAILED, FAILED], False),
        (windowed_error_handler, [RUNNING, FAILED, MISSING, FAILED], True),
        (windowed_error_handler, [FAILED, FAILED, FAILED, RUNNING], False),
    ],
)
def test_ready_handlers(handle, states, bad):
    executor = Told(init_blocks=2)
    handle(executor, blocks(*states))
    assert bool(executor.told) == bad


def test_the_handler_has_a_clock_of_its_own_for_who_ran_well():
    now = [0.0]
    handler = JobErrorHandler(clock=lambda: now[0])
    executor = Told()
    handler.simple_error_handler(executor, blocks(RUNNING, RUNNING, RUNNING))
    now[0] = 60.0
    handler.simple_error_handler(executor, blocks(FAILED, FAILED, FAILED))
    assert executor.told == []


def test_blocks_with_workers_have_not_died_at_once():
    executor = Told()
    executor._workers_of = lambda block_id: 1
    JobErrorHandler().simple_error_handler(executor, blocks(FAILED, FAILED, FAILED))
    assert executor.told == []


def test_the_error_has_the_last_words_of_the_last_blocks(tmp_path):
    (tmp_path / "err").write_text("x" * 5000 + "ImportError: numpie\n")
    (tmp_path / "out").write_text("only this\n")
    (tmp_path / "empty").touch()
    executor = Told()
    status = blocks(FAILED, FAILED)
    status["2"] = JobStatus(
        FAILED, "its process exited with code 1", 1, None, str(tmp_path / "err")
    )
    paths = str(tmp_path / "out"), str(tmp_path / "empty")
    status["3"] = JobStatus(MISSING, None, 0, *paths)
    JobErrorHandler().simple_error_handler(executor, status)
    (error,) = executor.told
    text = str(error)
    assert text.startswith("executor gpu: 4 blocks in a row failed")
    assert "block 2 FAILED, exit code 1: its process exited with code 1" in text
    assert "ImportError: numpie" in text
    assert "block 3 MISSING, exit code 0\n  standard output: only this" in text
    assert "block 0" not in text
    assert len(text) < 2500


def test_the_error_is_a_bad_state_and_can_be_pickled():
    executor = Told()
    simple_error_handler(executor, blocks(FAILED))
    again = pickle.loads(pickle.dumps(executor.told[0]))
    assert isinstance(again, TooManyJobFailuresError)
    assert isinstance(again, BadStateException)
    assert str(again) == str(executor.told[0])
    assert again.executor == "gpu"


def test_it_counts_and_runs_over_executors():
    handler = JobErrorHandler()
    status = blocks(FAILED, RUNNING, MISSING)
    assert handler.count_jobs(status) == (3, 2)
    assert isinstance(handler.get_error(status), TooManyJobFailuresError)
    cared, left = Told(), Told()
    left.error_management_enabled = False
    handler.run([SimpleNamespace(executor=e, status=status) for e in (cared, left)])
    assert cared.asked == [(handler, status)]
    assert left.asked == []
