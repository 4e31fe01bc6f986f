"""`app.map`: order, window, errors, closing."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from tests.unit.app.fakes import InlineKernel
from treadle.app.app import python_app
from treadle.errors import TaskCallError


@pytest.fixture
def kernel() -> InlineKernel:
    return InlineKernel()


@pytest.fixture
def add(kernel: InlineKernel) -> Any:
    return python_app(data_flow_kernel=kernel)(lambda x, y=0: x + y)


def test_results_come_in_the_order_of_the_calls(kernel: InlineKernel, add: Any) -> None:
    kernel.hold = True
    results = add.map("abc", y="!")
    for future, value in zip(reversed(kernel.futures), "cba", strict=True):
        future.set_result(value)
    assert list(results) == ["a", "b", "c"]


def test_several_iterables_are_positional_arguments_and_the_shortest_ends(add: Any) -> None:
    assert list(add.map([1, 2, 3], [10, 20])) == [11, 22]
    assert list(add.map([])) == []


def test_the_window_bounds_what_is_in_flight(kernel: InlineKernel, add: Any) -> None:
    read: list[int] = []

    def items() -> Iterator[int]:
        for i in itertools.count():  # endless
            read.append(i)
            yield i

    results = add.map(items(), window=3)
    assert read == [0, 1, 2]
    assert next(results) == 0
    assert read == [0, 1, 2, 3]
    assert list(itertools.islice(results, 5)) == [1, 2, 3, 4, 5]
    results.close()
    assert len(kernel.calls) == 9
    assert list(results) == []


def test_the_default_window_is_a_thousand(kernel: InlineKernel, add: Any) -> None:
    kernel.hold = True
    with add.map(range(5000)):
        assert len(kernel.calls) == 1000


def test_an_error_is_raised_at_its_turn_and_cancels_the_rest(
    kernel: InlineKernel, add: Any
) -> None:
    kernel.hold = True
    results = add.map(range(4), window=4)
    kernel.futures[0].set_result("first")
    kernel.futures[1].set_exception(KeyError("second"))
    assert next(results) == "first"
    with pytest.raises(KeyError, match="second"):
        next(results)
    assert [f.cancelled() for f in kernel.futures] == [False, False, True, True]
    with pytest.raises(StopIteration):
        next(results)


def test_an_error_of_the_iterable_comes_after_the_results_before_it(add: Any) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("unreadable")

    results = add.map(items())
    assert next(results) == 1
    with pytest.raises(OSError, match="unreadable"):
        next(results)
    assert list(results) == []


def test_dropping_the_iterator_cancels_what_has_not_started(kernel: InlineKernel, add: Any) -> None:
    kernel.hold = True
    results = add.map(range(3))
    running = kernel.futures[0]
    running.set_running_or_notify_cancel()
    del results
    assert [f.cancelled() for f in kernel.futures] == [False, True, True]


def test_a_refused_call_cancels_those_before_it(kernel: InlineKernel, add: Any) -> None:
    kernel.hold = True
    with pytest.raises(TaskCallError):
        add.map([1], walltime=-1)

    def submit(*args: Any, **kwargs: Any) -> Any:
        if kernel.futures:
            raise RuntimeError("full")
        return InlineKernel.submit(kernel, *args, **kwargs)

    kernel.submit = submit  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="full"):
        add.map([1, 2])
    assert kernel.futures[0].cancelled()


@pytest.mark.parametrize("window", [0, -1, 1.5, True, "3"])
def test_a_window_that_is_no_number_of_calls_is_refused(add: Any, window: Any) -> None:
    with pytest.raises(TaskCallError, match="window must be a whole number"):
        add.map([1], window=window)


def test_map_needs_something_to_iterate_over(add: Any) -> None:
    with pytest.raises(TaskCallError, match="at least one iterable"):
        add.map()
