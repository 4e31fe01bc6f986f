"""Measures of clients: each takes a started engine and a size, and returns figures by name.

Processor time is that of all processes of the engine. No call is `pure`, so that no engine takes
two for the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

from _client_engines import SLOTS, ClientEngine
from _clock import percentile
from _cluster_tasks import Counter, add, make, noop, one, total
from _family import CpuClock

Figures = dict[str, float]
_numbers = itertools.count()


def warm(engine: ClientEngine) -> None:
    """Have all processes started, and the function of the no-op known to them."""
    client = engine.client
    client.gather([client.submit(noop, next(_numbers), pure=False) for _ in range(200 * SLOTS)])
    client.gather(client.map(noop, range(200 * SLOTS), pure=False))
    time.sleep(0.2)


class Watch:
    """Wall time and processor time since it was made."""

    def __init__(self) -> None:
        self._cpu = CpuClock()
        self._began = time.perf_counter()

    def wall_s(self) -> float:
        """In seconds."""
        return time.perf_counter() - self._began

    def figures(self, count: int) -> Figures:
        """Microseconds for each of so many."""
        wall_s = self.wall_s()
        return {"wall": 1e6 * wall_s / count, "cpu": 1e6 * self._cpu.spent_s() / count}


def submit_loop(engine: ClientEngine, size: int) -> Figures:
    """Submit all in a loop, then gather them."""
    warm(engine)
    client, watch = engine.client, Watch()
    futures = [client.submit(noop, number, pure=False) for number in range(size)]
    submit_s = watch.wall_s()
    client.gather(futures)
    return {**watch.figures(size), "submit": 1e6 * submit_s / size}


def mapped(engine: ClientEngine, size: int) -> Figures:
    """A map with a future for each row, gathered."""
    warm(engine)
    client, watch = engine.client, Watch()
    client.gather(client.map(noop, range(size), pure=False))
    return watch.figures(size)


def round_trip(engine: ClientEngine, size: int) -> Figures:
    """One task at a time: from the call to its result."""
    warm(engine)
    client, times = engine.client, []
    for number in range(size):
        began = time.perf_counter()
        client.submit(noop, number, pure=False).result()
        times.append(1e6 * (time.perf_counter() - began))
    return {"p50": percentile(times, 50), "p99": percentile(times, 99)}


def gathered(engine: ClientEngine, size: int) -> Figures:
    """The results of so many tasks that have ended, small each."""
    warm(engine)
    client = engine.client
    futures = client.map(one, range(size), pure=False)
    engine.wait(futures)
    watch = Watch()
    if sum(client.gather(futures)) != size:
        raise ValueError("the gather lost something")
    return watch.figures(size)


def completed(engine: ClientEngine, size: int) -> Figures:
    """So many tasks as they are done, with their results."""
    warm(engine)
    client, watch = engine.client, Watch()
    done = engine.as_completed(client.map(one, range(size), pure=False))
    if sum(future.result() for future in done) != size:
        raise ValueError("not all were completed")
    return watch.figures(size)


def gathered_arrays(engine: ClientEngine, size: int) -> Figures:
    """1 GB from the workers, in so many parts."""
    warm(engine)
    client = engine.client
    each = 1_000_000_000 // 8 // size * 8
    futures = [client.submit(make, each, pure=False) for _ in range(size)]
    engine.wait(futures)
    began = time.perf_counter()
    arrays = client.gather(futures)
    there = time.perf_counter()
    if sum(float(array.sum()) for array in arrays) != each // 8 * size:
        raise ValueError("the gather lost something")
    return {"seconds": there - began, "used": time.perf_counter() - began}


def scattered(engine: ClientEngine, size: int) -> Figures:
    """1 GB to the workers, in so many parts; then a task looks at each."""
    warm(engine)
    client = engine.client
    each = 1_000_000_000 // 8 // size * 8
    arrays = [make(each) + number for number in range(size)]
    began = time.perf_counter()
    futures = client.scatter(arrays, **engine.scatter_options)
    there = time.perf_counter()
    sums = client.gather([client.submit(total, future, pure=False) for future in futures])
    seen = time.perf_counter()
    if sums != [2.0 * (number + 1) for number in range(size)]:
        raise ValueError("the data are not what they were")
    return {"seconds": there - began, "used": seen - began}


def chain(engine: ClientEngine, size: int) -> Figures:
    """A graph of so many links, through `get`."""
    warm(engine)
    links: dict[str, Any] = {"link-0": (one, 0)}
    for number in range(1, size):
        links[f"link-{number}"] = (add, f"link-{number - 1}", 1)
    watch = Watch()
    if engine.client.get(links, f"link-{size - 1}") != size:
        raise ValueError("the chain's result is wrong")
    return watch.figures(size)


def tree(engine: ClientEngine, size: int) -> Figures:
    """A graph of leaves that are added in pairs until one sum is left, through `get`."""
    size = 1 << max(1, size.bit_length() - 1)
    warm(engine)
    level = [f"leaf-{number}" for number in range(size)]
    graph: dict[str, Any] = {key: (one, number) for number, key in enumerate(level)}
    while len(level) > 1:
        pairs = list(zip(level[::2], level[1::2], strict=True))
        level = [f"sum-{len(level)}-{number}" for number in range(len(pairs))]
        graph.update({key: (add, *pair) for key, pair in zip(level, pairs, strict=True)})
    watch = Watch()
    if engine.client.get(graph, level[0]) != size:
        raise ValueError("the tree's sum is wrong")
    return watch.figures(len(graph))


def actor(engine: ClientEngine, size: int) -> Figures:
    """Calls of an actor: one at a time, then all at once."""
    counter = engine.client.submit(Counter, actor=True).result()
    counter.add(1).result()
    times = []
    for _ in range(size):
        began = time.perf_counter()
        counter.add(1).result()
        times.append(1e6 * (time.perf_counter() - began))
    watch = Watch()
    calls = [counter.add(1) for _ in range(size)]
    if [call.result() for call in calls][-1] != 2 * size + 1:
        raise ValueError("the actor lost something")
    return {"p50": percentile(times, 50), **watch.figures(size)}


MEASURES: dict[str, Callable[[ClientEngine, int], Figures]] = {
    "submit": submit_loop,
    "map": mapped,
    "round-trip": round_trip,
    "gather": gathered,
    "as-completed": completed,
    "gather-arrays": gathered_arrays,
    "scatter": scattered,
    "chain": chain,
    "tree": tree,
    "actor": actor,
}
