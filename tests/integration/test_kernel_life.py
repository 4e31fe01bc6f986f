"""A kernel's beginning, its hooks, its end, and what comes too late."""

from __future__ import annotations

import concurrent.futures
import gc
import logging
import threading

import pytest

import treadle
import treadle.dataflow.memoization
import treadle.errors
from tests.acceptance.executors_under_test import ForeignThreads, Inline
from treadle import Config, DataFlowKernel, ThreadPoolExecutor, join_app, python_app
from treadle.dataflow._machine import Machine
from treadle.dataflow.states import FINAL_STATES, States
from treadle.errors import (
    ConfigurationError,
    EngineCrashed,
    IllegalTransition,
    NoDataFlowKernelError,
    TreadleError,
)
from treadle.executors.base import ParslExecutor
from treadle.runtime.engine import Engine


@pytest.fixture
def config(run_dir):
    def config(*executors, **options):
        return Config(executors or None, run_dir=run_dir, initialize_logging=False, **options)

    return config


@python_app
def same(x, *others):
    return x


@python_app
def wait_for(event):
    assert event.wait(10)
    return "waited"


def open_gate():
    return concurrent.futures.Future()


# --- beginning and end ---------------------------------------------------------------------------


def test_cleaning_up_twice_says_so(config):
    kernel = treadle.load(config())
    kernel.cleanup()
    with pytest.raises(NoDataFlowKernelError, match="before"):
        kernel.cleanup()


def test_a_submit_after_the_end_says_what_to_do(config):
    kernel = treadle.load(config())
    kernel.cleanup()
    with pytest.raises(NoDataFlowKernelError, match=r"treadle\.load\(\)"):
        kernel.submit(len, ([],))
    with pytest.raises(NoDataFlowKernelError):
        same(1)
    with pytest.raises(NoDataFlowKernelError):
        kernel.add_executors([ThreadPoolExecutor("late")])


def test_what_was_never_handed_over_fails_at_the_end(config):
    kernel = treadle.load(config())
    gate = open_gate()
    future = same(gate)
    after = same(future)
    kernel.cleanup()
    for f in (future, after):
        with pytest.raises((NoDataFlowKernelError, treadle.errors.DependencyError)):
            f.result()
    gate.set_result(1)  # and nobody minds any more


def test_the_hooks_of_a_kernel_that_has_ended_answer(config):
    kernel = treadle.load(config(garbage_collect=False))
    future = same(1)
    future.result()
    kernel.cleanup()
    with pytest.raises(TreadleError):
        kernel.update_task_state(future.task_record, States.failed)
    assert not future.cancel()
    kernel.wait_for_current_tasks()
    kernel.log_task_states()
    kernel.atexit_cleanup()


@pytest.mark.parametrize(("mode", "ended"), [("cleanup", True), ("skip", False), ("wait", True)])
def test_the_exit_modes(config, mode, ended):
    gate = open_gate()
    with treadle.load(config(exit_mode=mode)) as kernel:
        future = same(gate)
        if mode == "wait":
            threading.Timer(0.05, gate.set_result, (3,)).start()
    if mode == "wait":
        assert future.result() == 3
    if mode == "cleanup":
        assert isinstance(future.exception(), NoDataFlowKernelError)
    if ended:
        with pytest.raises(NoDataFlowKernelError):
            kernel.cleanup()
    else:
        assert not future.done()
        kernel.cleanup()


def test_an_exception_in_the_block_waits_for_nothing(config):
    event = threading.Event()
    futures = []

    def program():
        with treadle.load(config(exit_mode="wait")):
            futures.extend(wait_for(event) for _ in range(10))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        program()
    assert all(f.done() for f in futures)
    assert all(
        isinstance(_error(f), (TreadleError, concurrent.futures.CancelledError)) for f in futures
    )
    event.set()


def _error(future):
    try:
        return future.exception()
    except concurrent.futures.CancelledError as error:
        return error


