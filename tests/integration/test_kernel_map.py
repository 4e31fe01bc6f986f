"""Maps over an executor that takes many calls at once: what they result in, and what they cost."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from pathlib import Path
from typing import Any

import pytest

import treadle
from tests.acceptance.executors_under_test import until
from tests.unit.kernel.fake_sink import FakeCluster
from treadle import Config, File, bash_app, join_app, python_app
from treadle.concurrent import TreadlePoolExecutor
from treadle.dataflow.dependency_resolvers import DEEP_DEPENDENCY_RESOLVER
from treadle.dataflow.states import States
from treadle.errors import DependencyError, NoDataFlowKernelError, SerializationError
from treadle.executors.threads import ThreadPoolExecutor


@pytest.fixture
def load(run_dir: Any) -> Iterator[Callable[..., FakeCluster]]:
    clusters: list[FakeCluster] = []

    def load(*others: Any, config: dict[str, Any] | None = None, **options: Any) -> FakeCluster:
        cluster = FakeCluster(**options)
        clusters.append(cluster)
        quiet = {"run_dir": run_dir, "initialize_logging": False}
        cluster.kernel = treadle.load(Config([cluster, *others], **quiet, **(config or {})))
        return cluster

    yield load
    for cluster in clusters:
        with contextlib.suppress(NoDataFlowKernelError):
            cluster.kernel.cleanup()
        assert cluster.sink.complaints == []


@python_app
def add(x, y=0):
    return x + y


@python_app
def invert(x):
    return 1 / x


def counts(cluster):
    return {state: n for state, n in cluster.kernel.task_state_counts.items() if n}


def bundles(cluster):
    """How many tasks the sink was given; each row of a map would be one."""
    return len(cluster.sink.admitted)


def settle(cluster):
    for _ in range(3):
        done = threading.Event()
        cluster.kernel._engine.call_soon(done.set)
        assert done.wait(10)


# --- results ----------------------------------------------------------------------------------------


def test_results_come_in_order_and_many_calls_are_one_task(load):
    cluster = load(threads=4)
    assert list(add.map(range(3000), range(3000))) == [2 * i for i in range(3000)]
    assert bundles(cluster) < 60
    assert cluster.submitted == []
    assert counts(cluster) == {States.exec_done: 3000}
    assert cluster.kernel.task_count == 3000
    assert cluster.kernel.tasks == {}


def test_numbers_of_rows_and_tasks_never_meet(load):
    cluster = load()
    singles = [add(i) for i in range(5)]
    results = add.map(range(2000), window=100)
    singles += [add(next(results)) for _ in range(5)]
    rest = list(results)
    singles.append(add(1))
    assert rest == list(range(5, 2000))
    assert [f.tid for f in singles] == sorted({f.tid for f in singles})
    assert singles[-1].tid == 2000 + 10
    assert cluster.kernel.task_count == 2011


def test_a_part_that_is_told_early_waits_for_its_turn(load):
    cluster = load(threads=0, rows_at_once=10)
    results = add.map(range(100), window=100)
    settle(cluster)
    held = []
    tell = cluster.sink._tell
    cluster.sink._tell = held.append
    cluster.sink.run()
    cluster.sink._tell = tell
    for outcome in reversed(held):
        tell(outcome)
    assert list(results) == list(range(100))


def test_keywords_are_common_to_all_rows_and_may_be_futures(load):
    cluster = load()
    assert list(add.map(range(100), y=add(1, 1))) == list(range(2, 102))
    assert cluster.submitted == []
    dependencies = {d for d in cluster.sink.admitted.values() if d}
    assert dependencies == {(0,)}


def test_a_row_that_fails_raises_at_its_turn_and_the_rest_is_cancelled(load):
    cluster = load(threads=0)
    results = invert.map([1, 2, 0, 4, *range(1, 500)], window=200)
    settle(cluster)
    cluster.sink.run(1)
    assert [next(results), next(results)] == [1.0, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert list(results) == []
    settle(cluster)
    told = counts(cluster)
    assert cluster.kernel.tasks == {}
    assert set(told) == {States.exec_done, States.failed}
    assert sum(told.values()) == cluster.kernel.task_count
    assert cluster.sink.cancelled


def test_closing_cancels_what_has_not_ended(load):
    cluster = load(threads=0)
    with add.map(range(500), window=500):
        settle(cluster)
        assert counts(cluster) == {States.launched: 500}
    settle(cluster)
    assert counts(cluster) == {States.failed: 500}
    assert len(cluster.sink.cancelled) == bundles(cluster)


def test_all_parts_are_released(load):
    cluster = load()
    assert sum(add.map(range(2000))) == sum(range(2000))
    ends = invert.map([1, 0, 2])
    assert next(ends) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(ends)
    until(lambda: cluster.sink.values == {})


# --- the window ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [1, 3, 10, 64])
def test_the_window_bounds_what_is_read(load, window):
    load()
    read = []

    def items():
        for i in itertools.count():
            read.append(i)
            yield i

    with add.map(items(), window=window) as results:
        assert len(read) <= window
        for taken in range(1, 200):
            assert next(results) == taken - 1
            assert len(read) <= window + taken


def test_the_default_window_is_a_thousand_at_first_and_grows_where_calls_are_short(load):
    load(threads=2, rows_at_once=500)
    read = []

    def items():
        for i in itertools.count():
            read.append(i)
            yield i

    with add.map(items()) as results:
        assert len(read) == 1000
        for taken in range(30_000):
            assert next(results) == taken
            if len(read) - taken > 1500:
                break
        else:
            pytest.fail("the window stayed as it was")


def test_an_error_of_the_iterable_comes_after_the_results_before_it(load):
    load()

    def items():
        yield from range(300)
        raise OSError("unreadable")

    results = add.map(items())
    assert list(itertools.islice(results, 300)) == list(range(300))
    with pytest.raises(OSError, match="unreadable"):
        next(results)
    assert list(results) == []


def test_max_pending_counts_rows(load):
    cluster = load(threads=0, config={"max_pending": 20})
    taken = []
    reader = threading.Thread(target=lambda: taken.extend(add.map(range(100), window=80)))
    reader.start()
    until(lambda: sum(counts(cluster).values()) == 20)
    assert reader.is_alive()
    while reader.is_alive():
        cluster.sink.run(1)
        open_rows = counts(cluster).get(States.launched, 0)
        assert open_rows <= 20
        threading.Event().wait(0.001)
    assert taken == list(range(100))


# --- what is called row by row ------------------------------------------------------------------------


def test_rows_with_futures_or_files_are_tasks_of_their_own(load, tmp_path):
    cluster = load()
    foreign: Future[int] = Future()
    foreign.set_result(5)
    assert list(add.map([1, add(1), foreign, 4])) == [1, 1, 5, 4]
    path = tmp_path / "file"
    path.write_text("text")
    read = python_app(lambda file: Path(file.filepath).read_text())
    assert list(read.map([File(str(path))])) == ["text"]
    assert bundles(cluster) >= 4


def test_a_chunk_with_a_future_in_it_does_not_keep_the_others_from_being_bundles(load):
    cluster = load()
    items = [*range(600), add(600), *range(601, 1200)]
    assert list(add.map(items, window=400)) == list(range(1200))
    assert bundles(cluster) < 200


def test_with_the_deep_resolver_futures_inside_rows_are_found(load):
    cluster = load(config={"dependency_resolver": DEEP_DEPENDENCY_RESOLVER})
    total = python_app(sum)
    assert list(total.map([[1, 2], [add(3), 4]])) == [3, 7]
    assert list(total.map([[1, 2], [3, 4]])) == [3, 7]
    assert cluster.submitted == []


@pytest.mark.parametrize("kind", ["cached", "threads", "handler", "bound"])
def test_who_cannot_be_bundled_is_mapped_as_before(load, kind):
    options: dict[str, Any] = {}
    if kind == "handler":
        options["config"] = {"retry_handler": lambda e, r: 1}
    cluster = load(ThreadPoolExecutor("threads"), **options)
    on = ["threads"] if kind == "threads" else ["fake"]

    class Adder:
        by = 1

        @python_app(executors=["fake"])
        def add(self, x):
            return self.by + x

    app = python_app(lambda x: 1 + x, cache=kind == "cached", executors=on)
    app = Adder().add if kind == "bound" else app
    assert list(app.map(range(50))) == list(range(1, 51))
    assert bundles(cluster) == (50 if kind == "bound" else 0)


def test_joins_and_commands_are_mapped(load):
    load(copies=False)
    assert list(join_app(lambda x: add(x, 1)).map(range(5))) == [1, 2, 3, 4, 5]
    assert list(bash_app(lambda x: f"exit {x}").map([0, 0])) == [0, 0]


def test_a_row_that_cannot_be_pickled_raises_at_its_turn(load):
    load()
    results = python_app(lambda x: 1).map([1, 2, threading.Lock(), 4])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(SerializationError):
        next(results)


def test_a_function_that_cannot_be_pickled_raises_at_the_first_turn(load):
    load()
    lock = threading.Lock()
    results = python_app(lambda x: lock).map([1, 2])
    with pytest.raises(SerializationError):
        next(results)


def test_special_keywords_are_those_of_each_call(load):
    cluster = load()
    slow = python_app(lambda x, y=1: x * y)
    assert list(slow.map(range(50), walltime=5, label="x")) == list(range(50))
    asks = python_app(lambda x: x)
    assert list(asks.map(range(50), parsl_resource_specification={"cores": 2})) == list(range(50))
    assert bundles(cluster) < 30
    with pytest.raises(treadle.errors.InvalidResourceSpecification):
        list(asks.map(range(5), parsl_resource_specification={"wings": 2}))


# --- failures as a whole ------------------------------------------------------------------------------


def test_a_failure_of_what_is_common_is_that_of_the_first_row(load):
    cluster = load()
    results = add.map(range(50), y=invert(0))
    with pytest.raises(DependencyError, match="division by zero"):
        next(results)
    settle(cluster)
    assert counts(cluster) == {States.failed: 1, States.dep_fail: 50}


def test_a_map_ends_with_its_kernel(load):
    cluster = load(threads=0)
    results = add.map(range(100), window=100)
    settle(cluster)
    while not cluster.sink._ready.empty():
        cluster.sink._ready.get()  # the sink forgets them
    errors: list[BaseException] = []

    def read() -> None:
        try:
            next(results)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    cluster.kernel.cleanup()
    reader.join(10)
    assert isinstance(errors[0], NoDataFlowKernelError)


def test_a_map_outlives_its_kernel_as_far_as_it_was_called(load):
    cluster = load()
    results = add.map(range(100), window=100)
    cluster.kernel.cleanup()
    assert list(results) == list(range(100))


def test_a_bundle_that_is_cancelled_by_its_record_says_so(load):
    cluster = load(threads=0)
    results = add.map(range(10), window=40)
    settle(cluster)
    for record in list(cluster.kernel.tasks.values()):
        assert record.app_fu.cancel()
    with pytest.raises(CancelledError):
        next(results)


# --- the pool executor --------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"buffersize": 10}, {"chunksize": 7}, {"buffersize": 1}])
def test_the_pool_executor_maps_many_calls_as_one_task(load, options):
    cluster = load()
    with TreadlePoolExecutor(dfk=cluster.kernel) as pool:
        assert list(pool.map(pow, range(300), [2] * 300, **options)) == [i * i for i in range(300)]
        assert list(pool.map(abs, [-1, pool.submit(abs, -2)], **options)) == [1, 2]
        assert pool.app_count == 2
    assert bundles(cluster) < 310


def test_the_pool_executors_buffer_bounds_what_is_read(load):
    cluster = load()
    read = []

    def items():
        for i in range(1000):
            read.append(i)
            yield i

    with TreadlePoolExecutor(dfk=cluster.kernel) as pool:
        results = pool.map(abs, items(), buffersize=20)
        assert len(read) == 20
        assert list(itertools.islice(results, 100)) == list(range(100))
        assert len(read) <= 120
        results.close()


def test_the_pool_executors_map_times_out_and_can_be_shut_down(load):
    cluster = load(threads=0)
    pool = TreadlePoolExecutor(dfk=cluster.kernel)
    with pytest.raises(TimeoutError):
        list(pool.map(abs, range(10), timeout=0.01))
    settle(cluster)
    assert cluster.kernel.tasks == {}
    pool.map(abs, range(10))
    pool.shutdown(wait=False, cancel_futures=True)
    settle(cluster)
    assert cluster.kernel.tasks == {}
    with pytest.raises(RuntimeError):
        pool.map(abs, [1])


def test_a_failing_call_of_the_pool_executors_map_cancels_the_rest(load):
    cluster = load(threads=0)
    with TreadlePoolExecutor(dfk=cluster.kernel) as pool:
        results = pool.map(lambda x: 1 // x, [1, 0, 1, *range(9000)])
        settle(cluster)
        cluster.sink.run(1)
        assert next(results) == 1
        with pytest.raises(ZeroDivisionError):
            next(results)
        settle(cluster)
        assert cluster.kernel.tasks == {}
