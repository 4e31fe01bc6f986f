"""A kernel and an executor in other processes: tasks are pickled once, and nothing breaks it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from treadle import Config, DataFlowKernel, python_app
from treadle.errors import RemoteTraceback, SerializationError
from treadle.executors.base import ParslExecutor
from treadle.serialize import PackedCall


class Processes(ParslExecutor):
    pickles_tasks = True
    label = "processes"

    def __init__(self) -> None:
        super().__init__()
        self.handed: list[Any] = []

    def start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=context)

    def submit(
        self, func: Any, resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        self.handed.append(func)
        return self.pool.submit(func, *args, **kwargs)

    def shutdown(self) -> None:
        self.pool.shutdown()


class OddConstructor(Exception):
    def __init__(self, what: str, code: int):
        super().__init__(what)
        self.code = code


class CountsPickles:
    pickles = 0

    def __reduce__(self) -> Any:
        CountsPickles.pickles += 1
        return CountsPickles, ()


@pytest.fixture(scope="module", autouse=True)
def what_multiprocessing_keeps_for_the_life_of_the_process() -> None:
    # The first spawned process starts a tracker of resources that is never ended.
    process = multiprocessing.get_context("spawn").Process(target=int)
    process.start()
    process.join()
    process.close()


@pytest.fixture
def executor() -> Processes:
    return Processes()


@pytest.fixture
def kernel(executor: Processes, run_dir: Path) -> Iterator[DataFlowKernel]:
    config = Config(executors=[executor], retries=2, run_dir=str(run_dir))
    with DataFlowKernel(config) as kernel:
        yield kernel


def app(kernel: DataFlowKernel, func: Any) -> Any:
    return python_app(func, data_flow_kernel=kernel)


def test_tasks_run_in_other_processes_and_depend_on_each_other(kernel: DataFlowKernel) -> None:
    @python_app(data_flow_kernel=kernel)
    def add(x: int, y: int = 1) -> tuple[int, int]:
        return x + y, os.getpid()

    total, pid = add(add(1)[0], y=add(2)[0]).result()
    assert total == 5
    assert pid != os.getpid()


def test_a_task_is_pickled_once_and_retries_reuse_the_bytes(
    kernel: DataFlowKernel, executor: Processes
) -> None:
    def fails(argument: CountsPickles) -> None:
        raise LookupError

    CountsPickles.pickles = 0
    executor.handed.clear()
    with pytest.raises(LookupError):
        app(kernel, fails)(CountsPickles()).result()
    first, *rest = executor.handed
    assert isinstance(first, PackedCall)
    assert len(rest) == 2
    assert all(call is first for call in rest)
    # Where plain pickle gives up at the local function, cloudpickle begins anew: two at most.
    assert CountsPickles.pickles <= 2


def test_an_exception_with_an_odd_constructor_breaks_nothing(kernel: DataFlowKernel) -> None:
    def odd() -> None:
        raise OddConstructor("odd", 7)

    error = app(kernel, odd)().exception()
    assert isinstance(error, OddConstructor)
    assert error.code == 7
    assert isinstance(error.__cause__, RemoteTraceback)
    assert app(kernel, len)([1, 2]).result() == 2


def test_what_cannot_be_pickled_ends_in_its_future(kernel: DataFlowKernel) -> None:
    def takes(model: Any) -> None: ...

    def gives() -> Any:
        return {"lock": threading.Lock()}

    error = app(kernel, takes)({"lock": threading.Lock()}).exception()
    assert isinstance(error, SerializationError)
    assert error.path == "argument 'model' -> ['lock']"
    error = app(kernel, gives)().exception()
    assert isinstance(error, SerializationError)
    assert error.what == "the result of gives"
    assert error.path == "['lock']"


def test_a_base_exception_ends_in_its_future(kernel: DataFlowKernel) -> None:
    def exits() -> None:
        raise SystemExit(3)

    assert isinstance(app(kernel, exits)().exception(), SystemExit)
    assert app(kernel, len)("abc").result() == 3