def test_recorded_results_are_not_given_up_at_the_end(config):
    """The memoizer is still busy with results when the executors have ended."""
    slow = threading.Event()

    class Memoizer(treadle.dataflow.memoization.BasicMemoizer):
        def update_memo_result(self, task_record, result):
            slow.wait(0.2)
            super().update_memo_result(task_record, result)

    kernel = treadle.load(config(memoizer=Memoizer()))
    app = python_app(lambda x: x, cache=True)
    futures = [app(i) for i in range(8)]
    join = join_app(lambda: futures)()
    concurrent.futures.wait(futures[:1])
    kernel.cleanup()
    handed_over = [f for f in futures if f.task_status() == "exec_done"]
    assert handed_over
    assert all(f.done() for f in [*futures, join])


def test_callbacks_that_are_due_are_called_before_the_end(config):
    called = []

    def callback(future):
        threading.Event().wait(0.05)
        called.append(future.result())

    with treadle.load(config(exit_mode="wait")):
        gate = open_gate()
        futures = [same(gate, i) for i in range(10)]
        for future in futures:
            future.add_done_callback(callback)
        gate.set_result(5)
    assert called == [5] * 10


def test_an_executor_that_cannot_start_takes_the_others_with_it(config):
    class Broken(Inline):
        def start(self):
            raise OSError("no")

    ended = []

    class Good(Inline):
        def shutdown(self, block=True):
            ended.append(block)

    with pytest.raises(ConfigurationError, match="'broken' cannot be started: OSError: no"):
        treadle.load(config(Good("good"), Broken("broken")))
    assert ended == [False]
    with pytest.raises(NoDataFlowKernelError):
        treadle.dfk()


def test_a_configuration_can_be_loaded_again(config):
    same_config = config(ThreadPoolExecutor("threads"))
    for _ in range(3):
        with treadle.load(same_config):
            assert same(1).result() == 1


def test_cleanup_from_a_callback_and_from_a_task(config):
    kernel = treadle.load(config())
    gate, ended = open_gate(), threading.Event()
    future = same(gate)

    def end(_):
        kernel.cleanup()
        ended.set()

    future.add_done_callback(end)
    gate.set_result(1)
    assert ended.wait(10)

    kernel = treadle.load(config())
    from_task = threading.Event()

    @python_app
    def end_it():
        kernel.cleanup()
        from_task.set()

    end_it().exception()  # its kernel did not wait for it
    assert from_task.wait(10)
    with pytest.raises(NoDataFlowKernelError):
        treadle.dfk()


def test_executors_are_added_while_it_runs(config):
    with treadle.load(config()) as kernel:
        kernel.add_executors([Inline("later")])
        assert python_app(threading.get_ident, executors=["later"])().result() != 0
        with pytest.raises(ConfigurationError, match="'later' is there already"):
            kernel.add_executors([Inline("later")])


def test_the_summary_of_states_is_logged_in_the_known_words(config, caplog):
    with treadle.load(config()) as kernel, caplog.at_level(logging.INFO, logger="treadle"):
        same(1).result()
        kernel.log_task_states()
        lines = [r.getMessage() for r in caplog.records]
    assert "Summary of tasks in DFK:" in lines
    assert "Tasks in state States.exec_done: 1" in lines
    assert "Tasks in state States.pending: 0" in lines


# --- the hooks -----------------------------------------------------------------------------------


def test_a_legal_state_is_taken_and_an_illegal_one_tells_the_story(config):
    with treadle.load(config(garbage_collect=False)) as kernel:
        gate = open_gate()
        waiting, done = same(gate), same(1)
        done.result()
        for state in States:
            with pytest.raises(IllegalTransition, match=f"story of task {done.tid}: pending"):
                kernel.update_task_state(done.task_record, state)
        with pytest.raises(IllegalTransition, match="allowed"):
            kernel.update_task_state(waiting.task_record, States.exec_done)
        kernel.update_task_state(waiting.task_record, States.failed)
        with pytest.raises(TreadleError, match="update_task_state"):
            waiting.result()
        gate.set_result(1)
        assert same(2).result() == 2


