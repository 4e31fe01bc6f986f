"""Tasks handed to an executor by reference: when, with what, and what comes of it."""

from __future__ import annotations

import concurrent.futures
import threading
from concurrent.futures import Future

import pytest

import treadle
from tests.acceptance.executors_under_test import until
from treadle import join_app, python_app
from treadle.dataflow.dependency_resolvers import (
    DEEP_DEPENDENCY_RESOLVER,
    DependencyResolver,
    deep_traverse_to_gather,
    deep_traverse_to_unwrap,
)
from treadle.dataflow.futures import AppFuture
from treadle.dataflow.states import States
from treadle.errors import (
    DependencyError,
    IllegalTransition,
    InvalidResourceSpecification,
    JoinError,
    NoDataFlowKernelError,
    SerializationError,
    TaskCallError,
)
from treadle.executors.threads import ThreadPoolExecutor


@python_app
def add(x, y=0, inputs=()):
    return x + y + sum(inputs)


@python_app
def fail(text="no luck", *others):
    raise ValueError(text)


@python_app
def same(x):
    return x


def counts(cluster):
    return {state: n for state, n in cluster.kernel.task_state_counts.items() if n}


def settle(cluster):
    """What has been called is with the sink, and what it has told is with the kernel."""
    for _ in range(3):
        done = threading.Event()
        cluster.kernel._engine.call_soon(done.set)
        assert done.wait(10)


# --- handing over -----------------------------------------------------------------------------------


def test_a_whole_graph_is_handed_over_before_anything_has_run(load):
    cluster = load(threads=0)
    a = add(1)
    b, c = add(a, 1), add(a, y=2)
    d = add(b, inputs=[c, 1])
    settle(cluster)
    assert cluster.sink.admitted == {0: (), 1: (0,), 2: (0,), 3: (1, 2)}
    assert [f.task_status() for f in (a, b, c, d)] == ["launched", *["pending"] * 3]
    assert set(cluster.kernel_tasks) == {0, 1, 2, 3}
    assert cluster.kernel_tasks[3] is d
    cluster.sink.run(1)
    settle(cluster)
    assert [f.task_status() for f in (a, b, c, d)] == [
        "exec_done",
        "launched",
        "launched",
        "pending",
    ]
    cluster.sink.run()
    assert d.result() == 6
    assert len(cluster.kernel_tasks) == 0
    assert cluster.submitted == []


def test_a_burst_of_calls_is_handed_over_in_few_batches(load):
    cluster = load()
    gate = threading.Event()
    cluster.kernel._engine.call_soon(lambda: gate.wait(10) and None)
    futures = [same(i) for i in range(200)]
    gate.set()
    assert [f.result() for f in futures] == list(range(200))
    assert len(cluster.sink.batches) <= 3


def test_values_that_are_here_travel_in_the_call(load):
    cluster = load(ThreadPoolExecutor("threads"))
    here = python_app(lambda: 5, executors=["threads"])()
    foreign: Future[int] = Future()
    foreign.set_result(2)
    assert here.result() == 5
    on_fake = python_app(lambda x, y, inputs: x + y + sum(inputs), executors=["fake"])
    total = on_fake(here, y=foreign, inputs=[here, treadle.put(3), 1])
    assert total.result() == 16
    assert cluster.sink.admitted == {total.tid: ()}
    assert cluster.submitted == []


def test_what_is_put_is_left_to_the_sink(load):
    cluster = load()
    put = treadle.put({"a": 1})
    packed = []
    pack = cluster.sink.pack
    cluster.sink.pack = lambda *call: (packed.append(call[1]), pack(*call))[1]
    assert same(put).result() == {"a": 1}
    assert packed[0][0] is put


