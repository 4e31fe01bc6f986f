"""What the tasks of the process benchmarks do. Importable, so that any process finds it."""

from __future__ import annotations

import time
from typing import Any


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Take anything and return nothing: the cost of the call is the engine's."""


def add(left: int, right: int) -> int:
    """A node of a tree."""
    return left + right


def one(_number: int) -> int:
    """A leaf of a tree."""
    return 1


def gather(*values: Any, inputs: Any = ()) -> int:
    """How many values came together, however the engine passes them."""
    if inputs:
        return len(inputs)
    return len(values[0]) if len(values) == 1 else len(values)


def first_of(array: Any, _number: int) -> float:
    """Look at a large array."""
    return float(array[0])


def pair_first(call: tuple[Any, int]) -> float:
    """The same, for engines whose maps pass one thing."""
    return float(call[0][0])


def make(nbytes: int) -> Any:
    """A large array."""
    import numpy as np

    return np.ones(nbytes // 8)


def increase(array: Any) -> Any:
    """A new large array from another one."""
    return array + 1


def total(array: Any) -> float:
    """Something small from a large array."""
    return float(array[0] + array[-1])


def spin(seconds: float) -> None:
    """Be busy for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


class Counter:
    """An actor that adds up."""

    def __init__(self) -> None:
        self.count = 0

    def add(self, number: int) -> int:
        """What it has come to."""
        self.count += number
        return self.count


def wait_for_file(path: str) -> None:
    """Occupy a process until the file is there."""
    import os

    while not os.path.exists(path):
        time.sleep(0.02)