def test_launching_is_idempotent_or_illegal(config):
    with treadle.load(config()) as kernel:
        gate, event = open_gate(), threading.Event()
        waiting, running = same(gate), wait_for(event)
        kernel.launch_if_ready(waiting.task_record)
        with pytest.raises(IllegalTransition):
            kernel.launch_task(waiting.task_record)
        while running.task_status() != "launched":
            threading.Event().wait(0.001)
        kernel.launch_if_ready(running.task_record)
        with pytest.raises(IllegalTransition):
            kernel.launch_task(running.task_record)
        gate.set_result(1)
        event.set()
        assert (waiting.result(), running.result()) == (1, "waited")
        kernel.launch_if_ready(waiting.task_record)


def test_outcomes_are_told_by_hand_only_where_one_is_expected(config):
    with treadle.load(config()) as kernel:
        event, outcome = threading.Event(), open_gate()
        running = wait_for(event)
        while running.task_status() != "launched":
            threading.Event().wait(0.001)
        with pytest.raises(IllegalTransition, match="not done"):
            kernel.handle_exec_update(running.task_record, outcome)
        with pytest.raises(IllegalTransition):
            kernel.handle_app_update(running.task_record, running)
        outcome.set_result("by hand")
        kernel.handle_exec_update(running.task_record, outcome)
        assert running.result() == "by hand"
        with pytest.raises(IllegalTransition):
            kernel.handle_exec_update(running.task_record, outcome)
        kernel.handle_app_update(running.task_record, running)
        event.set()


def test_a_join_hears_of_each_inner_task_once(config):
    with treadle.load(config()) as kernel:
        first, second = open_gate(), open_gate()
        inner = [same(first), same(second)]
        join = join_app(lambda: inner)()
        while join.task_status() != "joining":
            threading.Event().wait(0.001)
        with pytest.raises(IllegalTransition):
            kernel.handle_join_update(join.task_record, inner[0])
        first.set_result(1)
        inner[0].result()
        for _ in range(3):
            kernel.handle_join_update(join.task_record, inner[0])
        assert not join.done()
        second.set_result(2)
        assert join.result() == [1, 2]
        with pytest.raises(IllegalTransition):
            kernel.handle_join_update(join.task_record, inner[0])


def test_open_tasks_are_not_wiped(config):
    with treadle.load(config()) as kernel:
        gate = open_gate()
        future = same(gate)
        kernel.wipe_task(future.tid)
        kernel.wipe_task(999)
        assert kernel.tasks[future.tid] is future.task_record
        gate.set_result(1)
        future.result()


# --- executors of others -------------------------------------------------------------------------


def test_an_executor_in_a_bad_state_fails_its_tasks_now_and_later(config):
    executor = ThreadPoolExecutor("threads", max_threads=1)
    with treadle.load(config(executor, retries=2)):
        event = threading.Event()
        futures = [wait_for(event) for _ in range(5)]
        error = RuntimeError("the node is gone")
        while not executor.tasks:
            threading.Event().wait(0.001)
        executor.set_bad_state_and_fail_all(error)
        assert [f.exception() for f in futures] == [error] * 5
        later = same(1)
        assert later.exception() is error
        assert later.task_record.fail_count == 3
        event.set()
    with treadle.load(config(executor)):
        assert same(1).result() == 1