@pytest.mark.parametrize("how", ["open elsewhere", "open foreign", "failed foreign"])
def test_who_waits_for_others_goes_by_value(load, how):
    cluster = load(ThreadPoolExecutor("threads"))
    gate = threading.Event()
    foreign: Future[int] = Future()
    if how == "open elsewhere":
        awaited = python_app(lambda: gate.wait(10) + 1, executors=["threads"])()
    else:
        awaited = foreign
    if how == "failed foreign":
        foreign.set_exception(ValueError("elsewhere"))
    future = python_app(lambda x: x + 1, executors=["fake"])(awaited)
    gate.set()
    if how == "open foreign":
        foreign.set_result(2)
    if how == "failed foreign":
        with pytest.raises(DependencyError, match="elsewhere"):
            future.result()
        assert cluster.submitted == []
    else:
        assert future.result() == 3
        assert len(cluster.submitted) == 1
    assert cluster.sink.admitted == {}


def test_cached_apps_and_kernels_with_a_retry_handler_go_by_value(load):
    cluster = load()
    cached = python_app(lambda x: x * 2, cache=True)
    assert [cached(3).result(), cached(3).result()] == [6, 6]
    assert len(cluster.submitted) == 1
    dependent = add(cached(4), 1)  # its value is known to the kernel when it has ended
    assert dependent.result() == 9


def test_with_a_retry_handler_all_goes_by_value(load):
    asked = []
    cluster = load(config={"retries": 3, "retry_handler": lambda e, r: asked.append(r.id) or 1})
    future = add(fail(), 1)
    with pytest.raises(DependencyError):
        future.result()
    assert asked == [0] * 4
    assert cluster.sink.admitted == {}


def test_a_result_that_is_elsewhere_is_an_argument_of_a_cached_app(load):
    cluster = load(is_far=True)
    cached = python_app(lambda x: x * 2, cache=True)
    first = cached(add(1, 2))
    assert first.result() == 6
    assert cached(add(2, 1)).result() == 6
    assert len(cluster.submitted) == 1
    assert cluster.sink.brought == [0, 2]


def test_a_result_that_is_elsewhere_is_loaded_on_the_pool_for_an_executor_of_values(load):
    cluster = load(ThreadPoolExecutor("threads"), is_far=True)
    far = python_app(lambda: 5, executors=["fake"])()
    concurrent.futures.wait([far])
    here = python_app(lambda x: (x, threading.current_thread().name), executors=["threads"])
    futures = [here(far), here(x=far)]
    assert [f.result()[0] for f in futures] == [5, 5]
    assert cluster.sink.brought[:1] == [0]
    assert {name.startswith("treadle-pool") for _, name in cluster.sink.loads} == {True}
    assert len(cluster.sink.loads) == 1


def test_nothing_is_loaded_on_the_engine_thread(load):
    cluster = load(ThreadPoolExecutor("threads"))
    on_fake, here = {"executors": ["fake"]}, {"executors": ["threads"]}
    one = python_app(lambda: [1], **on_fake)()
    joined = join_app(lambda: [one, python_app(lambda: 2, **on_fake)()])()
    single = join_app(lambda: one)()
    values = python_app(lambda *a: a, **here)(one, joined, single, one[0])
    assert values.result() == ([1], [[1], 2], [1], 1)
    assert cluster.sink.loads
    assert "treadle-engine" not in {name for _, name in cluster.sink.loads}


# --- the deep resolver ------------------------------------------------------------------------------


def test_references_may_be_nested(load):
    cluster = load(threads=0, config={"dependency_resolver": DEEP_DEPENDENCY_RESOLVER})
    a, b = add(1), add(2)
    nested = same({"list": [a, (b, 3)], a: "key"})
    settle(cluster)
    assert cluster.sink.admitted[2] == (0, 1)
    cluster.sink.run()
    assert nested.result() == {"list": [1, (2, 3)], 1: "key"}


def test_nested_values_that_are_here_travel_in_the_call(load):
    cluster = load(config={"dependency_resolver": DEEP_DEPENDENCY_RESOLVER})
    foreign: Future[int] = Future()
    foreign.set_result(7)
    assert same([foreign, treadle.put(1)]).result() == [7, 1]
    assert cluster.submitted == []
    # Some here and some there: that is more than the sink's own unwrapping can do.
    assert same([foreign, add(1)]).result() == [7, 1]
    assert len(cluster.submitted) == 1


