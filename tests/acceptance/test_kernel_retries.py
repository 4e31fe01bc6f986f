"""Tries, budgets and handlers, the same on every executor."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

import treadle
from tests.acceptance.executors_under_test import EXECUTORS, IN_PROCESS, config_on
from treadle import python_app
from treadle.dataflow.states import States
from treadle.errors import DependencyError, SerializationError


@pytest.fixture(params=EXECUTORS)
def load(request, run_dir):
    kernels = []

    def load(**options):
        kernels.append(treadle.load(config_on(request.param, run_dir, **options)))
        kernels[-1].name = request.param
        return kernels[-1]

    yield load
    for kernel in kernels:
        kernel.cleanup()


@python_app
def flaky(path, successes_after):
    """Fails so many times, counted in a file."""
    with open(path, "a+") as file:
        file.write("x")
        file.seek(0)
        tries = len(file.read())
    if tries <= successes_after:
        raise ValueError(f"try {tries}")
    return tries


class Counted:
    """Tells in a file how often it was pickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        with open(self.path, "a") as file:
            file.write("p")
        return Counted, (self.path,)


class Unpicklable:
    def __reduce__(self):
        raise BaseException("will not")


def test_a_task_is_tried_again_within_the_budget(load, tmp_path):
    load(retries=3)
    future = flaky(str(tmp_path / "a"), 2)
    assert future.result() == 3
    record = future.task_record
    assert (record.try_id, record.fail_count, record.fail_cost) == (2, 2, 2)
    assert record.fail_history == ["ValueError('try 1')", "ValueError('try 2')"]


def test_the_last_failure_is_the_outcome(load, tmp_path):
    kernel = load(retries=2)
    future = flaky(str(tmp_path / "a"), 99)
    with pytest.raises(ValueError, match="try 3"):
        future.result()
    assert future.task_record.fail_count == 3
    assert len(future.task_record.fail_history) == 3
    assert kernel.task_state_counts[States.failed] == 1
    assert kernel.task_state_counts[States.fail_retryable] == 0


def test_without_a_budget_nothing_is_tried_again(load, tmp_path):
    load()
    with pytest.raises(ValueError, match="try 1"):
        flaky(str(tmp_path / "a"), 1).result()


def test_the_handler_says_what_a_failure_costs(load, tmp_path):
    seen = []

    def handler(error, record):
        seen.append((str(error), record.try_id, record["status"]))
        return 0.5

    load(retries=1, retry_handler=handler)
    future = flaky(str(tmp_path / "a"), 99)
    with pytest.raises(ValueError, match="try 3"):
        future.result()
    assert [(text, number) for text, number, _ in seen] == [
        ("try 1", 0),
        ("try 2", 1),
        ("try 3", 2),
    ]
    assert future.task_record.fail_cost == 1.5


@pytest.mark.parametrize("cost", [math.inf, math.nan, 1e308 * 10])
def test_an_infinite_cost_ends_it(load, tmp_path, cost):
    load(retries=10, retry_handler=lambda error, record: cost)
    with pytest.raises(ValueError, match="try 1"):
        flaky(str(tmp_path / "a"), 99).result()


def test_a_cost_of_nothing_is_tried_for_ever(load, tmp_path):
    load(retries=0, retry_handler=lambda error, record: 0)
    assert flaky(str(tmp_path / "a"), 25).result() == 26


def test_a_cost_may_be_any_real_number(load, tmp_path):
    load(retries=1, retry_handler=lambda error, record: Fraction(1, 2))
    assert flaky(str(tmp_path / "a"), 2).result() == 3


@pytest.mark.parametrize("nonsense", [None, "1", True, [1], 1j])
def test_a_handler_that_returns_nonsense_ends_the_task_and_is_told(load, tmp_path, nonsense):
    load(retries=10, retry_handler=lambda error, record: nonsense)
    future = flaky(str(tmp_path / "a"), 99)
    with pytest.raises(TypeError, match="must return the cost") as caught:
        future.result()
    assert str(caught.value.__context__) == "try 1"
    assert len(future.task_record.fail_history) == 2


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_handler_that_raises_ends_the_task_with_that(load, tmp_path, kind):
    def handler(error, record):
        raise kind("the handler")

    load(retries=10, retry_handler=handler)
    with pytest.raises(kind, match="the handler"):
        flaky(str(tmp_path / "a"), 99).result()
    assert flaky(str(tmp_path / "b"), 0).result() == 1


def test_a_handler_may_raise_what_it_was_given(load, tmp_path):
    def handler(error, record):
        raise error

    load(retries=10, retry_handler=handler)
    with pytest.raises(ValueError, match="try 1") as caught:
        flaky(str(tmp_path / "a"), 99).result()
    assert caught.value.__context__ is not caught.value


def test_a_handler_may_submit_and_wait(load, tmp_path):
    def handler(error, record):
        return flaky(str(tmp_path / "helper"), 0).result() - 1

    load(retries=1, retry_handler=handler)
    assert flaky(str(tmp_path / "a"), 1).result() == 2


def test_the_failure_of_a_dependency_is_not_tried_again(load, tmp_path):
    load(retries=5)

    @python_app
    def body():
        raise DependencyError([(ValueError("inside"), "task 99")], 1)

    future = body()
    with pytest.raises(DependencyError):
        future.result()
    assert future.task_status() == "dep_fail"
    assert future.task_record.fail_count == 1


def test_a_task_is_pickled_once_however_often_it_is_tried(load, tmp_path):
    kernel = load(retries=5)
    pickles = tmp_path / "pickles"

    @python_app
    def use(counted, path):
        with open(path, "a+") as file:
            file.write("x")
            file.seek(0)
            if len(file.read()) < 4:
                raise ValueError("again")
        return "done"

    future = use(Counted(str(pickles)), str(tmp_path / "tries"))
    assert future.result() == "done"
    assert future.task_record.fail_count == 3
    written = pickles.read_text() if pickles.exists() else ""
    assert written == ("" if kernel.name in IN_PROCESS else "p")


def test_an_argument_that_raises_when_pickled_is_the_tasks_error(load):
    kernel = load()
    future = python_app(lambda what: "ran")([Unpicklable()])
    if kernel.name in IN_PROCESS:
        assert future.result() == "ran"
    else:
        with pytest.raises(SerializationError, match="will not"):
            future.result()


def test_many_tasks_fail_and_come_back_at_once(load, tmp_path):
    load(retries=2)
    futures = [flaky(str(tmp_path / str(i)), i % 4) for i in range(40)]
    outcomes = [f.exception() is None for f in futures]
    assert outcomes == [i % 4 <= 2 for i in range(40)]
