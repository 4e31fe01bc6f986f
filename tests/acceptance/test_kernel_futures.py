"""What a program can do with a future, on every executor whose tasks it shares memory with."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import gc
import pickle
import threading
import weakref

import pytest

import treadle
import treadle.errors
from tests.acceptance.executors_under_test import IN_PROCESS, config_on, until
from treadle import join_app, python_app
from treadle.errors import DependencyError, NoDataFlowKernelError


@pytest.fixture(params=IN_PROCESS)
def name(request):
    return request.param


@pytest.fixture
def kernel(name, run_dir):
    kernel = treadle.load(config_on(name, run_dir))
    yield kernel
    with contextlib.suppress(NoDataFlowKernelError):
        kernel.cleanup()


@python_app
def same(x, *others):
    return x


@python_app
def wait_for(event):
    assert event.wait(10)
    return "waited"


class Gift:
    """Something weakly referable with parts."""

    def __init__(self):
        self.colour = "red"


# --- cancel --------------------------------------------------------------------------------------


def test_what_waits_is_cancelled_and_its_dependents_fail(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)
    after = same(future)
    assert future.cancel()
    assert future.cancelled()
    assert future.done()
    assert future.task_status() == "failed"
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    with pytest.raises(DependencyError):
        after.result()
    gate.set_result(1)
    assert same(2).result() == 2


def test_what_has_ended_is_not_cancelled(kernel):
    future = same(1)
    future.result()
    assert not future.cancel()
    assert not future.cancelled()
    assert future.result() == 1


def test_what_runs_in_a_thread_is_not_cancelled(kernel, name):
    event, started = threading.Event(), threading.Event()

    @python_app
    def run():
        started.set()
        return event.wait(10)

    future = run()
    assert started.wait(10)
    if name != "inline":  # there it has not been taken yet: `submit` still runs
        while future.task_status() != "launched":  # until the kernel knows that it was taken
            threading.Event().wait(0.001)
        assert not future.cancel()
        event.set()
        assert future.result() is True
    else:
        assert future.cancel()
        event.set()
    assert same(1).result() == 1


def test_what_queues_at_its_executor_is_cancelled(run_dir):
    event = threading.Event()
    with treadle.load(config_on("threads", run_dir)):
        running = [wait_for(event) for _ in range(4)]
        queued = wait_for(event)
        assert queued.cancel()
        event.set()
        assert [f.result() for f in running] == ["waited"] * 4


def test_a_join_is_cancelled_while_it_waits(kernel):
    inner: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = join_app(lambda: inner)()
    until(lambda: future.task_status() == "joining")
    assert future.cancel()
    assert not inner.cancelled()
    inner.set_result(1)
    assert same(1).result() == 1


def test_a_join_of_a_cancelled_future_fails(kernel):
    inner: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = join_app(lambda: inner)()
    inner.cancel()
    with pytest.raises(treadle.errors.JoinError):
        future.result()


def test_many_are_cancelled_from_many_threads(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    futures = [same(gate) for _ in range(50)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda f: f.cancel(), futures * 3))
    gate.set_result(1)
    treadle.wait_for_current_tasks()
    assert all(f.cancelled() for f in futures)


# --- callbacks -----------------------------------------------------------------------------------


def test_callbacks_are_called_in_the_order_added_and_not_on_the_engine(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)
    calls: list[tuple[int, str]] = []
    done = threading.Event()
    for i in range(20):
        future.add_done_callback(lambda f, i=i: calls.append((i, threading.current_thread().name)))
    future.add_done_callback(lambda f: done.set())
    gate.set_result(1)
    assert done.wait(10)
    assert [i for i, _ in calls] == list(range(20))
    assert not any(name == "treadle-engine" for _, name in calls)


@pytest.mark.parametrize("kind", [ValueError, SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_callback_may_raise_anything(kernel, kind):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)
    done = threading.Event()

    def throw(_):
        raise kind("from a callback")

    future.add_done_callback(throw)
    future.add_done_callback(lambda f: done.set())
    gate.set_result(1)
    assert done.wait(10)
    assert same(2).result() == 2


def test_a_callback_that_comes_late_is_called_at_once(kernel):
    future = same(1)
    future.result()
    treadle.wait_for_current_tasks()
    calls = []
    future.add_done_callback(calls.append)
    assert calls == [future]


def test_hundreds_of_callbacks_submit_and_wait_at_once(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    results: list[int] = []
    all_in = threading.Barrier(200)
    futures = [same(gate) for _ in range(200)]
    done = threading.Semaphore(0)

    def callback(future):
        all_in.wait(15)  # all are in a callback at the same time
        results.append(same(future).result())
        done.release()

    for future in futures:
        future.add_done_callback(callback)
    gate.set_result(7)
    for _ in futures:
        assert done.acquire(timeout=15)
    assert results == [7] * 200


def test_a_callback_may_wait_for_another_of_the_same_future(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)
    seen = threading.Event()

    def outer(_):
        inner = threading.Event()
        future.add_done_callback(lambda _: inner.set())
        assert inner.wait(10)
        seen.set()

    future.add_done_callback(outer)
    gate.set_result(1)
    assert seen.wait(10)


# --- await ---------------------------------------------------------------------------------------


def test_a_future_is_awaited(kernel):
    async def main():
        first = await same(1)
        return [first, *await asyncio.gather(*[same(i) for i in range(20)]), await same([3])[0]]

    assert asyncio.run(main()) == [1, *range(20), 3]


def test_a_failure_is_raised_by_await(kernel):
    async def main():
        with pytest.raises(ZeroDivisionError):
            await python_app(lambda: 1 / 0)()

    asyncio.run(main())


def test_cancelling_what_awaits_cancels_the_task(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)

    async def wait():
        await future

    async def main():
        task = asyncio.create_task(wait())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert future.cancelled()
    gate.set_result(1)


def test_wait_for_with_a_timeout_cancels_the_task(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)

    asyncio.run(main())
    assert future.cancelled()
    gate.set_result(1)


def test_a_future_outlives_the_loop_that_awaited_it(kernel):
    gate: concurrent.futures.Future[int] = concurrent.futures.Future()
    future = same(gate)

    async def main():
        asyncio.ensure_future(future).cancel()
        shielded = asyncio.ensure_future(asyncio.shield(asyncio.wrap_future(same(gate))))
        await asyncio.sleep(0)
        shielded.cancel()

    asyncio.run(main())
    gate.set_result(1)
    assert same(1).result() == 1


# --- parts of results ----------------------------------------------------------------------------


def test_looking_at_a_future_costs_no_task(kernel):
    future = same(Gift())
    future.result()
    before = kernel.task_count
    assert not hasattr(future, "no_such_part")
    assert not hasattr(future, "__array__")
    assert not hasattr(future, "_ipython_canary_method_should_not_exist_")
    assert not hasattr(future, "_repr_html_")
    assert copy.copy(future) is future
    assert copy.deepcopy([future])[0] is future
    repr(future)
    with pytest.raises(TypeError):
        iter(future)
    with pytest.raises(TypeError):
        "x" in future  # noqa: B015 - it is the question that raises
    with pytest.raises(AttributeError, match="no attribute 'no_such_part'"):
        future.no_such_part  # noqa: B018
    with pytest.raises(TypeError, match="belongs to this process"):
        pickle.dumps(future)
    assert kernel.task_count == before


def test_a_typo_on_an_open_future_costs_no_task(kernel):
    gate: concurrent.futures.Future[Gift] = concurrent.futures.Future()
    future = same(gate)
    before = kernel.task_count
    assert hasattr(future, "colour")
    with pytest.raises(TypeError, match=r"did you mean \.result\(\)"):
        future.resutl()
    with pytest.raises(TypeError, match="call .result"):
        future["x"]()
    assert kernel.task_count == before
    gate.set_result(Gift())
    assert future.colour.result() == "red"
    assert kernel.task_count == before + 1


def test_a_notebook_shows_a_future_without_touching_it(kernel):
    class Display:
        """Asks an object what IPython's display formatter asks it."""

        methods = (
            "_repr_html_",
            "_repr_markdown_",
            "_repr_svg_",
            "_repr_png_",
            "_repr_pdf_",
            "_repr_jpeg_",
            "_repr_latex_",
            "_repr_json_",
            "_repr_javascript_",
            "_repr_mimebundle_",
            "_repr_pretty_",
            "_ipython_display_",
        )

    gate: concurrent.futures.Future[Gift] = concurrent.futures.Future()
    future = same(gate)
    before = kernel.task_count
    assert not any(getattr(future, method, None) for method in Display.methods)
    assert "same" in repr(future)
    assert kernel.task_count == before
    gate.set_result(Gift())


