"""Tasks on threads: their beginning, their end, and being stopped."""

from __future__ import annotations

import concurrent.futures
import gc
import threading
import traceback
import weakref

import pytest

from treadle import ThreadPoolExecutor
from treadle.errors import ConfigurationError, InvalidResourceSpecification
from treadle.executors import threads as threads_module
from treadle.executors.base import ParslExecutor


@pytest.fixture
def executor():
    executor = ThreadPoolExecutor("test", max_threads=2)
    executor.start()
    yield executor
    executor.shutdown()
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPoolExecutor-test")]


def test_it_runs_what_it_is_given(executor):
    future = executor.submit(lambda a, *, b: (a, b, threading.current_thread().name), {}, 1, b=2)
    assert future.result(10) == (1, 2, "ThreadPoolExecutor-test_0")
    assert future.started is not None


@pytest.mark.parametrize("wrong", [0, -1, 1.5, "2", True, None])
def test_a_wrong_width_says_what_is_allowed(wrong):
    with pytest.raises(ConfigurationError, match="whole number of at least 1"):
        ThreadPoolExecutor(max_threads=wrong)


def test_its_repr_rebuilds_it():
    executor = ThreadPoolExecutor("x", 3, thread_name_prefix="p", working_dir="/w", managed=False)
    again = eval(repr(executor))
    assert repr(again) == repr(executor)


def test_it_takes_no_resources(executor):
    with pytest.raises(InvalidResourceSpecification, match="'gpus'"):
        executor.submit(len, {"gpus": 1}, [])


def test_after_the_end_it_takes_nothing(executor):
    executor.shutdown()
    with pytest.raises(RuntimeError, match="has been shut down"):
        executor.submit(len, {}, [])
    assert executor.outstanding == 0
    executor.start()
    assert executor.submit(len, {}, [1]).result(10) == 1


def test_what_was_submitted_in_time_is_run_even_while_it_ends():
    for _ in range(100):
        executor = ThreadPoolExecutor("race", max_threads=2)
        futures, go = [], threading.Event()

        def submit(executor=executor, futures=futures, go=go):
            go.wait()
            try:
                while True:
                    futures.append(executor.submit(int, {}))
            except RuntimeError:
                return

        adding = [threading.Thread(target=submit) for _ in range(2)]
        for thread in adding:
            thread.start()
        go.set()
        executor.shutdown()
        for thread in adding:
            thread.join()
        executor.shutdown()
        assert concurrent.futures.wait(futures, timeout=10).not_done == set()
        assert executor.outstanding == 0


def test_what_queues_can_be_cancelled(executor):
    event = threading.Event()
    running = [executor.submit(event.wait, {}, 10) for _ in range(2)]
    queued = [executor.submit(int, {}) for _ in range(5)]
    executor.cancel_queued()
    assert all(f.cancelled() for f in queued)
    event.set()
    assert [f.result(10) for f in running] == [True, True]
    executor.shutdown()
    assert executor.outstanding == 0


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, StopIteration])
def test_a_task_may_raise_anything(executor, kind):
    def throw():
        raise kind("x")

    for _ in range(3):
        error = executor.submit(throw, {}).exception(10)
        assert type(error) is kind
        assert traceback.extract_tb(error.__traceback__)[0].name == "throw"
    assert executor.submit(int, {}).result(10) == 0


class NoTrace(Exception):
    def with_traceback(self, tb):
        raise RuntimeError("no")


def test_an_exception_that_defends_its_trace_is_an_outcome(executor):
    def throw():
        raise NoTrace

    assert isinstance(executor.submit(throw, {}).exception(10), NoTrace)
    assert executor.submit(int, {}).result(10) == 0


def test_a_bad_state_fails_all_and_leaves_the_threads_working(executor):
    event = threading.Event()
    running = [executor.submit(event.wait, {}, 10) for _ in range(2)]
    queued = [executor.submit(int, {}) for _ in range(3)]
    error = OSError("gone")
    executor.set_bad_state_and_fail_all(error)
    assert executor.bad_state_is_set
    assert [f.exception(10) for f in [*running, *queued]] == [error] * 5
    with pytest.raises(OSError, match="gone"):
        executor.submit(int, {})
    event.set()
    executor.shutdown()
    assert executor.outstanding == 0


