"""A client behind the interface of concurrent.futures, for code that knows nothing of clients."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import re
import subprocess
import sys
import textwrap
import time
import weakref
from pathlib import Path

import psutil
import pytest

from tests.integration.cluster_cases import until
from tests.standard_tests import needs_standard_tests, run_standard_tests
from treadle.client import Client, ClientFuture, get_client
from treadle.errors import SchedulerLost, SerializationError

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_process_is_left")]


@pytest.fixture
def client():
    with Client(slots=2) as client:
        client.submit(int).result(20)
        yield client


@pytest.fixture
def pool(client):
    with client.get_executor() as pool:
        yield pool


def square(x):
    return x * x


def keywords(*args, **kwargs):
    return args, kwargs


class Gate:
    """Holds calls until it is opened, and counts those that have begun."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, x=None):
        (self.folder / f"began-{x}").touch()
        while not (self.folder / "open").exists():
            time.sleep(0.01)
        return x

    def open(self):
        (self.folder / "open").touch()

    def begun(self):
        return len(list(self.folder.glob("began-*")))


@pytest.fixture
def gate(tmp_path):
    return Gate(tmp_path)


# --- submit --------------------------------------------------------------------------------------


def test_calls_are_futures_of_the_standard_kind(pool):
    future = pool.submit(square, 3)
    assert isinstance(pool, concurrent.futures.Executor)
    assert isinstance(future, concurrent.futures.Future)
    assert {f.result(20) for f in concurrent.futures.as_completed([future])} == {9}


def test_they_are_the_clients_own_and_stand_for_their_results(client, pool):
    future = pool.submit(square, 2)
    assert isinstance(future, ClientFuture)
    assert pool.submit(pow, future, future).result(20) == 256
    assert client.submit(square, future).result(20) == 16
    assert client.gather([future]) == [4]


def test_each_call_is_a_task_of_its_own_unless_that_is_said(client, pool):
    assert pool.submit(square, 2).key != pool.submit(square, 2).key
    pure = client.get_executor(pure=True)
    first = pure.submit(square, 3)
    assert pure.submit(square, 3) is first


@pytest.mark.parametrize(
    "names",
    [
        {"self": 1, "fn": 2, "func": 3},
        {"key": 1, "workers": 2, "retries": "x", "pure": 4, "plain": 5},
        {"priority": 1, "resources": None},
    ],
)
def test_keywords_that_clients_know_are_the_functions_all_the_same(pool, names):
    assert pool.submit(keywords, 7, **names).result(20) == ((7,), names)


def test_such_a_keyword_may_be_a_future(pool):
    future = pool.submit(keywords, key=pool.submit(square, 2))
    assert future.result(20) == ((), {"key": 4})


def test_options_are_those_of_the_clients_tasks(client, tmp_path):
    def second_time(path):
        if not path.exists():
            path.touch()
            raise OSError("not yet")
        return "there"

    with client.get_executor(retries=1, priority=3) as pool:
        assert pool.submit(second_time, tmp_path / "x").result(20) == "there"
    with pytest.raises(ValueError, match="'retry', 'key' cannot be said.*retries"):
        client.get_executor(retry=1, key="x")


def test_an_error_of_the_call_is_the_futures(pool):
    with pytest.raises(ZeroDivisionError):
        pool.submit(divmod, 1, 0).result(20)


def test_it_tells_how_wide_it_is(pool):
    assert pool._max_workers == 2


def test_a_call_whose_future_nobody_keeps_runs(client, pool, gate):
    head = pool.submit(gate, "head")
    pool.submit(Gate(gate.folder), "alone")
    del pool
    gc.collect()
    gate.open()
    until(lambda: gate.begun() == 2)
    assert head.result(20) == "head"


def test_what_has_ended_is_let_go_of(client, pool):
    future = pool.submit(square, 2)
    assert future.result(20) == 4
    (key,) = client.who_has([future])
    assert any(key in keys for keys in client.has_what().values())
    gone = weakref.ref(future)
    del future
    gc.collect()
    assert gone() is None
    until(lambda: not any(key in keys for keys in client.has_what().values()))


# --- map -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"buffersize": 2}])
def test_map_is_ordered(pool, options):
    assert list(pool.map(square, range(20), **options)) == [x * x for x in range(20)]
    assert list(pool.map(pow, range(4), [2, 2, 2], **options)) == [0, 1, 4]
    assert list(pool.map(square, [], **options)) == []


def test_map_takes_futures(pool):
    assert list(pool.map(square, [pool.submit(square, 2), 3])) == [16, 9]


