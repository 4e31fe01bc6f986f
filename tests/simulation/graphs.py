"""Workloads as plain data: what programs of a known shape ask of a scheduler.

A graph is a list of tasks, each with what it is called, how long it runs, how large its result is
and which tasks it depends on; dependencies stand before their dependents. Generators take about
how many tasks are wanted and a seed; equal arguments give equal graphs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import isqrt
from typing import NamedTuple

KB, MB = 1_000, 1_000_000


class Node(NamedTuple):
    """A task of a workload."""

    name: str
    duration_s: float
    nbytes: int
    #: Numbers of tasks that stand before it, each once.
    dependencies: tuple[int, ...] = ()


@dataclass(slots=True)
class Graph:
    """A workload."""

    title: str
    nodes: list[Node] = field(default_factory=list)

    def add(self, name: str, duration_s: float, nbytes: float, *dependencies: int) -> int:
        """Add a task; return its number."""
        self.nodes.append(Node(name, duration_s, int(nbytes), dependencies))
        return len(self.nodes) - 1

    def __len__(self) -> int:
        return len(self.nodes)

    def dependencies(self) -> list[tuple[int, ...]]:
        """Give each task's dependencies, as an ordering wants them."""
        return [node.dependencies for node in self.nodes]

    def finals(self) -> Iterator[int]:
        """Give the tasks on which none depends: their results are what the user wants."""
        used = bytearray(len(self.nodes))
        for node in self.nodes:
            for one in node.dependencies:
                used[one] = 1
        return (number for number, is_used in enumerate(used) if not is_used)

    def work_s(self) -> float:
        """Add up the durations of all tasks."""
        return sum(node.duration_s for node in self.nodes)

    def critical_path_s(self) -> float:
        """Give the duration of the longest way through the graph."""
        ends: list[float] = []
        for node in self.nodes:
            start = max((ends[one] for one in node.dependencies), default=0.0)
            ends.append(start + node.duration_s)
        return max(ends, default=0.0)

    def least_makespan_s(self, slots: int) -> float:
        """Give a lower bound of the time that so many slots need, if nothing but the tasks took
        any: max(critical path, work / slots)."""
        return max(self.critical_path_s(), self.work_s() / slots)

    def least_memory_bytes(self) -> int:
        """Give a lower bound of the results in memory at once: the final results together, or a
        task's result beside all it is made of, whichever is more."""
        finals = sum(self.nodes[number].nbytes for number in self.finals())
        return max(finals, *map(self._around, self.nodes), 0)

    def input_bytes(self) -> int:
        """Add up the inputs of all tasks: what would move if no task ran where an input is. (The
        least that must move is nothing: all could run on one worker.)"""
        return sum(self.nodes[one].nbytes for node in self.nodes for one in node.dependencies)

    def _around(self, node: Node) -> int:
        return node.nbytes + sum(self.nodes[one].nbytes for one in node.dependencies)