def test_a_submit_that_returns_no_future_is_the_tasks_error(config):
    class Wrong(Inline):
        def submit(self, func, resource_specification, *args, **kwargs):
            return 42

    with treadle.load(config(Wrong("wrong"))), pytest.raises(TypeError, match="not int"):
        same(1).result()


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, KeyboardInterrupt])
def test_a_submit_that_raises_is_the_tasks_error_and_is_tried_again(config, kind):
    class Shy(Inline):
        tries = 0

        def submit(self, func, resource_specification, *args, **kwargs):
            self.tries += 1
            if self.tries < 3:
                raise kind("not now")
            return super().submit(func, resource_specification, *args, **kwargs)

    with treadle.load(config(Shy("shy"), retries=5)):
        future = same(1)
        assert future.result() == 1
        assert future.task_record.fail_count == 2
        assert future.task_record.fail_history == [f"{kind.__name__}('not now')"] * 2


class Evil(concurrent.futures.Future):
    """A future whose methods are user code of the worst kind."""

    def add_done_callback(self, fn):
        raise MemoryError("no callbacks")

    def result(self, timeout=None):
        raise SystemExit("no result")

    def exception(self, timeout=None):
        raise SystemExit("no exception")


def test_futures_of_others_classes_cannot_harm_the_kernel(config):
    class Maker(Inline):
        def submit(self, func, resource_specification, *args, **kwargs):
            future = Evil()
            future.set_result(1)
            return future

    with treadle.load(config(Maker("maker"), ThreadPoolExecutor("threads"))):
        with pytest.raises(MemoryError):
            python_app(lambda: 1, executors=["maker"])().result()
        on_threads = python_app(lambda *a: 2, executors=["threads"])
        assert on_threads(Evil()).exception() is not None
        assert join_app(lambda: Evil())().exception() is not None
        assert join_app(lambda: [Evil(), on_threads()])().exception() is not None
        assert on_threads().result() == 2


def test_an_executor_may_settle_from_any_thread_and_only_once(config):
    class Twice(ParslExecutor):
        label = "twice"

        def start(self):
            self.errors: list[BaseException] = []
            self.threads: list[threading.Thread] = []

        def submit(self, func, resource_specification, *args, **kwargs):
            future: concurrent.futures.Future = concurrent.futures.Future()

            def settle():
                for _ in range(2):
                    try:
                        future.set_result(func(*args, **kwargs))
                    except concurrent.futures.InvalidStateError as error:
                        self.errors.append(error)

            for _ in range(2):
                self.threads.append(threading.Thread(target=settle))
                self.threads[-1].start()
            return future

        def shutdown(self, block=True):
            for thread in self.threads:
                thread.join()

    executor = Twice()
    with treadle.load(config(executor)):
        assert [same(i).result() for i in range(20)] == list(range(20))
    assert len(executor.errors) == 60


def test_an_unmanaged_executor_is_left_alone(config):
    executor = ThreadPoolExecutor("mine", managed=False)
    with treadle.load(config(executor)):
        assert same(1).result() == 1
    future = executor.submit(len, {}, [1, 2])
    assert future.result() == 2
    executor.shutdown()


# --- several kernels -----------------------------------------------------------------------------


def test_futures_pass_between_kernels(config):
    one, two = DataFlowKernel(config()), DataFlowKernel(config(ForeignThreads("other")))
    try:
        inc_one = python_app(lambda x: x + 1, data_flow_kernel=one)
        inc_two = python_app(lambda x: x + 1, data_flow_kernel=two)
        future = inc_one(0)
        for _ in range(10):
            future = inc_one(inc_two(future))
        assert future.result() == 21
        failing = python_app(lambda: 1 / 0, data_flow_kernel=one)()
        assert isinstance(inc_two(failing).exception().__cause__, ZeroDivisionError)
        waiting = inc_one(gate := open_gate())
        dependent = inc_two(waiting)
        one.cleanup()
        assert dependent.exception() is not None
        gate.set_result(1)
        assert inc_two(1).result() == 2
    finally:
        two.cleanup()


def test_kernels_come_and_go_at_the_same_time(config):
    errors: list[BaseException] = []

    def live():
        try:
            for _ in range(8):
                kernel = DataFlowKernel(config())
                app = python_app(lambda x: x, data_flow_kernel=kernel)
                futures = [app(i) for i in range(20)]
                assert [f.result() for f in futures] == list(range(20))
                kernel.cleanup()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=live) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert Engine._shared is None


