"""Drive a scheduler's machine through whole graphs and time only what it does itself.

A machine is admitted a graph, told that each task it hands out has finished, and released of all
results. The answers are made up between the timed steps.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Graph = Sequence[tuple[int, ...]]

WORKERS = 16
SLOTS = 4


class Driver(Protocol):
    """One engine's machine with workers, and a client that wants every result."""

    name: str

    def admit(self, graph: Graph) -> None:
        """Take all tasks; task i depends on those named."""

    def run(self) -> float:
        """Answer until nothing runs; return the CPU seconds the machine took for it."""

    def release(self) -> None:
        """Want nothing any longer."""

    def left(self) -> int:
        """How many tasks the machine still knows."""


@dataclass
class Cost:
    """CPU microseconds for each task."""

    admit: float
    run: float
    release: float

    @property
    def total(self) -> float:
        return self.admit + self.run + self.release


def cost_of(make: Callable[[], Driver], graph: Graph) -> Cost:
    """What one pass of a graph through a fresh machine costs."""
    driver = make()
    gc.collect()
    started = time.process_time()
    driver.admit(graph)
    admitted = time.process_time() - started
    ran = driver.run()
    started = time.process_time()
    driver.release()
    released = time.process_time() - started
    assert driver.left() == 0, f"{driver.name}: {driver.left()} tasks are left"
    scale = 1e6 / len(graph)
    return Cost(admitted * scale, ran * scale, released * scale)


def bytes_per_waiting(make: Callable[[], Driver], count: int) -> float:
    """What the machine holds for each task of a chain whose first task runs; key and spec too."""
    driver = make()
    driver.admit([()])
    gc.collect()
    tracemalloc.start()
    try:
        driver.admit([(-1,), *((i,) for i in range(count - 1))])
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / count
    finally:
        tracemalloc.stop()


# --- graphs ------------------------------------------------------------------------------------


def independent(count: int) -> Graph:
    return [()] * count


def chains(count: int, length: int = 4) -> Graph:
    return [(i - 1,) if i % length else () for i in range(count)]


def tree(count: int, arity: int = 8) -> Graph:
    """Leaves first, then rows of tasks that each take `arity` of the row below."""
    leaves = max(1, count * (arity - 1) // arity)
    graph: list[tuple[int, ...]] = [()] * leaves
    row = list(range(leaves))
    while len(row) > 1:
        above = []
        for start in range(0, len(row), arity):
            above.append(len(graph))
            graph.append(tuple(row[start : start + arity]))
        row = above
    return graph


def fan_in(count: int) -> Graph:
    return [*([()] * (count - 1)), tuple(range(count - 1))]


def fan_out(count: int) -> Graph:
    return [(), *([(0,)] * (count - 1))]


GRAPHS: dict[str, Callable[[int], Graph]] = {
    "independent": independent,
    "chains of 4": chains,
    "tree, 8 to 1": tree,
    "fan-in": fan_in,
    "fan-out": fan_out,
}
