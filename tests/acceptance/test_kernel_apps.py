"""Programs of apps and futures, the same on every executor."""

from __future__ import annotations

import concurrent.futures
import contextlib
import operator
import os
import threading

import pytest

import treadle
from tests.acceptance.executors_under_test import EXECUTORS, IN_PROCESS, config_on
from treadle import join_app, python_app
from treadle.dataflow.states import States
from treadle.errors import (
    DependencyError,
    InvalidResourceSpecification,
    JoinError,
    NoDataFlowKernelError,
    SerializationError,
    TaskCallError,
    UnknownExecutor,
)


@pytest.fixture(params=EXECUTORS)
def name(request):
    return request.param


@pytest.fixture
def kernel(name, run_dir):
    kernel = treadle.load(config_on(name, run_dir))
    yield kernel
    with contextlib.suppress(NoDataFlowKernelError):  # some tests clean it up themselves
        kernel.cleanup()


@python_app
def add(x, y=0, inputs=()):
    return x + y + sum(inputs)


@python_app
def named_as_executors_name_theirs(x, func=None, resource_specification=None):
    return x, func, resource_specification


@python_app
def fail(text="no luck"):
    raise ValueError(text)


@python_app
def make_mapping():
    return {"a": [1, 2, 3], "b": 3 + 4j}


@join_app
def add_up(count):
    return [add(i, 1) for i in range(count)]


@join_app
def nested(depth):
    return nested(depth - 1) if depth else add(40, 2)


@join_app
def join_failures():
    return [add(1, 1), fail("first"), fail("second")]


@join_app
def join_nonsense(what):
    return what


def test_a_chain_of_apps_passes_results_on(kernel):
    future = add(0)
    for _ in range(20):
        future = add(future, y=1)
    assert future.result() == 20
    assert future.task_status() == "exec_done"
    assert kernel.task_state_counts[States.exec_done] == 21


def test_futures_in_inputs_are_dependencies(kernel):
    assert add(1, inputs=[add(2), add(3), 4]).result() == 10


def test_an_inner_join_is_joined_too(kernel):
    assert nested(5).result() == 42


def test_a_list_is_joined_in_its_order(kernel):
    assert add_up(4).result() == [1, 2, 3, 4]


def test_an_empty_list_is_joined_at_once(kernel):
    assert add_up(0).result() == []


@pytest.mark.parametrize(
    ("what", "text"),
    [(7, "not a int"), ((), "not a tuple"), ([1], "a list with a int in it"), (None, "NoneType")],
)
def test_a_join_of_no_futures_is_a_type_error(kernel, what, text):
    future = join_nonsense(what)
    with pytest.raises(TypeError, match=text):
        future.result()
    assert future.task_status() == "failed"


def test_a_join_says_which_inner_tasks_failed_and_chains_the_first(kernel):
    future = join_failures()
    with pytest.raises(JoinError) as caught:
        future.result()
    failures = caught.value.dependent_exceptions_tids
    assert [str(error) for error, _ in failures] == ["first", "second"]
    assert all(text.startswith("task ") for _, text in failures)
    assert failures[0][1] in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)
    assert future.task_status() == "failed"


def test_any_future_can_be_joined(kernel):
    future: concurrent.futures.Future[str] = concurrent.futures.Future()
    joined = join_app(lambda: future)()
    assert not joined.done()
    future.set_result("from outside")
    assert joined.result() == "from outside"


def test_a_selection_can_be_joined(kernel):
    @join_app
    def first_of():
        return [make_mapping()["a"][0], make_mapping()["b"].imag]

    assert first_of().result() == [1, 4.0]


def test_what_depends_on_a_failure_fails_with_its_cause(kernel):
    root = fail("the root")
    middle = add(root)
    last = add(1, middle)
    with pytest.raises(DependencyError) as caught:
        last.result()
    assert caught.value.__cause__ is root.exception()
    assert f"task {middle.tid} <- task {root.tid}" in str(caught.value)
    assert f"task {last.tid}" in str(caught.value)
    assert "the root" in str(caught.value)
    assert [f.task_status() for f in (root, middle, last)] == ["failed", "dep_fail", "dep_fail"]


def test_all_failed_dependencies_are_told(kernel):
    future = add(fail("a"), fail("b"))
    with pytest.raises(DependencyError, match=r"\+ 1 other\)"):
        future.result()
    error = future.exception()
    assert [str(e) for e, _ in error.dependent_exceptions_tids] == ["a", "b"]


def test_a_failed_future_of_somebody_else_is_told_too(kernel):
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = add(foreign)
    foreign.set_exception(ZeroDivisionError("outside"))
    with pytest.raises(DependencyError, match="ZeroDivisionError: outside"):
        future.result()


def test_a_future_of_somebody_else_is_a_dependency(kernel):
    foreign: concurrent.futures.Future[int] = concurrent.futures.Future()
    futures = [add(foreign, i) for i in range(3)]
    assert not any(f.done() for f in futures)
    foreign.set_result(10)
    assert [f.result() for f in futures] == [10, 11, 12]


