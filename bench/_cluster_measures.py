"""Measures across processes: each takes a started engine and a size, and returns figures by name.

Processor time is that of all processes of the engine. Calls get a number each, so that no engine
takes two for the same.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _clock import percentile
from _cluster_engine import SLOTS, Engine
from _cluster_tasks import (
    add,
    first_of,
    gather,
    increase,
    make,
    noop,
    one,
    pair_first,
    spin,
    total,
    wait_for_file,
)
from _family import CpuClock, PeakMemory, memory_bytes

Figures = dict[str, float]
_numbers = itertools.count()


def warm(engine: Engine) -> None:
    """Have all processes started, and the function of the no-op known to them."""
    if not engine.submits:
        list(engine.map(noop, range(200 * SLOTS)))
        return
    app = engine.app(noop)
    engine.results([app(next(_numbers)) for _ in range(200 * SLOTS)])
    time.sleep(0.2)


class Watch:
    """Wall time and processor time since it was made."""

    def __init__(self) -> None:
        self._cpu = CpuClock()
        self._began = time.perf_counter()

    def figures(self, count: int) -> Figures:
        """Microseconds for each of so many."""
        wall_s = time.perf_counter() - self._began
        cpu_s = self._cpu.spent_s()
        return {"wall": 1e6 * wall_s / count, "cpu": 1e6 * cpu_s / count, "rate": count / wall_s}


def submit_loop(engine: Engine, size: int) -> Figures:
    """Submit all in a loop, then take all results."""
    warm(engine)
    app, watch = engine.app(noop), Watch()
    engine.results([app(number) for number in range(size)])
    return watch.figures(size)


def mapped(engine: Engine, size: int) -> Figures:
    """The engine's fastest map."""
    warm(engine)
    list(engine.map(noop, range(1000)))
    watch = Watch()
    for _ in engine.map(noop, range(size)):
        pass
    return watch.figures(size)


def round_trip(engine: Engine, size: int) -> Figures:
    """One task at a time: from the call to its result."""
    warm(engine)
    app, times, watch = engine.app(noop), [], Watch()
    for number in range(size):
        began = time.perf_counter()
        engine.result(app(number))
        times.append(1e6 * (time.perf_counter() - began))
    cpu = watch.figures(size)["cpu"]
    return {"p50": percentile(times, 50), "p99": percentile(times, 99), "cpu": cpu}


def chain(engine: Engine, size: int) -> Figures:
    """Each task takes the result of the one before; a pool's callback submits the next."""
    warm(engine)
    app, watch = engine.app(noop), Watch()
    if engine.dataflow:
        last = app(0)
        for number in range(1, size):
            last = app(last, number)
        engine.result(last)
    else:
        _callback_chain(app, size)
    return watch.figures(size)


def _callback_chain(app: Callable[..., Any], size: int) -> None:
    left, done = iter(range(size - 1)), threading.Event()

    def go_on(_: Any) -> None:
        number = next(left, None)
        if number is None:
            done.set()
        else:
            app(number).add_done_callback(go_on)

    app(-1).add_done_callback(go_on)
    done.wait()


def tree(engine: Engine, size: int) -> Figures:
    """Leaves are added in pairs until one sum is left; a pool's levels wait for each other."""
    size = 1 << max(1, size.bit_length() - 1)
    warm(engine)
    leaf, node, watch, count = engine.app(one), engine.app(add), Watch(), size
    level = [leaf(number) for number in range(size)]
    while len(level) > 1:
        values = level if engine.dataflow else engine.results(level)
        level = [node(a, b) for a, b in zip(values[::2], values[1::2], strict=True)]
        count += len(level)
    if engine.result(level[0]) != size:
        raise ValueError("the tree's sum is wrong")
    return watch.figures(count)


def fan_in(engine: Engine, size: int) -> Figures:
    """One task that needs the results of many."""
    warm(engine)
    leaf, last, watch = engine.app(one), engine.app(gather), Watch()
    leaves = [leaf(number) for number in range(size)]
    if engine.result(engine.fan_in(last, leaves)) != size:
        raise ValueError("the fan-in lost something")
    return watch.figures(size)


def broadcast(engine: Engine, size: int) -> Figures:
    """The same 100 MB array to so many tasks, from the array to the last result."""
    warm(engine)
    array = make(100_000_000)
    began = time.perf_counter()
    shared = engine.share(array)
    if engine.submits:
        app = engine.app(first_of)
        engine.results([app(shared, number) for number in range(size)])
    else:
        list(engine.map(pair_first, [(array, number) for number in range(size)]))
    return {"seconds": time.perf_counter() - began}


def pipeline(engine: Engine, size: int) -> Figures:
    """Arrays of 50 MB from task to task, so many steps; only the last, small result comes home."""
    warm(engine)
    first, step, last = engine.app(make), engine.app(increase), engine.app(total)
    began = time.perf_counter()
    with PeakMemory() as peak:
        before = memory_bytes()
        value = first(50_000_000)
        for _ in range(size):
            value = step(value if engine.dataflow else engine.result(value))
        value = last(value if engine.dataflow else engine.result(value))
        if engine.result(value) != 2.0 * (size + 1):
            raise ValueError("the pipeline's result is wrong")
    seconds = time.perf_counter() - began
    return {"ms": 1e3 * seconds / size, "peak_mb": (peak.bytes - before) / 1e6}


def pending(engine: Engine, size: int) -> Figures:
    """So many tasks that cannot start yet: what each occupies, and how fast all run then."""
    warm(engine)
    with tempfile.TemporaryDirectory() as directory:
        gate = os.path.join(directory, "gate")
        app, hold = engine.app(noop), engine.app(wait_for_file)
        heads = [hold(gate) for _ in range(SLOTS)]
        before = memory_bytes()
        began = time.perf_counter()
        handles = [app(heads[0], n) if engine.dataflow else app(n) for n in range(size)]
        submitted_s = time.perf_counter() - began
        held = _settled_memory()
        Path(gate).touch()
        began = time.perf_counter()
        engine.results(handles)
        ran_s = time.perf_counter() - began
    return {"bytes": (held - before) / size, "rate": size / (submitted_s + ran_s)}


def _settled_memory() -> int:
    """Once nothing grows any more: what was submitted may still be on its way."""
    held, last = memory_bytes(), -1
    while abs(held - last) > 1_000_000:
        time.sleep(0.5)
        last, held = held, memory_bytes()
    return held


def efficiency(engine: Engine, size: int) -> Figures:
    """Tasks of 10 ms on two slots: the share of the time that the tasks themselves took."""
    warm(engine)
    began = time.perf_counter()
    if engine.submits:
        app = engine.app(spin)
        engine.results([app(0.010 + 1e-9 * number) for number in range(size)])
    else:
        list(engine.map(spin, [0.010] * size))
    return {"percent": 100 * size * 0.010 / SLOTS / (time.perf_counter() - began)}


MEASURES: dict[str, Callable[[Engine, int], Figures]] = {
    "submit": submit_loop,
    "map": mapped,
    "round-trip": round_trip,
    "chain": chain,
    "tree": tree,
    "fan-in": fan_in,
    "broadcast": broadcast,
    "pipeline": pipeline,
    "pending": pending,
    "many": pending,
    "efficiency": efficiency,
}
