"""Long chains, wide fans, many threads and back-pressure: nothing recurses, nothing blocks."""

from __future__ import annotations

import concurrent.futures
import sys
import threading

import pytest

import treadle
from tests.acceptance.executors_under_test import ForeignThreads, Inline
from treadle import Config, ThreadPoolExecutor, join_app, python_app
from treadle.dataflow._machine import Machine
from treadle.errors import DependencyError, NoDataFlowKernelError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(params=["threads", "inline", "foreign"])
def executor(request):
    made = {"threads": ThreadPoolExecutor, "inline": Inline, "foreign": ForeignThreads}
    return made[request.param]()


@pytest.fixture
def config(run_dir):
    def config(*executors, **options):
        return Config(executors or None, run_dir=run_dir, initialize_logging=False, **options)

    return config


@python_app
def inc(x, *others):
    return x + 1


@python_app
def total(*numbers):
    return sum(numbers)


@python_app
def fail():
    raise ValueError("the root")


@python_app
def wait_for(event):
    assert event.wait(20)
    return 1


@pytest.fixture
def events(monkeypatch):
    """Counts what the machine is told: work that grows faster than the tasks shows here."""
    seen = []
    handle = Machine.handle

    def counted(self, event):
        commands = handle(self, event)
        seen.append(len(commands))
        return commands

    monkeypatch.setattr(Machine, "handle", counted)
    return seen


def test_a_chain_of_ten_thousand(config, executor, events):
    with treadle.load(config(executor)):
        gate: concurrent.futures.Future[int] = concurrent.futures.Future()
        future = inc(gate)
        for _ in range(9_999):
            future = inc(future)
        gate.set_result(0)
        assert future.result() == 10_000
    # Submitted, launched and ended; launched once, settled once.
    assert len(events) <= 3 * 10_000 + 10
    assert sum(events) <= 2 * 10_000 + 10


def test_a_chain_of_ten_thousand_fails_as_one(config, executor):
    with treadle.load(config(executor)):
        gate: concurrent.futures.Future[int] = concurrent.futures.Future()
        futures = [inc(gate)]
        for _ in range(9_999):
            futures.append(inc(futures[-1]))
        gate.set_exception(ValueError("the root"))
        error = futures[-1].exception()
        assert isinstance(error, DependencyError)
        assert isinstance(error.__cause__, ValueError)
        assert len(str(error)) < 1000
        assert len(repr(error)) > 0
        assert all(f.exception().__cause__ is error.__cause__ for f in futures)
        del futures, error


def test_a_fan_in_of_five_thousand(config, executor, events):
    with treadle.load(config(executor)):
        assert total(*[inc(i) for i in range(5_000)]).result() == sum(range(1, 5_001))
    assert len(events) <= 3 * 5_001 + 10


def test_a_join_of_five_thousand(config, executor):
    with treadle.load(config(executor)):
        assert join_app(lambda: [inc(i) for i in range(5_000)])().result() == [*range(1, 5_001)]


def test_a_chain_of_cached_calls(config):
    app = python_app(lambda x: x + 1, cache=True)
    with treadle.load(config()):
        future = app(0)
        for _ in range(1_000):
            future = app(future)
        assert future.result() == 1_001


def test_two_thousand_joins_within_each_other(config):
    @join_app
    def down(depth):
        return down(depth - 1) if depth else inc(0)

    with treadle.load(config()):
        assert down(2_000).result() == 1


def test_sixty_four_threads_submit(config, executor):
    results = []

    def work(number):
        future = inc(number * 1000)
        for _ in range(30):
            future = inc(future)
        results.append(future.result())

    with treadle.load(config(executor)) as kernel:
        threads = [threading.Thread(target=work, args=(i,)) for i in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(results) == [i * 1000 + 31 for i in range(64)]
        assert kernel.task_count == 64 * 31
    assert len({*results}) == 64


def test_the_recursion_limit_is_never_near(config):
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(200)
    try:
        with treadle.load(config(Inline())):
            future = inc(0)
            for _ in range(300):
                future = inc(future)
            assert future.result() == 301
    finally:
        sys.setrecursionlimit(limit)


def test_callbacks_that_submit_go_on_for_ever(config, executor):
    """Each callback submits the next task: a chain that nobody can see the end of."""
    done = threading.Event()

    def next_one(future):
        if future.result() >= 1_000:
            done.set()
        else:
            inc(future.result()).add_done_callback(next_one)

    with treadle.load(config(executor)):
        inc(0).add_done_callback(next_one)
        assert done.wait(30)


# --- back-pressure -------------------------------------------------------------------------------


def test_a_user_waits_for_room(config):
    event = threading.Event()
    with treadle.load(config(max_pending=3)) as kernel:
        futures = [wait_for(event) for _ in range(3)]
        submitted = threading.Event()

        def submit():
            futures.append(inc(1))
            submitted.set()

        thread = threading.Thread(target=submit)
        thread.start()
        assert not submitted.wait(0.05)
        assert kernel.task_count <= 4
        event.set()
        assert submitted.wait(10)
        thread.join()
        assert [f.result() for f in futures] == [1, 1, 1, 2]


def test_never_more_are_open_than_allowed(config):
    seen = []
    with treadle.load(config(max_pending=5)) as kernel:

        @python_app
        def look():
            seen.append(len(kernel.tasks))

        for _ in range(200):
            look()
        treadle.wait_for_current_tasks()
    assert len(seen) == 200
    assert max(seen) <= 5 + 1


def test_callbacks_joins_and_nested_calls_never_wait(config, executor):
    with treadle.load(config(executor, max_pending=2)):

        @join_app
        def inner():
            return [inc(i) for i in range(20)]

        @python_app
        def nested():
            return [inc(i) for i in range(20)]

        assert inner().result() == list(range(1, 21))
        assert [f.result() for f in nested().result()] == list(range(1, 21))
        done = threading.Event()
        gate: concurrent.futures.Future[int] = concurrent.futures.Future()
        future = inc(gate)

        def callback(_):
            assert [inc(i).result() for i in range(20)] == list(range(1, 21))
            assert len([inc(i) for i in range(20)]) == 20
            done.set()

        future.add_done_callback(callback)
        gate.set_result(1)
        assert done.wait(10)


def test_parts_of_results_never_wait_for_room(config):
    event = threading.Event()
    with treadle.load(config(max_pending=2)):
        lists = [python_app(lambda: [event.wait(10)])() for _ in range(2)]
        parts = [future[0] for future in lists]
        threading.Timer(0.05, event.set).start()
        # The standard library holds the locks of the first while it looks at the second.
        done, _ = concurrent.futures.wait([*lists, *parts])
        assert len(done) == 4


def test_cleanup_lets_those_who_wait_go_on(config):
    kernel = treadle.load(config(max_pending=1))
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    inc(gate)
    outcomes: list[BaseException | None] = []

    def submit():
        try:
            outcomes.append(inc(1).exception())
        except NoDataFlowKernelError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=submit) for _ in range(8)]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.02)
    kernel.cleanup()
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert len(outcomes) == 8
    assert all(isinstance(o, NoDataFlowKernelError) for o in outcomes)