def test_map_submits_before_it_is_iterated(pool, gate):
    results = pool.map(gate, range(2))
    until(lambda: gate.begun() == 2)
    gate.open()
    assert list(results) == [0, 1]


def test_map_with_a_buffer_takes_items_as_results_are_taken(pool):
    taken = []

    def items():
        for i in range(1000):
            taken.append(i)
            yield i

    results = pool.map(square, items(), buffersize=3)
    assert len(taken) == 3
    assert next(results) == 0
    assert len(taken) == 4
    results.close()


def test_map_checks_its_options_at_once(pool):
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(square, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize"):
        pool.map(square, [1], buffersize=0)
    with pytest.raises(TypeError, match="buffersize"):
        pool.map(square, [1], buffersize="1")


@pytest.mark.parametrize("end", ["an error", "a close", "the time"])
def test_map_that_ends_early_cancels_the_rest(pool, gate, end):
    def call(i):
        if i == 1 and end == "an error":
            raise LookupError
        return i if i == 0 else gate(i)

    results = pool.map(call, range(50), timeout=3 if end == "the time" else None)
    assert next(results) == 0
    if end == "a close":
        results.close()
    else:
        with pytest.raises(LookupError if end == "an error" else TimeoutError):
            next(results)
    gate.open()
    assert pool.submit(square, 3).result(20) == 9
    assert gate.begun() < 10


# --- its end -------------------------------------------------------------------------------------


def test_after_shutdown_calls_are_refused_and_the_client_goes_on(client):
    pool = client.get_executor()
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(square, [1])
    assert client.submit(square, 3).result(20) == 9


def test_after_the_clients_end_calls_are_refused():
    with Client(slots=1) as client:
        pool = client.get_executor()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(square, 1)
    pool.shutdown()


def test_shutdown_waits(client, gate):
    pool = client.get_executor()
    futures = [pool.submit(gate, i) for i in range(5)]
    until(lambda: gate.begun() == 2)
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        ended = threads.submit(pool.shutdown)
        with pytest.raises(TimeoutError):
            ended.result(0.05)
        gate.open()
        ended.result(20)
    assert [f.result(0) for f in futures] == list(range(5))


def test_shutdown_without_waiting_lets_the_calls_end(client, gate):
    pool = client.get_executor()
    futures = [pool.submit(gate, i) for i in range(5)]
    pool.shutdown(wait=False)
    gate.open()
    assert [f.result(20) for f in futures] == list(range(5))


def test_shutdown_can_cancel_what_waits_and_lets_end_what_runs(client, gate):
    pool = client.get_executor()
    running = [pool.submit(gate, i) for i in range(2)]
    until(lambda: gate.begun() == 2)
    waiting = [pool.submit(gate, i) for i in range(2, 12)]
    with concurrent.futures.ThreadPoolExecutor(1) as threads:
        ended = threads.submit(pool.shutdown, cancel_futures=True)
        until(lambda: all(f.cancelled() for f in waiting))
        assert not any(f.done() for f in running)
        gate.open()
        ended.result(20)
    assert [f.result(0) for f in running] == [0, 1]
    assert gate.begun() == 2


def test_shutdown_can_cancel_rows_of_a_map(client, gate):
    pool = client.get_executor()
    running = [pool.submit(gate, -i) for i in (1, 2)]
    until(lambda: gate.begun() == 2)
    results = pool.map(gate, range(100))
    pool.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(concurrent.futures.CancelledError):
        next(results)
    gate.open()
    assert [f.result(20) for f in running] == [-1, -2]


def test_event_loops_can_use_it(client):
    async def main():
        loop = asyncio.get_running_loop()
        with client.get_executor() as pool:
            calls = [loop.run_in_executor(pool, square, i) for i in range(5)]
            return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_event_loops_with_a_client_of_their_own_can_use_it_too(client):
    async def main():
        loop = asyncio.get_running_loop()
        async with Client(client.connection_file, asynchronous=True) as mine:
            pool = mine.get_executor()
            calls = [loop.run_in_executor(pool, square, i) for i in range(5)]
            results = await asyncio.gather(*calls)
            pool.shutdown(wait=False, cancel_futures=True)
            return results

    assert asyncio.run(main()) == [0, 1, 4, 9, 16]


def test_many_threads_may_use_it(client, pool):
    def some(start):
        return sum(pool.map(square, range(start, start + 20)))

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        sums = list(threads.map(some, range(0, 400, 20)))
    assert sum(sums) == sum(x * x for x in range(400))
    until(lambda: not pool._open)


def test_a_task_can_use_it(pool):
    def inner(n):
        with get_client().get_executor() as here:
            return sum(here.map(square, range(n)))

    assert pool.submit(inner, 5).result(20) == 30


def test_neither_it_nor_its_client_can_be_pickled_and_both_say_what_can_be_done(client, pool):
    for mine, hint in ((client, "get_client()"), (pool, "get_client().get_executor()")):
        with pytest.raises(SerializationError, match=re.escape(f"call treadle.{hint}")):
            pool.submit(lambda mine=mine: mine)
        with pytest.raises(SerializationError, match=re.escape(f"call treadle.{hint}")):
            pool.submit(square, mine)


def test_a_scheduler_that_is_lost_ends_all_calls(gate):
    with Client(slots=1) as client:
        pool = client.get_executor()
        assert pool.submit(square, 1).result(20) == 1
        futures = [pool.submit(gate, i) for i in range(3)]
        psutil.Process(client._session.home.process.pid).kill()
        pool.shutdown()
        assert {type(future.exception(0)) for future in futures} == {SchedulerLost}


AT_EXIT = """
    import atexit, time
    from treadle import Client

    def say(seconds, text):
        time.sleep(seconds)
        print(text, flush=True)

    @atexit.register
    def late():
        try:
            pool.submit(say, 0, "too late")
        except RuntimeError as error:
            print(error)

    pool = Client(slots=1).get_executor()
    pool.submit(say, 0.3, "apple")
    pool.submit(say, 0, "pear")
    if {shut_down}:
        pool.shutdown(wait=False)
"""


@pytest.mark.parametrize("shut_down", [False, True])
def test_what_was_submitted_runs_before_the_program_ends(tmp_path, shut_down):
    (tmp_path / "program.py").write_text(textwrap.dedent(AT_EXIT).format(shut_down=shut_down))
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert [word for word in ("apple", "pear") if any(word in line for line in lines)] == [
        "apple", "pear"
    ], lines  # fmt: skip
    assert any("cannot schedule new futures after" in line for line in lines), lines


# --- the interpreter's own tests -----------------------------------------------------------------

STANDARD_TESTS = """
    import multiprocessing, os, pathlib, sys, tempfile, time, unittest
    from treadle.client import Client
    try:
        from test.test_concurrent_futures.executor import ExecutorTest
        from test.test_concurrent_futures.test_wait import WaitTests
        from test.test_concurrent_futures.test_as_completed import AsCompletedTests
        from test.test_concurrent_futures.test_shutdown import ExecutorShutdownTest
    except ModuleNotFoundError:
        from test.test_concurrent_futures import (
            AsCompletedTests, ExecutorShutdownTest, ExecutorTest, WaitTests,
        )

    class Event:
        # One that processes share.
        def __init__(self):
            self.path = pathlib.Path(tempfile.mkdtemp()) / "set"

        def set(self):
            self.path.touch()

        def wait(self, timeout=None):
            end = time.monotonic() + (60 if timeout is None else timeout)
            while not self.path.exists() and time.monotonic() < end:
                time.sleep(0.01)
            return self.path.exists()

    class Pool:
        worker_count = 5

        @classmethod
        def setUpClass(cls):
            cls.client = Client(slots=5)
            cls.client.gather(cls.client.map(time.sleep, [0.1] * 5, pure=False))

        @classmethod
        def tearDownClass(cls):
            cls.client.close()

        def executor_type(self, max_workers=5, **options):
            return self.client.get_executor()

        def create_event(self):
            return Event()

        def setUp(self):
            self.executor = self.client.get_executor()

        def tearDown(self):
            self.executor.shutdown(wait=True)

    class Calls(Pool, ExecutorTest, unittest.TestCase):
        test_max_workers_negative = None  # a constructor that is not ours

    class Waits(Pool, WaitTests, unittest.TestCase):
        pass

    class Completes(Pool, AsCompletedTests, unittest.TestCase):
        pass

    class Ends(Pool, ExecutorShutdownTest, unittest.TestCase):
        # These look for the executor in concurrent.futures.
        test_interpreter_shutdown = None
        test_submit_after_interpreter_shutdown = None
        test_hang_gh83386 = None
        test_hang_issue39205 = None

    from test import support
    support.use_resources = ["walltime", "cpu"]
    unittest.main(verbosity=2)
"""


@pytest.mark.timeout(150)
@needs_standard_tests
def test_it_passes_the_interpreters_own_tests_of_executors(tmp_path: Path) -> None:
    assert "OK" in run_standard_tests(STANDARD_TESTS, tmp_path, 140)