def test_a_part_of_a_part_is_one_task_each(kernel):
    future = same({"a": [Gift()]})
    future.result()
    before = kernel.task_count
    part = future["a"][0].colour
    assert kernel.task_count == before
    assert part.result() == "red"
    assert kernel.task_count == before + 3


def test_a_very_long_selection_does_not_recurse(kernel):
    nest: list = []
    for _ in range(3000):
        nest = [nest]
    future = same(nest)
    for _ in range(3000):
        future = future[0]
    assert future.result() == []
    while nest:  # taken apart by hand, since deleting it recurses
        nest = nest.pop()


def test_a_part_is_asked_for_by_many_threads(kernel):
    parts = [same([i])[0] for i in range(30)]
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        tids = list(pool.map(lambda f: f.tid, parts * 4))
    assert len(set(tids)) == 30
    assert [f.result() for f in parts] == list(range(30))


def test_parts_of_what_is_done_can_be_had_after_the_end(kernel):
    future, failed = same({"a": 1}), python_app(lambda: 1 / 0)()
    concurrent.futures.wait([future, failed])
    part, missing, of_failed = future["a"], future["b"], failed["c"]
    kernel.cleanup()
    assert part.result() == 1
    with pytest.raises(KeyError):
        missing.result()
    with pytest.raises(ZeroDivisionError):
        of_failed.result()


