"""Calls on a cluster executor, without a kernel: live processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, wait
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.integration.cluster_cases import gone, until
from treadle import wire
from treadle.dataflow._sink import SinkTask
from treadle.dataflow.futures import AppFuture, put
from treadle.errors import (
    BadStateException,
    InvalidResourceSpecification,
    KernelForked,
    RemoteTraceback,
    ResultLost,
    SchedulerLost,
    SerializationError,
    TaskUnfit,
)
from treadle.executors import ClusterExecutor

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_process_is_left")]


@pytest.fixture
def executor():
    executor = ClusterExecutor("here", slots=2)
    executor.start()
    yield executor
    executor.shutdown(block=False)


def twice(x):
    return 2 * x


def fail(text):
    raise ValueError(text)


def ones(count):
    return np.ones(count)


def total(*arrays):
    return float(sum(array.sum() for array in arrays))


def node_of(executor):
    return psutil.Process(executor._home.process.pid)


def ask(executor, make):
    """What the scheduler answers."""
    answers = []
    answered = threading.Event()

    def take(answer):
        answers.append(answer)
        answered.set()

    executor._session.request(make, take)
    assert answered.wait(10)
    return answers[0]


def held(executor):
    """The keys of all that workers hold."""
    answer = ask(executor, lambda number: wire.HasWhat(number)).value
    return [key for keys in answer.values() for key in keys]


# --- calls ---------------------------------------------------------------------------------------


def test_calls_return_and_raise(executor):
    futures = [executor.submit(twice, {}, n) for n in range(100)]
    assert [future.result(20) for future in futures] == [2 * n for n in range(100)]
    error = executor.submit(fail, {}, "no").exception(20)
    assert type(error) is ValueError
    assert isinstance(error.__cause__, RemoteTraceback)
    assert executor.outstanding == 0


def test_a_lambda_with_a_cell_runs(executor):
    n = 40
    assert executor.submit(lambda x, *, y: x + y + n, {}, 1, y=1).result(20) == 42


def test_they_run_elsewhere(executor):
    assert executor.submit(os.getpid, {}).result(20) != os.getpid()


def test_what_cannot_be_pickled_is_named_with_the_path_to_it(executor):
    with pytest.raises(SerializationError, match=r"'a'.*lock"):
        executor.submit(twice, {}, {"a": threading.Lock()})
    assert executor.submit(twice, {}, 1).result(20) == 2


def test_what_becomes_of_an_argument_after_the_call_changes_nothing(executor):
    small, big = np.zeros(10), np.zeros(1_000_000)
    future = executor.submit(total, {}, small, big)
    small[:] = big[:] = 1
    assert future.result(20) == 0


def test_a_resource_that_it_does_not_know_is_refused(executor):
    with pytest.raises(InvalidResourceSpecification, match="gpu_count"):
        executor.submit(twice, {"gpu_count": 1}, 1)


def test_an_amount_that_no_worker_has_is_an_error_that_says_so(executor):
    future = executor.submit(twice, {"resources": {"unobtainium": 1}}, 1)
    with pytest.raises(TaskUnfit, match="unobtainium"):
        future.result(20)


def test_from_many_threads_at_once(executor):
    sums = []

    def work(start):
        futures = [executor.submit(twice, {}, n) for n in range(start, start + 50)]
        sums.append(sum(future.result(30) for future in futures))

    threads = [threading.Thread(target=work, args=(50 * n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
    assert sum(sums) == 2 * sum(range(800))


def test_two_executors_at_once(executor):
    with ClusterExecutor("other", slots=1) as other:
        other.start()
        pids = [each.submit(os.getppid, {}).result(20) for each in (executor, other)]
        assert len(set(pids)) == 2


# --- large values --------------------------------------------------------------------------------


def _private_bytes():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return 1024 * int(line.split()[1])
    raise AssertionError("there is no RssAnon")


def test_a_large_result_is_mapped_and_not_received(executor):
    executor.submit(ones, {}, 1000).result(20)
    before = _private_bytes()
    array = executor.submit(ones, {}, 12_500_000).result(20)
    assert _private_bytes() - before < 20_000_000
    assert array.sum() == 12_500_000
    array[:1000] = 5  # it is private, and may be written to
    assert array[:1000].sum() == 5000


def test_a_large_argument_is_stored_once(executor):
    array = np.arange(1_000_000, dtype=float)
    futures = [executor.submit(total, {}, array) for _ in range(6)]
    assert {future.result(20) for future in futures} == {array.sum()}
    assert len([key for key in held(executor) if "data" in key]) == 1


def test_a_value_that_was_put_is_stored_once(executor):
    value = put(np.ones(1_000_000))
    futures = [executor.submit(total, {}, value, value) for _ in range(20)]
    assert {future.result(20) for future in futures} == {2_000_000.0}
    assert len([key for key in held(executor) if "data" in key]) == 1


def test_large_data_in_a_function_arrives(executor):
    table = np.arange(1_000_000)
    assert executor.submit(lambda i: int(table[i]), {}, 7).result(20) == 7


# --- cancel --------------------------------------------------------------------------------------


def test_a_running_call_is_stopped_and_its_slot_is_free_again(tmp_path):
    with ClusterExecutor(slots=1) as executor:
        executor.start()
        began = tmp_path / "began"
        future = executor.submit(lambda: began.touch() or time.sleep(60), {})
        until(began.exists)
        assert future.cancel()
        assert future.cancelled()
        with pytest.raises(CancelledError):
            future.result()
        assert executor.submit(twice, {}, 4).result(10) == 8


def test_many_that_wait_are_cancelled_and_nothing_is_left(executor):
    futures = [executor.submit(time.sleep, {}, 30) for _ in range(200)]
    assert all(future.cancel() for future in futures)
    assert executor.submit(twice, {}, 4).result(10) == 8
    until(lambda: executor.outstanding == 0)
    until(lambda: held(executor) == [])


# --- its life ------------------------------------------------------------------------------------


def test_it_takes_no_calls_before_its_start_nor_after_its_end():
    executor = ClusterExecutor("x", slots=1)
    with pytest.raises(RuntimeError, match="has not been started"):
        executor.submit(twice, {}, 1)
    executor.start()
    assert executor.submit(twice, {}, 1).result(20) == 2
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(RuntimeError, match="has been shut down"):
        executor.submit(twice, {}, 1)


def test_it_may_be_started_again():
    executor = ClusterExecutor(slots=1)
    for n in range(2):
        executor.start()
        executor.start()
        assert executor.submit(twice, {}, n).result(20) == 2 * n
        executor.shutdown()


def test_its_end_waits_for_calls_and_leaves_no_process_and_no_file():
    executor = ClusterExecutor(slots=2)
    executor.start()
    futures = [executor.submit(time.sleep, {}, 0.2) for _ in range(4)]
    directory = executor._home.directory
    node = node_of(executor)
    until(lambda: len(node.children(recursive=True)) >= 3)
    family = [node, *node.children(recursive=True)]
    executor.shutdown()
    assert [future.result(0) for future in futures] == [None] * 4
    assert [process for process in family if not gone(process)] == []
    assert not os.path.exists(directory)


def test_its_end_does_not_wait_if_it_shall_not():
    executor = ClusterExecutor(slots=1)
    executor.start()
    futures = [executor.submit(time.sleep, {}, 60) for _ in range(3)]
    executor.shutdown(block=False)
    assert all(future.cancelled() for future in futures)


def test_a_bad_state_fails_all_calls_now_and_later(executor):
    future = executor.submit(time.sleep, {}, 60)
    error = BadStateException(executor, ValueError("bad"))
    executor.set_bad_state_and_fail_all(error)
    assert future.exception(10) is error
    with pytest.raises(BadStateException):
        executor.submit(twice, {}, 1)


# --- when the scheduler is lost ------------------------------------------------------------------


def test_a_killed_node_ends_all_that_is_open_and_the_next_call_starts_another(executor):
    assert executor.submit(twice, {}, 1).result(20) == 2
    futures = [executor.submit(time.sleep, {}, 60) for _ in range(5)]
    node = node_of(executor)
    family = node.children(recursive=True)
    node.kill()
    errors = [future.exception(5) for future in futures]
    assert all(type(error) is SchedulerLost for error in errors)
    assert {error.exit_code for error in errors} == {-signal.SIGKILL}
    assert "was killed by SIGKILL" in str(errors[0])
    until(lambda: all(gone(process) for process in family), 5)
    assert executor.submit(twice, {}, 2).result(20) == 4
    assert node_of(executor).pid != node.pid


def test_the_last_words_of_a_node_are_in_the_error(executor):
    assert executor.submit(twice, {}, 1).result(20) == 2
    future = executor.submit(time.sleep, {}, 60)
    with open(Path(executor._home.directory, "node.log"), "a") as log:
        log.write("the disk is on fire\n")
    node_of(executor).kill()
    error = future.exception(5)
    assert "the disk is on fire" in error.log_tail


def test_a_hoisted_argument_is_given_to_the_next_scheduler_too(executor):
    array = np.ones(1_000_000)
    assert executor.submit(total, {}, array).result(20) == 1_000_000
    node_of(executor).kill()
    until(lambda: executor._home.process is None or executor._home.process.poll() is not None)
    until(lambda: not executor._session.ledger.attached)
    assert executor.submit(total, {}, array).result(20) == 1_000_000


# --- as a sink -----------------------------------------------------------------------------------


class Told:
    """Hears outcomes."""

    def __init__(self, executor):
        self.outcomes = {}
        self.changed = threading.Condition()
        self.sink = executor.open_sink(self)

    def __call__(self, outcomes):
        assert threading.current_thread().name == "treadle-engine"
        with self.changed:
            for outcome in outcomes:
                assert outcome.id not in self.outcomes
                self.outcomes[outcome.id] = outcome
            self.changed.notify_all()

    def wait(self, *ids, timeout_s=20):
        with self.changed:
            there = self.changed.wait_for(lambda: all(i in self.outcomes for i in ids), timeout_s)
        assert there, f"not told: {[i for i in ids if i not in self.outcomes]}"
        return [self.outcomes[i] for i in ids]

    def task(self, number, func, *args, **more):
        """A task; futures among its arguments are of tasks with their `number`."""
        numbers = [arg.number for arg in args if isinstance(arg, Ref)]
        call = self.sink.pack(func, args, {}, lambda arg: getattr(arg, "number", None))
        return SinkTask(number, func.__name__, call, tuple(numbers), **more)


class Ref(AppFuture):
    """Stands for the result of a task."""

    __slots__ = ("number",)

    def __init__(self, number):
        AppFuture.__init__(self)
        self.number = number


def test_results_stay_where_they_are_until_they_are_asked_for(executor):
    told = Told(executor)
    told.sink.admit(
        [
            told.task(0, ones, 1_000_000),
            told.task(1, total, Ref(0), Ref(0)),
            told.task(2, fail, "x"),
        ]
    )
    big, two, failed = told.wait(0, 1, 2)
    assert (big.value.nbytes > 8_000_000, big.value.is_near) == (True, True)
    assert two.value.load() == 2_000_000
    assert type(failed.error()) is ValueError
    first, second = big.value.load(), big.value.load()
    first[:] = 0
    assert second.sum() == 1_000_000
    told.sink.release([0, 1, 2])
    until(lambda: held(executor) == [])
    with pytest.raises(ResultLost):
        big.value.load(timeout=10)


def test_a_failure_blames_the_task_that_failed(executor):
    told = Told(executor)
    told.sink.admit([told.task(0, fail, "x"), told.task(1, twice, Ref(0))])
    assert told.wait(1)[0].blame == 0


def test_attempts_are_told_with_the_outcome(executor):
    told = Told(executor)
    options = told.sink.options({}, 2)
    told.sink.admit([told.task(0, fail, "x", options=options)])
    (outcome,) = told.wait(0)
    assert len(outcome.tries) == 2
    assert all("ValueError" in each.text for each in outcome.tries)
    assert type(outcome.tries[0].error()) is ValueError


def test_rows_of_a_map_come_in_parts(executor):
    told = Told(executor)
    rows = told.sink.pack_rows([(n,) for n in range(5000)])
    call = told.sink.pack(twice, (), {}, lambda arg: None)
    told.sink.admit([SinkTask(10, "twice", call, rows=rows)])
    until(lambda: sum(outcome.rows for outcome in list(told.outcomes.values())) == 5000)
    parts = sorted(told.outcomes.values(), key=lambda outcome: outcome.id)
    assert [v for part in parts for v in part.value.load()] == [2 * n for n in range(5000)]
    told.sink.release([part.id for part in parts])
    until(lambda: held(executor) == [])


def test_a_map_is_cancelled_to_its_end(executor):
    told = Told(executor)
    rows = told.sink.pack_rows([(0.05,) for n in range(500)])
    call = told.sink.pack(time.sleep, (), {}, lambda arg: None)
    told.sink.admit([SinkTask(10, "sleep", call, rows=rows)])
    told.wait(10)
    told.sink.cancel([10])
    until(lambda: executor.outstanding == 0)
    told.sink.release(list(told.outcomes))
    assert executor.submit(twice, {}, 4).result(10) == 8
    until(lambda: held(executor) == [])


class Slow:
    """Says which thread has loaded it."""

    def __getstate__(self):
        return {}

    def __setstate__(self, state):
        self.thread = threading.get_ident()


def test_a_value_is_loaded_in_the_thread_that_asks(executor):
    told = Told(executor)
    told.sink.admit([told.task(0, Slow)])
    (outcome,) = told.wait(0)
    assert outcome.value.load().thread == threading.get_ident()


def test_a_value_is_brought_and_then_needs_no_scheduler(executor):
    told = Told(executor)
    told.sink.admit([told.task(0, ones, 1_000_000)])
    (outcome,) = told.wait(0)
    here = threading.Event()
    outcome.value.bring(here.set)
    assert here.wait(10)
    node_of(executor).kill()
    until(lambda: executor._home.process is None)
    assert outcome.value.load().sum() == 1_000_000
    with pytest.raises(SchedulerLost):
        outcome.value.load()


def test_what_is_wanted_comes_home_before_the_end():
    executor = ClusterExecutor(slots=1)
    executor.start()
    told = Told(executor)
    told.sink.admit([told.task(0, ones, 1_000_000)])
    (outcome,) = told.wait(0)
    executor.shutdown()
    assert outcome.value.load().sum() == 1_000_000


def test_a_kept_small_result_is_passed_on_to_the_next_scheduler(executor):
    told = Told(executor)
    told.sink.admit([told.task(0, twice, 4)])
    told.wait(0)
    node_of(executor).kill()
    until(lambda: executor._home.process is None)
    until(lambda: executor._session.ledger.past)
    call = told.sink.pack(twice, (Ref(0),), {}, lambda arg: arg.number)
    told.sink.admit([SinkTask(1, "twice", call, (0,))])
    assert told.wait(1)[0].value.load() == 16


# --- other processes -----------------------------------------------------------------------------


def test_a_forked_child_is_told_so_and_harms_nobody(executor):
    assert executor.submit(twice, {}, 1).result(20) == 2
    future = executor.submit(time.sleep, {}, 1.0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        found = "nothing"
        try:
            try:
                future.result(5)
            except KernelForked:
                found = "open future"
            try:
                executor.submit(twice, {}, 1)
            except KernelForked:
                found += ", submit"
        finally:
            os.write(write, found.encode())
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read) as told:
        assert told.read() == "open future, submit"
    assert future.result(20) is None
    assert executor.submit(twice, {}, 3).result(20) == 6


PROGRAM = """
import os, sys, time
from treadle.executors import ClusterExecutor
executor = ClusterExecutor(slots=2)
executor.start()
assert executor.submit(len, {{}}, "abc").result(20) == 3
print(executor._home.process.pid, executor._home.directory, flush=True)
if {fork}:
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
{end}
"""


def _program(end, fork=False):
    text = textwrap.dedent(PROGRAM).format(end=end, fork=fork)
    program = subprocess.Popen(
        [sys.executable, "-c", text], stdout=subprocess.PIPE, text=True, env={**os.environ}
    )
    assert program.stdout is not None
    pid, directory = program.stdout.readline().split()
    return program, psutil.Process(int(pid)), directory


@pytest.mark.parametrize("end", ["", "sys.exit(3)", "os._exit(1)", "raise ValueError"])
def test_a_program_that_ends_without_a_word_leaves_nothing(end):
    program, node, directory = _program(end)
    family = [node, *node.children(recursive=True)]
    program.communicate(timeout=20)
    until(lambda: all(gone(process) for process in family), 5)
    until(lambda: not os.path.exists(directory), 5)


@pytest.mark.parametrize("fork", [False, True])
def test_a_killed_program_leaves_nothing_even_if_it_has_forked(fork):
    program, node, directory = _program("time.sleep(60)", fork)
    assert program.stdout is not None
    child = psutil.Process(int(program.stdout.readline())) if fork else None
    family = [node, *node.children(recursive=True)]
    program.kill()
    program.wait(10)
    try:
        until(lambda: all(gone(process) for process in family), 5)
        until(lambda: not os.path.exists(directory), 5)
    finally:
        if child is not None:
            child.kill()
        program.stdout.close()


def test_all_futures_can_be_waited_for_with_the_standard_library(executor):
    futures = [executor.submit(twice, {}, n) for n in range(20)]
    done, rest = wait(futures, timeout=20)
    assert (len(done), len(rest)) == (20, 0)