def test_parts_of_a_result_are_futures(kernel):
    mapping = make_mapping()
    assert mapping["a"][2].result() == 3
    assert mapping["b"].real.result() == 3.0
    assert add(mapping["a"][0], mapping["a"][1]).result() == 3


def test_a_part_that_is_not_there_is_that_parts_error(kernel):
    mapping = make_mapping()
    with pytest.raises(KeyError):
        mapping["c"].result()
    assert mapping.result()["a"] == [1, 2, 3]


def test_wait_and_as_completed_take_app_futures(kernel):
    futures = [add(i) for i in range(10)]
    done, not_done = concurrent.futures.wait(futures)
    assert (len(done), not_done) == (10, set())
    assert {f.result() for f in concurrent.futures.as_completed([add(i) for i in range(10)])} == {
        *range(10)
    }
    parts = [make_mapping()["a"][i] for i in range(3)]
    assert sorted(f.result() for f in concurrent.futures.as_completed(parts)) == [1, 2, 3]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_whatever_a_task_raises_is_its_own_outcome(kernel, name, kind):
    @python_app
    def throw():
        raise kind("thrown")

    with pytest.raises(kind, match="thrown"):
        throw().result()
    assert add(1).result() == 1


class Odd(Exception):
    def __init__(self, one, two):
        super().__init__("only one")
        self.both = (one, two)


def test_an_exception_with_an_odd_constructor_arrives(kernel):
    @python_app
    def throw():
        raise Odd(1, 2)

    with pytest.raises(Odd, match="only one") as caught:
        throw().result()
    assert caught.value.both == (1, 2)


class Secretive(Exception):
    def __str__(self):
        raise RuntimeError("not telling")

    __repr__ = __str__


def test_an_exception_whose_text_raises_is_still_an_outcome(kernel):
    @python_app
    def throw():
        raise Secretive

    failing = throw()
    assert isinstance(failing.exception(), Exception)
    error = add(failing).exception()
    assert isinstance(error, DependencyError)
    assert str(error)


def test_an_unknown_label_is_the_tasks_error_and_names_what_there_is(kernel, name):
    app = python_app(lambda: 1, executors=["gpu"])
    with pytest.raises(UnknownExecutor, match=f"'gpu'.*{name}"):
        app().result()


def test_resources_reach_the_executor_or_are_refused(kernel, name):
    future = add(1, parsl_resource_specification={"cores": 1})
    if name in ("threads", "foreign"):
        with pytest.raises(InvalidResourceSpecification, match="'cores'"):
            future.result()
    else:
        assert future.result() == 1
    if name == "inline":
        assert kernel.executors["inline"].seen == [{"cores": 1}]


def test_wrong_resources_are_the_tasks_error(kernel):
    with pytest.raises(TaskCallError, match="must be a dict"):
        add(1, parsl_resource_specification=3).result()


def test_tasks_that_are_done_leave_the_table(kernel):
    futures = [add(i) for i in range(20)]
    treadle.wait_for_current_tasks()
    assert all(f.done() for f in futures)
    assert len(kernel.tasks) == 0
    assert kernel.task_count == 20


def test_an_app_may_be_any_callable(kernel):
    assert python_app(operator.add)(1, 2).result() == 3
    assert python_app(max)([3, 5, 4]).result() == 5


def test_tasks_run_where_they_should(kernel, name):
    pid = python_app(os.getpid)().result()
    assert (pid == os.getpid()) is (name in IN_PROCESS)


def test_what_cannot_be_pickled_is_the_tasks_error(kernel, name):
    lock = threading.Lock()
    future = python_app(lambda what: type(what).__name__)({"deep": [1, lock]})
    if name in IN_PROCESS:
        assert future.result() == "dict"
    else:
        with pytest.raises(SerializationError, match="lock"):
            future.result()


def test_a_result_that_cannot_be_pickled_is_the_tasks_error(kernel, name):
    @python_app
    def make_lock():
        import threading

        return [threading.Lock()]

    if name in IN_PROCESS:
        assert len(make_lock().result()) == 1
    else:
        with pytest.raises(SerializationError, match="lock"):
            make_lock().result()
    assert add(1).result() == 1


def test_cleanup_lets_running_tasks_end(kernel):
    futures = [add(i) for i in range(20)]
    concurrent.futures.wait(futures[:1])
    kernel.cleanup()
    assert all(f.done() for f in futures)


def test_equal_cached_calls_in_flight_run_once(kernel, tmp_path):
    @python_app(cache=True)
    def count(path, key):
        import time

        with open(path, "a") as file:
            file.write("x")
        time.sleep(0.05)
        return key

    file = tmp_path / "runs"
    path = str(file)
    futures = [count(path, "k") for _ in range(8)]
    assert [f.result() for f in futures] == ["k"] * 8
    assert file.read_text() == "x"
    assert count(path, "k").result() == "k"
    again = count(path, "k")
    assert again.result() == "k"
    assert again.task_record.from_memo
    assert {f.task_status() for f in futures} == {"exec_done", "memo_done"}


def test_an_app_may_name_its_arguments_as_executors_name_theirs(kernel):
    future = named_as_executors_name_theirs(1, func=2, resource_specification=3)
    assert future.result() == (1, 2, 3)
