"""The small parts of the kernel's shell, each alone."""

from __future__ import annotations

import copy
import os
import threading
from concurrent.futures import Future
from datetime import datetime

import pytest

from treadle.dataflow._gate import Gate
from treadle.dataflow._outcomes import failures, show
from treadle.dataflow._routes import Route, parameters
from treadle.dataflow._rundir import make_run_directory
from treadle.dataflow.futures import AppFuture
from treadle.dataflow.states import States
from treadle.dataflow.taskrecord import FIELDS, TaskRecord
from treadle.errors import ConfigurationError
from treadle.runtime.threads import start_daemon


def record(number=0, **fields):
    made = TaskRecord(number)
    made.func_name, made.dfk = "f", None
    for name, value in fields.items():
        setattr(made, name, value)
    return made


# --- the record ----------------------------------------------------------------------------------


def test_a_record_answers_as_the_mapping_that_hooks_know():
    made = record(7, args=(1, 2))
    assert made["id"] == made.id == made.get("id") == 7
    assert made["status"] is States.unsched
    assert "status" in made
    assert "nonsense" not in made
    assert made.get("nonsense", 3) == 3
    assert {*made} == {*made.keys()} == {*FIELDS}
    assert dict(made)["args"] == (1, 2)
    with pytest.raises(KeyError):
        made["nonsense"]
    made["checkpoint"] = True
    assert made.checkpoint
    with pytest.raises(KeyError, match="it has: app_fu"):
        made["nonsense"] = 1
    with pytest.raises(AttributeError):
        made.nonsense = 1
    with pytest.raises(AttributeError, match="no field 'nonsense'"):
        made.nonsense  # noqa: B018


def test_fields_that_were_never_set_have_their_defaults():
    made = TaskRecord(1)
    assert (made.args, made.kwargs, made.depends, made.fail_history) == ((), {}, (), [])
    assert (made.from_memo, made.exec_fu, made.joins, made.executor) == (None, None, None, None)
    assert (made.time_invoked, made.try_time_launched, made.time_returned) == (None, None, None)
    assert made.resource_specification == {}
    made.t_invoked = 0.0
    assert made.time_invoked == datetime.fromtimestamp(0)


def test_defaults_are_no_ones_to_change():
    one, two = TaskRecord(1), TaskRecord(2)
    one.kwargs["x"] = 1
    one.resource_specification["x"] = 1
    one.fail_history.append("x")
    assert (two.kwargs, two.resource_specification, two.fail_history) == ({}, {}, [])


def test_a_dropped_record_knows_its_future_weakly():
    made = record(args=(1,))
    future = AppFuture(made)
    made._future = future
    made.drop()
    assert made.app_fu is future
    assert made.args == ()
    made.drop()  # a second time does nothing
    assert made.app_fu is future
    del future
    assert made.app_fu is None


# --- the gate ------------------------------------------------------------------------------------


def test_the_gate_lets_in_who_came_first():
    gate = Gate(1)
    gate.enter()
    order: list[int] = []
    threads = []
    for number in range(5):
        thread = threading.Thread(target=lambda n=number: (gate.enter(), order.append(n)))
        thread.start()
        while len(gate._queue) <= number:
            threading.Event().wait(0.001)
        threads.append(thread)
    assert order == []
    for number in range(5):
        gate.leave()
        threads[number].join(10)
    assert order == list(range(5))


def test_threads_of_ours_never_wait_at_the_gate():
    gate, done = Gate(1), threading.Event()
    gate.enter()
    start_daemon("test", lambda: (gate.enter(), gate.enter(), done.set()))
    assert done.wait(10)
    gate.enter(wait=False)
    for _ in range(4):
        gate.leave()
    gate.enter()


def test_a_closed_gate_holds_nobody():
    gate, done = Gate(1), threading.Semaphore(0)
    gate.enter()
    threads = [threading.Thread(target=lambda: (gate.enter(), done.release())) for _ in range(5)]
    for thread in threads:
        thread.start()
    gate.close()
    for thread in threads:
        assert done.acquire(timeout=10)
        thread.join()
    gate.enter()


# --- routes --------------------------------------------------------------------------------------


def test_the_parameter_for_resources_is_looked_for_once():
    def with_it(func, resource_specification, *args, **kwargs): ...

    def without(func, *args, **kwargs): ...

    assert "resource_specification" in parameters(with_it)
    assert "resource_specification" not in parameters(without)
    assert "resource_specification" not in parameters(print)
    assert "resource_specification" not in parameters(dict.get)


class Executor:
    label = "x"

    def __init__(self):
        self.ended = []

    def submit(self, func, *args, **kwargs):
        future: Future = Future()
        future.set_result((func, args, kwargs))
        return future

    def shutdown(self, block=True):
        self.ended.append(block)


def test_an_executor_that_can_end_without_waiting_is_told_to():
    executor = Executor()
    Route(executor).shutdown(block=True)
    Route(executor).shutdown(block=False)
    assert executor.ended == [True, False]

    class Plain(Executor):
        def shutdown(self):
            self.ended.append("plain")

    plain = Plain()
    Route(plain).shutdown(block=False)
    assert plain.ended == ["plain"]


def test_functions_are_marked_only_where_calls_may_have_to_wait():
    made = record(func=len, args=([],), resource_specification={})
    assert Route(Executor()).submit(made).result()[0] is len
    marked = Route(Executor(), gated=True).submit(made).result()[0]
    assert marked is not len
    assert marked([1, 2]) == 2


# --- run directories -----------------------------------------------------------------------------


def test_runs_are_numbered_and_kernels_at_once_get_different_ones(tmp_path):
    root = str(tmp_path / "deep" / "runinfo")
    assert make_run_directory(root) == os.path.join(root, "000")
    os.mkdir(os.path.join(root, "041"))
    os.mkdir(os.path.join(root, "notes"))
    made: list[str] = []
    threads = [
        threading.Thread(target=lambda: made.append(make_run_directory(root))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(os.path.basename(path) for path in made) == [f"{n:03}" for n in range(42, 50)]
    os.mkdir(os.path.join(root, "999"))
    assert make_run_directory(root).endswith("1000")
    assert os.stat(made[0]).st_mode & 0o777 == 0o700


def test_a_directory_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"Config\(run_dir=\.\.\.\)"):
        make_run_directory(str(tmp_path / "file"))


# --- words ---------------------------------------------------------------------------------------


def test_a_repr_that_fails_is_told_as_such():
    class Odd(Exception):
        def __repr__(self):
            raise BaseException("no")

    assert show(Odd()) == "<Odd, whose repr fails>"
    assert show(ValueError(1)) == "ValueError(1)"


def test_only_what_failed_is_told():
    good, bad, cancelled, still_open = Future(), Future(), Future(), Future()
    good.set_result(1)
    bad.set_exception(ValueError("x"))
    cancelled.cancel()
    cancelled.set_running_or_notify_cancel()
    told = failures([good, bad, cancelled, still_open])
    assert [type(error).__name__ for error, _ in told] == ["ValueError", "CancelledError"]
    assert copy.copy(told[0][1]).startswith("<Future at")