def test_a_type_of_the_users_own_is_unwrapped_by_his_own_function(load):
    class Batch:
        def __init__(self, *items):
            self.items = items

    def unwrap(batch):
        return sum(deep_traverse_to_unwrap(list(batch.items)))

    cluster = load(config={"dependency_resolver": DEEP_DEPENDENCY_RESOLVER})
    deep_traverse_to_gather.register(Batch, lambda b: deep_traverse_to_gather(list(b.items)))
    deep_traverse_to_unwrap.register(Batch, unwrap)
    try:
        assert same(Batch(add(1), add(2))).result() == 3
        assert len(cluster.submitted) == 1
    finally:
        for hook in (deep_traverse_to_gather, deep_traverse_to_unwrap):
            hook.__init__()


def test_a_resolver_of_the_users_own_is_asked(load):
    def gather(item):
        return list(item) if isinstance(item, frozenset) else []

    def unwrap(item):
        return sorted(f.result() for f in item) if isinstance(item, frozenset) else item

    cluster = load(config={"dependency_resolver": DependencyResolver(gather, unwrap)})
    assert same(frozenset([add(1), add(2)])).result() == [1, 2]
    assert same(5).result() == 5
    assert len(cluster.submitted) == 1


# --- failures -----------------------------------------------------------------------------------------


def test_a_failure_is_made_in_the_thread_of_who_wants_to_see_it_and_once(load):
    cluster = load(threads=0)
    future = fail()
    made = []
    tell = cluster.sink._tell

    def watched(outcome):
        def make():
            made.append(threading.current_thread().name)
            return ValueError("made")

        tell(type(outcome)(outcome.id, error=make, text=outcome.text))

    cluster.sink._tell = watched
    after = same(future)
    settle(cluster)
    cluster.sink.run()
    concurrent.futures.wait([future, after])
    assert made == []
    assert future.task_record.fail_history == ["ValueError('no luck')"]
    assert future.exception() is future.exception()
    assert str(after.exception().__cause__) == "made"
    with pytest.raises(ValueError, match="made"):
        future.result()
    assert made == [threading.current_thread().name]


def test_a_failure_that_went_down_a_long_chain_is_made_without_recursion(load):
    load()
    future = first = fail("root")
    for _ in range(3000):
        future = same(future)
    error = future.exception()
    assert isinstance(error, DependencyError)
    assert error.__cause__ is first.exception()
    assert future.task_status() == "dep_fail"


def test_failed_tries_are_replayed(load):
    cluster = load(config={"retries": 2})
    cluster.sink.flaws["add"] = [ValueError("first"), KeyError("second")]
    future = add(1, 1)
    assert future.result() == 2
    record = future.task_record
    assert record.fail_history == ["ValueError('first')", "KeyError('second')"]
    assert (record.fail_count, record.try_id, record.status) == (2, 2, States.exec_done)
    cluster.sink.flaws["add"] = [ValueError(str(i)) for i in range(3)]
    failing = add(1)
    assert str(failing.exception()) == "2"
    assert failing.task_record.fail_count == 3
    assert len(failing.task_record.fail_history) == 3


def test_the_verdict_on_a_dependent_is_the_kernels_when_all_parents_have_ended(load):
    cluster = load(threads=0)
    bad, good = fail(), add(1)
    child = add(bad, good)
    settle(cluster)
    cluster.sink.run(1)
    settle(cluster)
    assert bad.done()
    assert not child.done()  # though the sink has told that it will never run
    assert cluster.sink.told[child.tid] == 1
    cluster.sink.run()
    with pytest.raises(DependencyError, match="no luck"):
        child.result()
    assert counts(cluster) == {States.failed: 1, States.exec_done: 1, States.dep_fail: 1}


def test_what_comes_after_a_failure_is_not_handed_over(load):
    cluster = load()
    bad = fail()
    assert bad.exception()
    child = add(bad)
    grandchild = add(child)
    assert isinstance(grandchild.exception(), DependencyError)
    assert set(cluster.sink.admitted) == {bad.tid}


def test_an_argument_that_cannot_be_pickled_is_the_tasks_error(load):
    cluster = load(config={"retries": 5})
    future = same(threading.Lock())
    with pytest.raises(SerializationError):
        future.result()
    assert future.task_record.fail_count == 0
    assert cluster.sink.packs == 1


