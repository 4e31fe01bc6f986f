"""A lazy future behaves as the library's own, and is light until somebody waits."""

# ruff: noqa: B023 - what is defined in a loop is called in the same round

from __future__ import annotations

import concurrent.futures
import gc
import sys
import threading
from concurrent.futures import Future

import pytest
from hypothesis import given
from hypothesis import strategies as st

from treadle.dataflow import _lazy
from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow.futures import AppFuture, put
from treadle.errors import TreadleError

STEPS = (
    "run",
    "result",
    "exception",
    "cancel",
    "ask",
    "callback",
    "condition",
    "wait",
    "completed",
)


def _play(future, steps):
    """Everything that can be seen of a future while these things are done to it."""
    seen: list[object] = []

    def note(what, call):
        try:
            seen.append((what, call()))
        except (Exception, concurrent.futures.CancelledError) as error:
            seen.append((what, type(error)))

    for number, step in enumerate(steps):
        if step == "run":
            note(step, future.set_running_or_notify_cancel)
        elif step == "result":
            note(step, lambda: future.set_result(number))
        elif step == "exception":
            note(step, lambda: future.set_exception(KeyError(number)))
        elif step == "cancel":
            note(step, future.cancel)
        elif step == "callback":
            note(
                step,
                lambda: future.add_done_callback(lambda f, n=number: seen.append(("called", n))),
            )
        elif step == "condition":
            note(step, lambda: future._condition.acquire() and future._condition.release())
        elif step == "wait":
            note(step, lambda: len(concurrent.futures.wait([future], timeout=0).done))
        elif step == "completed":
            note(step, lambda: len([*concurrent.futures.as_completed([future], timeout=0)]))
        note("state", lambda: (future.done(), future.running(), future.cancelled(), future._state))
        note("value", lambda: future.result(timeout=0))
        note("error", lambda: type(future.exception(timeout=0)))
    return seen


@given(st.lists(st.sampled_from(STEPS), max_size=8))
def test_whatever_is_done_to_it_it_does_as_the_librarys(steps):
    assert _play(LazyFuture(), steps) == _play(Future(), steps)


@pytest.mark.parametrize("waits", ["result", "wait", "as_completed", "callback"])
def test_who_waits_and_who_settles_never_miss_each_other(waits, rng):
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(300):
            futures = [LazyFuture() for _ in range(4)]
            cancelled = [rng.random() < 0.3 for _ in futures]
            seen: list[object] = []

            def settle(futures=futures, cancelled=cancelled):
                for future, cancel in zip(futures, cancelled, strict=True):
                    if cancel:
                        future.cancel()
                        future.set_running_or_notify_cancel()
                    else:
                        future.set_result(1)

            def look(futures=futures, seen=seen):
                if waits == "result":
                    for future in futures:
                        try:
                            seen.append(future.result(10))
                        except concurrent.futures.CancelledError:
                            seen.append(None)
                elif waits == "wait":
                    seen.extend(concurrent.futures.wait(futures, 10).done)
                elif waits == "as_completed":
                    seen.extend(concurrent.futures.as_completed(futures, 10))
                else:
                    for future in futures:
                        future.add_done_callback(seen.append)

            threads = [threading.Thread(target=work) for work in (settle, look, look)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(seen) == 8
    finally:
        sys.setswitchinterval(interval)


def test_it_is_settled_once_by_many_threads():
    for _ in range(200):
        future: LazyFuture[int] = LazyFuture()
        wins: list[int] = []

        def settle(number, future=future, wins=wins):
            if future._finish("FINISHED", number, None):
                wins.append(number)

        threads = [threading.Thread(target=settle, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wins == [future.result()]


def test_callbacks_keep_their_order_while_it_is_settled():
    for _ in range(200):
        future: LazyFuture[int] = LazyFuture()
        calls: list[int] = []

        def add(future=future, calls=calls):
            for number in range(30):
                future.add_done_callback(lambda _, n=number: calls.append(n))

        adding = threading.Thread(target=add)
        adding.start()
        future.set_result(1)
        adding.join()
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(10)
        assert calls == list(range(30))


def test_callbacks_that_add_callbacks_do_not_recurse():
    future: LazyFuture[int] = LazyFuture()
    count = 0

    def again(_):
        nonlocal count
        count += 1
        if count < 5_000:
            future.add_done_callback(again)

    future.add_done_callback(again)
    future.set_result(1)
    assert count == 5_000


class Unshowable(Exception):
    @property
    def __notes__(self):
        raise BaseException("not even its notes")

    def __str__(self):
        raise BaseException("no")


def test_an_exception_that_cannot_be_logged_stops_no_callback(caplog):
    future: LazyFuture[int] = LazyFuture()
    calls: list[object] = []

    def throw(_):
        raise Unshowable

    future.add_done_callback(throw)
    future.add_done_callback(calls.append)
    future.set_result(1)
    assert calls == [future]


def test_a_future_that_nobody_waits_for_has_no_lock():
    future: LazyFuture[int] = LazyFuture()
    assert sys.getsizeof(future) <= 120
    future.set_result(1)
    future.result()
    assert future._sync is None


def test_a_condition_left_taken_does_not_stop_who_settles(monkeypatch):
    """As Ctrl-C leaves it that strikes inside `concurrent.futures.wait`."""
    monkeypatch.setattr(_lazy, "_PATIENCE_S", 0.01)
    monkeypatch.setattr(_lazy, "_lost_until", 0.0)
    futures: list[LazyFuture[int]] = [LazyFuture() for _ in range(20)]
    for future in futures:
        future._condition.acquire()
    for future in futures:
        future.set_result(1)
    assert [f.result() for f in futures] == [1] * 20
    assert concurrent.futures.wait(futures, timeout=0).not_done == set()
    for future in futures:
        with future._condition:
            pass


def test_waiting_in_vain_leaves_nothing_behind():
    future: LazyFuture[int] = LazyFuture()
    for timeout in (0, -1, 0.001):
        with pytest.raises(TimeoutError):
            future.result(timeout)
    assert future._synced().gates == []


def test_a_timeout_may_be_longer_than_the_system_can_wait():
    future: LazyFuture[int] = LazyFuture()
    threading.Timer(0.01, future.set_result, (3,)).start()
    assert future.result(1e12) == 3


def test_a_raised_result_holds_no_future():
    future: LazyFuture[int] = LazyFuture()
    future.set_exception(ValueError("x"))
    with pytest.raises(ValueError, match="x"):
        future.result()
    gc.collect()
    held = [
        r
        for r in gc.get_referrers(future)
        if type(r).__name__ == "frame" and r is not sys._getframe()
    ]
    assert held == []


def test_a_future_without_a_kernel_says_so():
    with pytest.raises(TreadleError):
        put(1).tid  # noqa: B018
    assert repr(AppFuture()).startswith("<AppFuture at")
    assert put([1, 2])[1].result() == 2
    assert put(3 + 1j).real.result() == 3.0