def test_no_submit_is_lost_while_the_kernel_ends(config):
    """Whoever submits while another thread cleans up gets an error or a future that ends."""
    for _ in range(20):
        kernel = DataFlowKernel(config())
        app = python_app(lambda x: x, data_flow_kernel=kernel)
        futures, go = [], threading.Event()

        def submit(app=app, futures=futures, go=go):
            go.wait()
            try:
                while True:
                    futures.append(app(1))
            except NoDataFlowKernelError:
                return

        threads = [threading.Thread(target=submit) for _ in range(3)]
        for thread in threads:
            thread.start()
        go.set()
        kernel.cleanup()
        for thread in threads:
            thread.join()
        assert concurrent.futures.wait(futures, timeout=10).not_done == set()


# --- the engine dies -----------------------------------------------------------------------------


@pytest.fixture
def bug(monkeypatch):
    """Make the machine raise from now on."""

    def arm():
        def handle(self, event):
            raise ZeroDivisionError("a bug of ours")

        monkeypatch.setattr(Machine, "handle", handle)

    yield arm
    monkeypatch.undo()


def test_a_bug_fails_every_open_future_with_the_cause(config, bug):
    kernel = treadle.load(config())
    gate, event = open_gate(), threading.Event()
    called = threading.Event()
    futures = [same(gate), wait_for(event), join_app(lambda: gate)()]
    futures[0].add_done_callback(lambda f: called.set())
    bug()
    late = same(1)
    for future in [*futures, late]:
        with pytest.raises(EngineCrashed) as caught:
            future.result()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
    with pytest.raises(EngineCrashed):
        same(2)
    with pytest.raises(EngineCrashed):
        futures[0]["part"].result()
    assert called.wait(10)
    assert not futures[0].cancel()
    kernel.wait_for_current_tasks()
    event.set()
    gate.set_result(1)
    kernel.cleanup()


def test_a_bug_in_one_kernel_leaves_the_other_alone(config):
    good, bad = DataFlowKernel(config()), DataFlowKernel(config())
    try:
        bad._machine._handlers = None
        failing = python_app(lambda: 1, data_flow_kernel=bad)()
        assert isinstance(failing.exception(), EngineCrashed)
        assert python_app(lambda: 1, data_flow_kernel=good)().result() == 1
    finally:
        bad.cleanup()
        good.cleanup()


@pytest.mark.parametrize("error", [SystemExit("engine"), KeyboardInterrupt("engine")])
def test_the_death_of_the_engine_thread_fails_every_open_future(config, error):
    kernel = treadle.load(config(max_pending=2))
    gate = open_gate()
    futures = [same(gate) for _ in range(2)]
    blocked: list[object] = []

    def submit():
        try:
            blocked.append(same(gate).exception())
        except EngineCrashed as crash:
            blocked.append(crash)

    thread = threading.Thread(target=submit)
    thread.start()

    def die():
        raise error

    kernel._engine.call_soon(die)
    for future in futures:
        with pytest.raises(EngineCrashed) as caught:
            future.result()
        assert caught.value.__cause__ is error
    thread.join(10)
    assert isinstance(blocked[0], EngineCrashed)
    with pytest.raises(EngineCrashed):
        same(1)
    kernel.cleanup()
    gate.set_result(1)
    with treadle.load(config()):  # and the next kernel has an engine of its own
        assert same(1).result() == 1
    gc.collect()


def test_a_stuck_task_table_is_told_by_its_counts(config):
    with treadle.load(config()) as kernel:
        futures = [same(i) for i in range(50)]
        concurrent.futures.wait(futures)
        counts = kernel.task_state_counts
        assert sum(counts.values()) == 50
        assert sum(counts[s] for s in FINAL_STATES) == 50