# --- memory --------------------------------------------------------------------------------------


def _gone(reference):
    for _ in range(200):
        gc.collect()
        if reference() is None:
            return True
        threading.Event().wait(0.01)
    return False


def test_a_task_that_has_ended_holds_no_arguments_and_a_dropped_future_no_result(kernel):
    argument = Gift()
    argument_ref = weakref.ref(argument)

    @python_app
    def work(_):
        return Gift()

    future = work(argument)
    result_ref = weakref.ref(future.result())
    record_ref = weakref.ref(future)
    del argument
    assert _gone(argument_ref)
    assert result_ref() is not None
    del future
    assert _gone(record_ref)
    assert _gone(result_ref)


def test_intermediate_results_go_with_their_last_user(kernel):
    class Big(list):
        pass

    made: list[weakref.ref] = []

    @python_app
    def grow(previous):
        result = Big()
        made.append(weakref.ref(result))
        return result

    future = grow(None)
    for _ in range(10):
        future = grow(future)
    future.result()
    assert len(made) == 11
    assert all(_gone(reference) for reference in made[:-1])
    assert made[-1]() is not None


def test_without_garbage_collection_records_stay(name, run_dir):
    with treadle.load(config_on(name, run_dir, garbage_collect=False)) as kernel:
        argument = Gift()
        future = same(argument)
        future.result()
        treadle.wait_for_current_tasks()
        record = kernel.tasks[future.tid]
        assert record.args == (argument,)
        assert record.app_fu is future
        kernel.wipe_task(future.tid)
        assert future.tid not in kernel.tasks


def test_a_failed_task_lets_go_too(kernel):
    argument = Gift()
    reference = weakref.ref(argument)

    @python_app
    def throw(_):
        raise ValueError("no")

    future = throw(argument)
    assert isinstance(future.exception(), ValueError)
    del argument
    future.exception().__traceback__ = None  # its frames hold the argument, as always in Python
    assert _gone(reference)


# --- who may settle it ---------------------------------------------------------------------------


def test_only_the_kernel_settles_a_future(kernel):
    event = threading.Event()
    future = wait_for(event)
    with pytest.raises(concurrent.futures.InvalidStateError, match="by its kernel alone"):
        future.set_result(3)
    with pytest.raises(concurrent.futures.InvalidStateError, match="by its kernel alone"):
        future.set_exception(ValueError())
    event.set()
    assert future.result() == "waited"


def test_a_future_tells_whether_it_runs(run_dir):
    begun, event = threading.Event(), threading.Event()

    @python_app
    def tell_and_wait():
        begun.set()
        return wait_for.local(event)

    with treadle.load(config_on("threads", run_dir)):
        future = tell_and_wait()
        assert begun.wait(10)
        until(future.running)
        event.set()
        assert future.result() == "waited"
        assert not future.running()


def test_a_call_is_pending_from_the_first_moment(kernel):
    future = same(1)
    assert "unsched" not in repr(future)
    assert future.task_status() != "unsched"
    future.result()