def test_what_the_executor_cannot_honour_is_the_tasks_error(load):
    load()
    app = python_app(lambda parsl_resource_specification=None: "ran")
    with pytest.raises(InvalidResourceSpecification, match="cores and priority only"):
        app(parsl_resource_specification={"wings": 2}).result()
    assert app(parsl_resource_specification={"cores": 2}).result() == "ran"


def test_the_walltime_of_a_call_is_kept_by_the_executor(load):
    cluster = load()
    slow = python_app(lambda x, walltime=None: (x, walltime))
    assert slow(1, walltime=5).result() == (1, 5)
    assert python_app(lambda x: x)(2, walltime=3).result() == 2
    both = python_app(lambda x: x)(3, walltime=9, parsl_resource_specification={"walltime": 2})
    assert both.result() == 3
    assert [asked["walltime"] for asked in cluster.sink.asked if asked] == [5, 3, 2]


def test_a_walltime_that_is_not_known_yet_is_kept_by_the_function(load):
    cluster = load()
    assert python_app(lambda x: x)(1, walltime=add(5)).result() == 1
    assert not any(cluster.sink.asked)
    with pytest.raises(TaskCallError):
        python_app(lambda x: x)(1, walltime=add(-5)).result()


def test_what_a_task_may_write_to_is_told_to_the_sink(load):
    cluster = load(ThreadPoolExecutor("threads"))
    assert python_app(lambda x: x, writable=True, executors=["fake"])(1).result() == 1
    assert list(python_app(abs, writable=True, executors=["fake"]).map([-1, -2])) == [1, 2]
    assert same(2).task_record.executor in ("fake", "threads")
    assert cluster.sink.writable[:2] == [True, True]
    assert python_app(lambda x: x, writable=True, executors=["threads"])(1).result() == 1


def test_an_executor_in_a_bad_state_gets_nothing_more(load):
    cluster = load()
    cluster.set_bad_state_and_fail_all(RuntimeError("no more workers"))
    with pytest.raises(RuntimeError, match="no more workers"):
        add(1).result()
    assert cluster.sink.admitted == {}


# --- joins and parts ----------------------------------------------------------------------------------


def test_the_result_of_a_join_is_named_like_that_of_the_task_it_returned(load):
    cluster = load()
    inner = []

    @join_app
    def join():
        inner.append(add(1, 1))
        return inner[0]

    joined = join()
    concurrent.futures.wait([joined])
    after = add(joined, 1)
    assert after.result() == 3
    assert cluster.sink.admitted[after.tid] == (inner[0].tid,)
    assert cluster.submitted == []
    assert joined.result() is inner[0].result()


def test_a_join_of_several_is_loaded_when_it_is_asked_for(load):
    cluster = load()
    joined = join_app(lambda: [add(1), add(2), treadle.put(3)])()
    concurrent.futures.wait([joined])
    assert cluster.sink.loads == []
    assert joined.result() == [1, 2, 3]
    assert joined.result() is joined.result()
    assert add(joined[0], 1).result() == 2


def test_a_join_of_a_failure_says_so_late(load):
    load()
    joined = join_app(lambda: [add(1), fail()])()
    with pytest.raises(JoinError, match="no luck"):
        joined.result()


def test_a_part_is_selected_where_the_result_is(load):
    cluster = load()
    whole = same({"a": [1, 2], "b": "x"})
    after = add(whole["a"][1], 5)
    assert after.result() == 7
    assert cluster.submitted == []
    assert [number for number, _ in cluster.sink.loads] == [after.tid]
    assert whole.result() == {"a": [1, 2], "b": "x"}
    before = len(cluster.sink.admitted)
    assert whole["b"].result() == "x"  # now that it is here, it is selected from here
    assert len(cluster.sink.admitted) == before
    with pytest.raises(AttributeError, match="'dict' object, has no attribute 'nonsense'"):
        whole.nonsense  # noqa: B018


# --- cancelling ---------------------------------------------------------------------------------------


