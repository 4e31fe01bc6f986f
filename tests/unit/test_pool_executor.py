"""A kernel behind the interface of concurrent.futures, for code that knows nothing of Treadle."""

from __future__ import annotations

import concurrent.futures
import functools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.standard_tests import needs_standard_tests, run_standard_tests
from treadle.concurrent import TreadlePoolExecutor
from treadle.config import Config
from treadle.data_provider.files import File
from treadle.dataflow.dflow import DataFlowKernel
from treadle.executors import ThreadPoolExecutor


def config(run_dir: Path, threads: int = 3) -> Config:
    return Config(
        executors=[ThreadPoolExecutor(max_threads=threads)],
        run_dir=str(run_dir),
        initialize_logging=False,
    )


@pytest.fixture
def pool(run_dir: Path) -> Iterator[TreadlePoolExecutor]:
    with TreadlePoolExecutor(config(run_dir)) as executor:
        yield executor


def square(x: int) -> int:
    return x * x


class Gate:
    """Holds calls until it is opened, and counts those that have begun."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)

    def __call__(self, x: Any = None) -> Any:
        self.begun.release()
        assert self.open.wait(15)
        return x


def test_calls_are_futures_of_the_standard_kind(pool: TreadlePoolExecutor) -> None:
    future = pool.submit(square, 3)
    assert isinstance(future, concurrent.futures.Future)
    assert isinstance(pool, concurrent.futures.Executor)
    assert future.result() == 9
    assert {f.result() for f in concurrent.futures.as_completed([future])} == {9}


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "result"),
    [
        (pow, (2, 5), {}, 32),
        (str.upper, ("x",), {}, "X"),
        (functools.partial(square, 4), (), {}, 16),
        (int, ("11",), {"base": 2}, 3),
        (lambda **kw: sorted(kw), (), {"fn": 1, "self": 2, "executors": 3}, None),
        (lambda *a, **kw: (a, kw), (1,), {"func": 2, "resource_specification": 3}, None),
        (lambda *a, **kw: (a, kw), (1,), {"stdout": -1, "stderr": 5, "outputs": ["x"]}, None),
        (lambda *a, **kw: (a, kw), (1,), {"inputs": [2], "label": 1, "walltime": "x"}, None),
    ],
)
def test_any_callable_will_do(
    pool: TreadlePoolExecutor, fn: Any, args: Any, kwargs: Any, result: Any
) -> None:
    expected = fn(*args, **kwargs)
    assert result in (None, expected)
    assert pool.submit(fn, *args, **kwargs).result() == expected


def test_keywords_that_kernels_know_may_be_futures_all_the_same(pool: TreadlePoolExecutor) -> None:
    future = pool.submit(lambda x, func: (x, func), 1, func=pool.submit(square, 2))
    assert future.result() == (1, 4)


def test_files_to_be_written_are_files_of_the_task(
    pool: TreadlePoolExecutor, tmp_path: Path
) -> None:
    def write(outputs: list[File]) -> None:
        Path(outputs[0]).write_text("written")

    future = pool.submit(write, outputs=[File(str(tmp_path / "x"))])
    assert Path(future.outputs[0].result()).read_text() == "written"


def test_a_callable_that_cannot_be_hashed_will_do(pool: TreadlePoolExecutor) -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self) -> int:
            return 4

    assert pool.submit(Unhashable()).result() == 4


def test_futures_passed_on_are_dependencies(pool: TreadlePoolExecutor) -> None:
    assert pool.submit(pow, pool.submit(square, 2), pool.submit(square, 1)).result() == 4
    assert list(pool.map(square, [pool.submit(square, 2), 3])) == [16, 9]
    assert list(pool.map(square, [pool.submit(square, 2), 3], chunksize=2)) == [16, 9]


def test_an_error_of_the_call_is_the_futures(pool: TreadlePoolExecutor) -> None:
    future = pool.submit(divmod, 1, 0)
    with pytest.raises(ZeroDivisionError):
        future.result()


@pytest.mark.parametrize("options", [{}, {"chunksize": 3}, {"buffersize": 2}])
def test_map_is_ordered(pool: TreadlePoolExecutor, options: Any) -> None:
    assert list(pool.map(square, range(20), **options)) == [x * x for x in range(20)]
    assert list(pool.map(pow, range(4), [2, 2, 2], **options)) == [0, 1, 4]
    assert list(pool.map(square, [], **options)) == []


def test_map_submits_before_it_is_iterated(pool: TreadlePoolExecutor) -> None:
    gate = Gate()
    results = pool.map(gate, range(2))
    assert gate.begun.acquire(timeout=15)
    gate.open.set()
    assert list(results) == [0, 1]


def test_map_with_a_buffer_takes_items_as_results_are_taken(pool: TreadlePoolExecutor) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for i in range(1000):
            taken.append(i)
            yield i

    results = pool.map(square, items(), buffersize=3)
    assert len(taken) == 3
    assert next(results) == 0
    assert len(taken) == 4
    results.close()  # type: ignore[attr-defined]


def test_map_checks_its_options_at_once(pool: TreadlePoolExecutor) -> None:
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(square, [1], chunksize=0)
    with pytest.raises(ValueError, match="buffersize"):
        pool.map(square, [1], buffersize=0)
    with pytest.raises(TypeError, match="buffersize"):
        pool.map(square, [1], buffersize="1")  # type: ignore[arg-type]


def test_map_that_meets_an_error_cancels_the_rest(run_dir: Path) -> None:
    gate = Gate()
    ran: list[int] = []

    def first_fails(i: int) -> None:
        if i == 0:
            raise LookupError
        gate()
        ran.append(i)

    with TreadlePoolExecutor(config(run_dir, threads=1)) as pool:
        results = pool.map(first_fails, range(50))
        with pytest.raises(LookupError):
            next(results)
        gate.open.set()
    assert len(ran) <= 1, "only one that had begun by then"


def test_map_that_is_closed_cancels_the_rest(run_dir: Path) -> None:
    gate, ran = Gate(), []  # type: ignore[var-annotated]

    def call(i: int) -> None:
        if i == 1:
            gate()
        ran.append(i)

    with TreadlePoolExecutor(config(run_dir, threads=1)) as pool:
        results = pool.map(call, range(50))
        next(results)
        assert gate.begun.acquire(timeout=15)
        results.close()  # type: ignore[attr-defined]
        gate.open.set()
    assert ran == [0, 1]


def test_map_times_out(run_dir: Path) -> None:
    gate = Gate()
    with TreadlePoolExecutor(config(run_dir)) as pool:
        with pytest.raises(TimeoutError):
            list(pool.map(gate, [1], timeout=0.05))
        gate.open.set()


@pytest.mark.parametrize("options", [{"dfk": None}, {}])
def test_neither_config_nor_dfk_is_refused(options: Any) -> None:
    with pytest.raises(ValueError, match="neither"):
        TreadlePoolExecutor(**options)


def test_both_config_and_dfk_are_refused(run_dir: Path) -> None:
    with pytest.raises(ValueError, match="both"):
        TreadlePoolExecutor(config=config(run_dir), dfk=object())  # type: ignore[arg-type]


def test_after_shutdown_calls_are_refused(run_dir: Path) -> None:
    pool = TreadlePoolExecutor(config(run_dir))
    pool.shutdown()
    pool.shutdown()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(square, 1)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.map(square, [1])


def test_a_kernel_that_is_gone_refuses_like_an_executor_that_is_shut_down(run_dir: Path) -> None:
    kernel = DataFlowKernel(config(run_dir))
    pool = TreadlePoolExecutor(dfk=kernel)
    kernel.cleanup()
    with pytest.raises(RuntimeError, match="cannot schedule new futures"):
        pool.submit(square, 1)


def test_shutdown_waits(run_dir: Path) -> None:
    gate = Gate()
    pool = TreadlePoolExecutor(config(run_dir))
    futures = [pool.submit(gate, i) for i in range(5)]
    threading.Timer(0.05, gate.open.set).start()
    pool.shutdown()
    assert [f.result(0) for f in futures] == list(range(5))


def test_shutdown_without_waiting_lets_the_calls_end(run_dir: Path) -> None:
    gate = Gate()
    pool = TreadlePoolExecutor(config(run_dir))
    futures = [pool.submit(gate, i) for i in range(5)]
    pool.shutdown(wait=False)
    gate.open.set()
    assert [f.result(15) for f in futures] == list(range(5))
    for thread in threading.enumerate():
        if thread.name == "treadle-shutdown":
            thread.join(15)


def test_shutdown_can_cancel_what_has_not_begun(run_dir: Path) -> None:
    gate = Gate()
    pool = TreadlePoolExecutor(config(run_dir, threads=1))
    running = pool.submit(gate)
    waiting = [pool.submit(square, i) for i in range(10)]
    assert gate.begun.acquire(timeout=15)
    threading.Timer(0.05, gate.open.set).start()
    pool.shutdown(cancel_futures=True)
    assert all(f.cancelled() for f in waiting)
    assert running.done()


def test_a_kernel_that_was_given_goes_on(run_dir: Path) -> None:
    with DataFlowKernel(config(run_dir)) as kernel:
        with TreadlePoolExecutor(dfk=kernel, executors=["threads"]) as pool:
            assert pool.submit(square, 2).result() == 4
        assert kernel.submit(square, (3,)).result() == 9


def test_two_pools_at_once(run_dir: Path) -> None:
    with TreadlePoolExecutor(config(run_dir)) as a, TreadlePoolExecutor(config(run_dir)) as b:
        assert b.submit(square, a.submit(square, 2)).result() == 16


def test_it_tells_how_wide_it_is(pool: TreadlePoolExecutor) -> None:
    assert pool._max_workers == 3


def test_functions_are_counted_and_made_apps_once(pool: TreadlePoolExecutor) -> None:
    assert pool.app_count == 0
    app = pool.get_app(square)
    assert pool.get_app(square) is app
    assert app(3).result() == 9
    pool.submit(square, 1)
    pool.submit(pow, 1, 1)
    assert pool.app_count == 2


STANDARD_TESTS = """
    import sys, unittest
    from concurrent import futures
    from treadle.concurrent import TreadlePoolExecutor
    from treadle.config import Config
    from treadle.executors import ThreadPoolExecutor
    try:
        from test.test_concurrent_futures.executor import ExecutorTest
        from test.test_concurrent_futures.test_wait import WaitTests
        from test.test_concurrent_futures.test_as_completed import AsCompletedTests
        from test.test_concurrent_futures.test_shutdown import ExecutorShutdownTest
    except ModuleNotFoundError:
        from test.test_concurrent_futures import (
            AsCompletedTests, ExecutorShutdownTest, ExecutorTest, WaitTests,
        )

    class Pool:
        worker_count = 5
        executor_type = TreadlePoolExecutor

        def setUp(self):
            self.executor = TreadlePoolExecutor(Config(
                executors=[ThreadPoolExecutor(max_threads=5)], initialize_logging=False))

        def tearDown(self):
            self.executor.shutdown(wait=True)

    class Calls(Pool, ExecutorTest, unittest.TestCase):
        test_max_workers_negative = None  # a constructor that is not ours

    class Waits(Pool, WaitTests, unittest.TestCase):
        pass

    class Completes(Pool, AsCompletedTests, unittest.TestCase):
        pass

    class Ends(Pool, unittest.TestCase):
        # The others look for the executor in concurrent.futures.
        test_run_after_shutdown = ExecutorShutdownTest.test_run_after_shutdown

    unittest.main(verbosity=1)
"""


@pytest.mark.timeout(120)
@needs_standard_tests
def test_it_passes_the_interpreters_own_tests_of_executors(tmp_path: Path) -> None:
    assert "OK" in run_standard_tests(STANDARD_TESTS, tmp_path, 110)
