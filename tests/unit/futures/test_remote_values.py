"""Results that are elsewhere: loaded once, by who asks, and brought for who is called back."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import threading
import time
from collections import deque
from concurrent.futures._base import CANCELLED_AND_NOTIFIED, FINISHED

import pytest

from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._remote import LateError, Remote, Several, bring_all, seen
from treadle.dataflow.futures import AppFuture
from treadle.errors import ResultLost


class Value:
    """Somewhere else until `come` is called."""

    def __init__(self, value=None, *, near=False, error=None):
        self.value, self.is_near, self.error = value, near, error
        self.loads = 0
        self.nbytes = 8
        self.asked: list = []
        self.here = threading.Event()

    def load(self, timeout=None, *, writable=True):
        self.loads += 1
        if not self.is_near and not self.here.wait(timeout):
            raise TimeoutError
        if self.error is not None:
            raise self.error
        return [self.value]

    def bring(self, then):
        self.asked.append(then)

    def come(self):
        self.is_near = True
        self.here.set()
        asked, self.asked = self.asked, []
        for then in asked:
            then()


class Record:
    """Enough of a record for a future to be shown."""

    id, func_name = 7, "far"

    class status:
        name = "exec_done"


def done_with(value, **options) -> AppFuture:
    future: AppFuture = AppFuture(Record())
    future._finish(FINISHED, Remote(value, **options), None)
    return future


# --- loading ------------------------------------------------------------------------------------------


def test_a_future_is_done_before_its_value_is_here():
    value = Value(1)
    future = done_with(value)
    assert future.done()
    assert not future.cancelled()
    assert future.exception() is None
    assert concurrent.futures.wait([future]).done == {future}
    assert list(concurrent.futures.as_completed([future])) == [future]
    assert "far" in repr(future)
    assert value.loads == 0


def test_the_value_is_loaded_once_and_is_the_same_object_each_time():
    value = Value(1, near=True)
    future = done_with(value)
    assert future.result() is future.result()
    assert value.loads == 1


def test_many_threads_that_ask_at_once_load_it_once():
    value = Value(1)
    future = done_with(value)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(future.result) for _ in range(8)]
        while not value.loads:
            time.sleep(0.001)
        value.come()
        assert len({id(a.result(10)) for a in asked}) == 1
    assert value.loads == 1


def test_the_timeout_covers_the_transfer_and_it_may_be_asked_again():
    value = Value(1)
    future = done_with(value)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    with pytest.raises(TimeoutError):
        future.result(timeout=0)
    value.come()
    assert future.result(10) == [1]


def test_the_timeout_covers_waiting_for_another_who_loads_it():
    value = Value(1)
    future = done_with(value)
    other = threading.Thread(target=future.result)
    other.start()
    while not value.loads:
        time.sleep(0.001)
    with pytest.raises(TimeoutError):
        future.result(0.01)
    value.come()
    other.join(10)
    assert future.result() == [1]


def test_a_value_that_is_lost_says_so_each_time():
    future = done_with(Value(near=True, error=ResultLost("gone with its worker")))
    for _ in range(2):
        with pytest.raises(ResultLost, match="gone with its worker"):
            future.result()


def test_a_loader_who_was_struck_does_not_keep_the_others_out(monkeypatch):
    monkeypatch.setattr("treadle.dataflow._remote._PATIENCE_S", 0.01)
    remote = Remote(Value(1, near=True))
    gate = remote._make_gate()
    gate.acquire()  # by one whom Ctrl-C has struck just then
    assert remote.get() == [1]


def test_who_asks_for_a_value_while_it_is_loaded_does_not_wait_for_himself():
    class Curious(Value):
        def load(self, timeout=None, *, writable=True):
            self.loads += 1
            return remote.get() if self.loads == 1 else "inner"

    remote = Remote(Curious(near=True))
    assert remote.get() == "inner"


def test_a_part_of_a_value_that_is_not_here_is_looked_at_later():
    value = Value(1, near=True)
    future = done_with(value)
    assert type(future.append).__name__ == "LiftedFuture"  # who knows?
    assert value.loads == 0
    future.result()
    assert type(future.append).__name__ == "LiftedFuture"
    with pytest.raises(AttributeError, match="the result, a 'list' object, has no attribute 'x'"):
        future.x  # noqa: B018


# --- callbacks ----------------------------------------------------------------------------------------


def test_callbacks_are_called_when_the_value_is_here_in_the_order_added():
    value, calls = Value(1), []
    future: AppFuture = AppFuture(Record())
    future.add_done_callback(lambda f: calls.append((1, f.result())))
    future.add_done_callback(lambda f: calls.append((2, f.result())))
    future._finish(FINISHED, Remote(value), None)
    assert calls == []
    assert len(value.asked) == 1
    future.add_done_callback(lambda f: calls.append((3, f.result())))
    value.come()
    assert calls == [(1, [1]), (2, [1]), (3, [1])]


def test_callbacks_that_come_late_are_called_when_the_value_is_here():
    value, calls = Value(1), []
    future = done_with(value)
    for number in range(3):
        future.add_done_callback(lambda f, n=number: calls.append(n))
    assert calls == []
    assert len(value.asked) == 1
    value.come()
    assert calls == [0, 1, 2]
    future.add_done_callback(lambda f: calls.append(3))
    assert calls == [0, 1, 2, 3]


def test_callbacks_are_called_though_the_value_was_lost():
    value, calls = Value(error=ResultLost("gone")), []
    future = done_with(value)
    future.add_done_callback(calls.append)
    value.come()  # or surely gone
    assert calls == [future]


def test_a_late_callback_while_others_are_being_called_is_called_too():
    value, calls = Value(1), []
    future = done_with(value)

    def first(f):
        f.add_done_callback(lambda _: calls.append("inner"))
        calls.append("outer")

    future.add_done_callback(first)
    value.come()
    assert sorted(calls) == ["inner", "outer"]


def test_our_own_listeners_do_not_ask_for_the_value():
    value, heard = Value(1), []
    future: AppFuture = AppFuture(Record())
    future.add_listener(heard.append)
    future._finish(FINISHED, Remote(value), None)
    assert heard == [future]
    assert value.asked == []


def test_a_failure_calls_back_at_once():
    calls: list = []
    future: AppFuture = AppFuture(Record())
    future.add_done_callback(calls.append)
    future._finish(FINISHED, None, LateError(lambda: ValueError("late")))
    assert calls == [future]
    assert isinstance(future.exception(), ValueError)


# --- await --------------------------------------------------------------------------------------------


def test_who_awaits_is_woken_when_the_value_is_here():
    value = Value(1)
    future = done_with(value)

    async def main():
        waiting = asyncio.ensure_future(_await(future))
        while not value.asked:
            await asyncio.sleep(0)
        assert value.loads == 0  # the loop is free
        asyncio.get_running_loop().call_later(0.01, value.come)
        return await waiting

    assert asyncio.run(main()) == [1]


async def _await(future):
    return await future


def test_who_awaits_a_task_that_runs_is_woken_when_its_value_is_here():
    value = Value(1)
    future: AppFuture = AppFuture(Record())

    async def main():
        waiting = asyncio.ensure_future(_await(future))
        await asyncio.sleep(0)
        future._finish(FINISHED, Remote(value), None)
        await asyncio.sleep(0)
        assert not waiting.done()
        value.come()
        return await waiting

    assert asyncio.run(main()) == [1]


def test_a_value_that_is_near_is_awaited_without_a_wait():
    value = Value(1, near=True)
    future = done_with(value)
    with pytest.raises(StopIteration) as stop:
        future.__await__().send(None)
    assert stop.value.value == [1]


def test_who_stops_awaiting_does_not_undo_what_is_done():
    future = done_with(Value(1))

    async def main():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)

    future.cancel = lambda: False  # type: ignore[method-assign]
    asyncio.run(main())
    assert not future.cancelled()


def test_asyncio_wraps_a_future_whose_value_is_elsewhere():
    value = Value(1)
    future = done_with(value)

    async def main():
        wrapped = asyncio.wrap_future(future)
        assert len(value.asked) == 1
        value.come()
        return await wrapped

    assert asyncio.run(main()) == [1]


# --- the lease ----------------------------------------------------------------------------------------


def test_the_end_of_the_last_holder_is_noted_and_nothing_else():
    gone: deque[int] = deque()
    remote = Remote(Value(1), 5, None, gone)
    one, two = AppFuture(Record()), AppFuture(Record())
    one._finish(FINISHED, remote, None)
    two._finish(FINISHED, remote, None)
    del remote, one
    assert list(gone) == []
    del two
    gc.collect()
    assert list(gone) == [5]


def test_a_value_that_has_been_loaded_is_kept_where_it_is_too():
    gone: deque[int] = deque()
    future = done_with(Value(1, near=True), number=5, gone=gone)
    future.result()
    assert list(gone) == []
    assert future._result.number == 5
    assert future._result.handle is None  # but not its bytes
    del future
    assert list(gone) == [5]


# --- several ------------------------------------------------------------------------------------------


def test_several_results_are_loaded_as_a_list():
    far = Remote(Value(1))
    remote = Remote(Several([far, 2, Remote(Value(3, near=True))]))
    assert not remote.is_near
    assert remote.handle.nbytes == 16
    calls = []
    remote.bring(lambda: calls.append(1))
    assert calls == []
    far.handle.come()
    assert calls == [1]
    assert remote.is_near
    assert remote.get() == [[1], 2, [3]]
    assert remote.get() is remote.get()


def test_several_results_share_one_timeout():
    remote = Remote(Several([Remote(Value(i)) for i in range(3)]))
    with pytest.raises(TimeoutError):
        remote.get(0.01)


def test_what_is_near_need_not_be_brought():
    calls = []
    bring_all([Remote(Value(1, near=True))], lambda: calls.append(1))
    bring_all([], lambda: calls.append(2))
    assert calls == [1, 2]


# --- late errors --------------------------------------------------------------------------------------


def test_an_exception_is_made_when_it_is_asked_for_and_once():
    made = []

    def make():
        made.append(1)
        return ValueError("late")

    error = LateError(make)
    assert "LateError" in repr(error)
    assert error.get() is error.get() is seen(error)
    assert made == [1]
    assert "ValueError" in repr(error)
    assert seen(error.get()) is error.get()


def test_an_exception_that_cannot_be_made_is_the_one_that_was_raised():
    error = LateError(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    assert isinstance(error.get(), ZeroDivisionError)


def test_what_an_exception_needs_is_made_first_however_long_the_chain():
    first = error = LateError(lambda: ValueError("root"))
    for _ in range(5000):
        error = LateError(lambda e=error: KeyError(seen(e).args), [error])
    assert isinstance(error.get(), KeyError)
    assert isinstance(first.get(), ValueError)


def test_the_timeout_of_result_counts_from_the_call():
    value = Value(1)
    future: AppFuture = AppFuture(Record())
    threading.Timer(0.02, future._finish, [FINISHED, Remote(value), None]).start()
    with pytest.raises(TimeoutError):
        future.result(0.1)
    value.come()
    assert future.result(0.1) == [1]


def test_a_cancelled_future_has_nothing_to_load():
    future: LazyFuture = AppFuture(Record())
    future._finish(CANCELLED_AND_NOTIFIED, None, None)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