def test_cancelling_settles_at_once_and_stops_the_task(load):
    cluster = load(threads=0)
    a = add(1)
    b, c = add(a), add(2)
    settle(cluster)
    assert a.cancel()
    assert a.cancelled()
    assert isinstance(b.exception(), DependencyError)
    settle(cluster)
    assert cluster.sink.cancelled == [a.tid, b.tid]
    cluster.sink.run()
    assert c.result() == 2
    assert not c.cancel()
    assert a.task_status() == "failed"
    assert set(cluster.sink.told) <= {b.tid, c.tid}


def test_a_late_outcome_of_a_cancelled_task_changes_nothing(load):
    cluster = load(copies=False)
    begun, end = threading.Event(), threading.Event()
    running = python_app(lambda: (begun.set(), end.wait(10)))()
    assert begun.wait(10)
    assert running.cancel()
    end.set()
    assert running.cancelled()
    assert add(1).result() == 1
    until(lambda: counts(cluster) == {States.failed: 1, States.exec_done: 1})


def test_cancelling_from_many_threads(load):
    cluster = load(threads=0)
    futures = [add(i) for i in range(60)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda f: f.cancel(), futures * 3))
    settle(cluster)
    assert sorted(cluster.sink.cancelled) == list(range(60))


def test_a_state_that_is_asked_for_by_hand(load):
    cluster = load(threads=0)
    future = add(1)
    settle(cluster)
    with pytest.raises(IllegalTransition):
        cluster.kernel.update_task_state(future.task_record, States.fail_retryable)
    cluster.kernel.update_task_state(future.task_record, States.failed)
    assert "set to failed" in str(future.exception())
    settle(cluster)
    assert cluster.sink.cancelled == [future.tid]


# --- the end ------------------------------------------------------------------------------------------


def test_cleanup_lets_the_executor_finish_what_it_was_handed(load):
    cluster = load()
    gate = threading.Event()
    future = add(1)
    for _ in range(20):
        future = add(future, 1)
    cluster.kernel.cleanup()
    gate.set()
    assert future.result() == 21
    assert counts(cluster) == {States.exec_done: 21}


def test_what_the_executor_leaves_is_given_up(load):
    cluster = load(threads=0)
    future = add(1)
    settle(cluster)
    cluster.sink._ready.get()  # it forgets the task
    cluster.kernel.cleanup()
    with pytest.raises(NoDataFlowKernelError, match="cleaned up"):
        future.result()
    part = add.func  # a kernel that has ended takes nothing more
    assert callable(part)
    with pytest.raises(NoDataFlowKernelError):
        add(1)


def test_a_fault_of_the_sink_fails_everything_loudly(load):
    cluster = load(threads=0)
    first, second = add(1), add(2)

    def admit(tasks):
        raise RuntimeError("the sink is broken")

    settle(cluster)
    cluster.sink.admit = admit
    third = add(3)
    for future in (first, second, third):
        with pytest.raises(Exception, match="the sink is broken"):
            future.result(10)


# --- limits -------------------------------------------------------------------------------------------


def test_max_pending_holds_back_calls_to_a_sink(load):
    cluster = load(threads=0, config={"max_pending": 3})
    made: list[AppFuture[int]] = []
    caller = threading.Thread(target=lambda: made.extend(add(i) for i in range(6)))
    caller.start()
    until(lambda: len(cluster.sink.admitted) == 3)
    assert caller.is_alive()
    while caller.is_alive() or cluster.kernel.tasks:
        cluster.sink.run()
        threading.Event().wait(0.001)
    caller.join()
    assert cluster.kernel.task_count == 6


def test_calls_from_many_threads_at_once(load):
    cluster = load(threads=4)

    def work(start):
        futures = [add(i, 1) for i in range(start, start + 50)]
        return sum(add(f, 1).result() for f in futures)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(0, 400, 50))) == sum(range(400)) + 800
    assert counts(cluster) == {States.exec_done: 800}


def test_a_callback_submits_and_waits(load):
    load()
    results = []
    done = threading.Semaphore(0)

    def callback(future):
        results.append(add(future, 1).result() + future.result())
        done.release()

    futures = [add(i) for i in range(50)]
    for future in futures:
        future.add_done_callback(callback)
    for _ in futures:
        assert done.acquire(timeout=10)
    assert sorted(results) == [2 * i + 1 for i in range(50)]