class _Dice:
    """Durations and sizes that differ as those of real tasks do."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def about(self, mean: float, spread: float = 0.25) -> float:
        """A number near `mean`, log-normal, so that it is never below 0."""
        return mean * self.rng.lognormvariate(-spread * spread / 2, spread)

    def tail(self, mean: float, most: float) -> float:
        """Mostly less than `mean`, sometimes far more: Pareto with exponent 1.5, up to `most`."""
        return min(most, mean / 3 * self.rng.paretovariate(1.5))


def montage(tasks: int, seed: int = 0) -> Graph:
    """A mosaic of images of the sky.

    Images on a grid are projected; each overlap is fitted; one model of all backgrounds is made
    of the fits; the images are corrected and added by tiles, which are shrunk into one picture.
    Durations and sizes are those of published profiles: seconds and megabytes for an image, some
    minutes for each of the two serial steps and for adding a tile.
    """
    graph, dice = Graph("montage"), _Dice(seed)
    width = max(2, isqrt(tasks // 5))
    images = range(width * width)
    for _ in images:
        graph.add("mProject", dice.about(1.73), 8.1 * MB)
    fits = []
    for image in images:
        row, column = divmod(image, width)
        for down, right in ((0, 1), (1, 0), (1, 1)):
            if row + down < width and column + right < width:
                other = image + down * width + right
                fits.append(graph.add("mDiffFit", dice.about(0.66), 0.64 * MB, image, other))
    table = graph.add("mConcatFit", 143, 1.2 * MB, *fits)
    model = graph.add("mBgModel", 384, 0.1 * MB, table)
    corrected = [graph.add("mBackground", dice.about(1.72), 8.1 * MB, i, model) for i in images]
    shrunk = []
    for first in range(0, len(corrected), 128):
        tile = corrected[first : first + 128]
        listed = graph.add("mImgtbl", dice.about(2.8), 0.12 * MB, *tile)
        added = graph.add("mAdd", dice.about(282), 775 * MB * len(tile) / 128, listed, *tile)
        shrunk.append(graph.add("mShrink", dice.about(66), 0.5 * MB, added))
    graph.add("mJPEG", 0.64, 0.4 * MB, *shrunk)
    return graph


def tree(tasks: int, seed: int = 0, arity: int = 8) -> Graph:
    """Large blocks are loaded, each is made small, and the small ones are folded by a tree."""
    graph, dice = Graph("tree reduction"), _Dice(seed)
    level = []
    for _ in range(max(2, tasks * (arity - 1) // (2 * arity - 1))):
        block = graph.add("load", dice.about(0.5), dice.about(64 * MB))
        level.append(graph.add("partial", dice.about(0.25), MB, block))
    while len(level) > 1:
        level = [
            graph.add("combine", dice.about(0.1), MB, *level[first : first + arity])
            for first in range(0, len(level), arity)
        ]
    return graph


def map_reduce(tasks: int, seed: int = 0) -> Graph:
    """Blocks are split by key, and each reducer takes its piece of every block."""
    graph, dice = Graph("map-reduce"), _Dice(seed)
    reducers = max(2, isqrt(tasks) // 2)
    maps = max(2, tasks // (reducers + 1))
    pieces: list[list[int]] = [[] for _ in range(reducers)]
    for _ in range(maps):
        block = graph.add("map", dice.about(2.0), reducers * 0.25 * MB)
        for its in pieces:
            its.append(graph.add("split", dice.about(0.02), 0.25 * MB, block))
    for its in pieces:
        graph.add("reduce", dice.about(maps * 0.02), 10 * MB, *its)
    return graph


def layered(tasks: int, seed: int = 0, layers: int = 20) -> Graph:
    """Layers of tasks, each of one to four of the layer before; durations have a heavy tail."""
    graph, dice = Graph("random layers"), _Dice(seed)
    width = max(1, tasks // layers)
    for layer in range(layers):
        for _ in range(width):
            count = dice.rng.randint(1, 4) if layer else 0
            before = sorted({dice.rng.randrange(width) for _ in range(count)})
            its = [(layer - 1) * width + one for one in before]
            graph.add("step", dice.tail(0.5, 15), dice.about(10 * MB, 1.0), *its)
    return graph


def fan(tasks: int, seed: int = 0, rounds: int = 10) -> Graph:
    """Rounds of one task that many take, whose results one gathers; the next round starts there."""
    graph, dice = Graph("fan-out and fan-in"), _Dice(seed)
    last = graph.add("gather", dice.about(1), 10 * MB)
    for _ in range(rounds):
        many = [
            graph.add("fan", dice.about(0.5), 0.1 * MB, last)
            for _ in range(max(1, tasks // rounds))
        ]
        last = graph.add("gather", dice.about(1), 10 * MB, *many)
    return graph


def chains(tasks: int, seed: int = 0, length: int = 20) -> Graph:
    """Chains side by side: files that go through the same steps. Submitted step by step."""
    graph, dice = Graph("chains"), _Dice(seed)
    ends: list[list[int]] = [[] for _ in range(max(1, tasks // length))]
    for step in range(length):
        ends = [[graph.add(f"step{step}", dice.about(0.2), 20 * MB, *end)] for end in ends]
    return graph


def stencil(tasks: int, seed: int = 0, steps: int = 50) -> Graph:
    """A field in strips: each step of a strip takes the strip and its neighbours before it."""
    graph, dice = Graph("stencil"), _Dice(seed)
    width = max(1, tasks // steps)
    for step in range(steps):
        first = (step - 1) * width
        for strip in range(width):
            near = range(max(0, strip - 1), min(width, strip + 2)) if step else ()
            graph.add("advance", dice.about(0.3), 5 * MB, *(first + one for one in near))
    return graph


#: Every workload: about how many tasks, and a seed.
WORKLOADS: dict[str, Callable[[int, int], Graph]] = {
    "montage": montage,
    "tree": tree,
    "map_reduce": map_reduce,
    "layered": layered,
    "fan": fan,
    "chains": chains,
    "stencil": stencil,
}