def test_a_task_that_ended_holds_nothing(executor):
    class Thing:
        pass

    thing = Thing()
    reference = weakref.ref(thing)
    future = executor.submit(lambda thing: 1, {}, thing)
    assert future.result(10) == 1
    del thing
    for _ in range(500):
        gc.collect()
        if reference() is None:
            break
        threading.Event().wait(0.01)
    assert reference() is None


class Stoppable:
    """Like the function of a bash app: it can be told to end from another thread."""

    def __init__(self):
        self.told = threading.Event()
        self.began = threading.Event()
        self.thread = None
        self.asked: list[int] = []
        self.cancel_running = self.stop

    def stop(self, thread):
        self.asked.append(thread)
        self.told.set()
        return True

    def __call__(self):
        self.thread = threading.get_ident()
        self.began.set()
        assert self.told.wait(10)
        raise concurrent.futures.CancelledError


def test_a_function_that_can_be_stopped_is(executor):
    work = Stoppable()
    future = executor.submit(work, {})
    assert work.began.wait(10)
    assert future.cancel()
    assert future.cancelled()
    assert work.asked == [work.thread]
    assert not future.set_running_or_notify_cancel()
    assert executor.submit(int, {}).result(10) == 0


def test_a_function_that_refuses_goes_on(executor):
    work = Stoppable()
    work.cancel_running = lambda thread: False
    future = executor.submit(work, {})
    assert work.began.wait(10)
    assert not future.cancel()
    assert future.running()
    work.told.set()
    assert isinstance(future.exception(10), concurrent.futures.CancelledError)


def test_stopping_never_hits_the_next_task():
    """Whoever stops a task holds its thread back until it is done with it."""
    executor = ThreadPoolExecutor("one", max_threads=1)
    began: list[int] = [-1]

    class Quick:
        def __init__(self, number):
            self.number = number
            self.thread_was_at: list[int] = []
            self.cancel_running = self.stop

        def stop(self, thread):
            self.thread_was_at.append(began[0])
            return True

        def __call__(self):
            began[0] = self.number

    for number in range(0, 1000, 2):
        work = [Quick(number), Quick(number + 1)]
        futures = [executor.submit(w, {}) for w in work]
        for future in futures:
            future.cancel()
        concurrent.futures.wait(futures, timeout=10)
        for w in work:
            assert all(at <= w.number for at in w.thread_was_at)
    executor.shutdown()


def test_without_any_thread_the_call_is_refused(monkeypatch):
    def refuse(name, run):
        raise RuntimeError("can't start new thread")

    executor = ThreadPoolExecutor("none")
    monkeypatch.setattr(threads_module, "start_daemon", refuse)
    with pytest.raises(RuntimeError, match="can't start"):
        executor.submit(int, {})
    executor.shutdown()


def test_ten_lines_are_an_executor():
    class Tiny(ParslExecutor):
        label = "tiny"

        def start(self):
            pass

        def submit(self, func, resource_specification, *args, **kwargs):
            future: concurrent.futures.Future = concurrent.futures.Future()
            future.set_result(func(*args, **kwargs))
            return future

        def shutdown(self, block=True):
            pass

    with Tiny() as tiny:
        assert tiny.submit(len, {}, [1]).result() == 1
        assert (tiny.scale_out(), tiny.scale_in(1), tiny.status(), tiny.tasks) == ([], [], {}, {})
        assert (tiny.outstanding, tiny.scaling_enabled, tiny.status_polling_interval) == (
            0,
            False,
            0,
        )
        assert (tiny.hub_address, tiny.hub_port, tiny.monitor_resources()) == (None, None, False)
        assert (tiny.bad_state_is_set, tiny.executor_exception) == (False, None)
        tiny.run_dir = "somewhere"
        assert tiny.run_dir == "somewhere"
    with pytest.raises(TypeError, match="abstract"):
        ParslExecutor()
