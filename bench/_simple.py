"""Measures of single tasks: each takes a started engine and a size, and returns figures by name.

Times are microseconds for each task. A measure that an engine has no means for is not asked of it.
"""

from __future__ import annotations

import threading
import time

from _clock import Stopwatch, memory_bytes, peak_bytes, percentile
from _engine import WORKERS, App, Engine
from _tasks import hold, noop

Figures = dict[str, float]


def warm(engine: Engine) -> App:
    """An app that does nothing, and whose engine has its threads."""
    app = engine.app(noop)
    for future in [app() for _ in range(20 * WORKERS)]:
        future.result()
    return app


def submit_loop(engine: Engine, size: int) -> Figures:
    """Submit all, then take all results."""
    app, watch = warm(engine), Stopwatch()
    futures = [app() for _ in range(size)]
    submit = watch.wall_us(size)
    for future in futures:
        future.result()
    return {"submit": submit, "wall": watch.wall_us(size), "cpu": watch.cpu_us(size)}


def mapped(engine: Engine, size: int) -> Figures:
    """The engine's `map`; for one that has none, the loop."""
    warm(engine)
    watch = Stopwatch()
    for _ in engine.map(noop, range(size)):
        pass
    return {"wall": watch.wall_us(size), "cpu": watch.cpu_us(size)}


def round_trip(engine: Engine, size: int) -> Figures:
    """One task at a time: from the call to its result."""
    app, times = warm(engine), []
    watch = Stopwatch()
    for _ in range(size):
        began = time.perf_counter()
        app().result()
        times.append(1e6 * (time.perf_counter() - began))
    cpu = watch.cpu_us(size)
    return {"p50": percentile(times, 50), "p99": percentile(times, 99), "cpu": cpu}


def pending_memory(engine: Engine, size: int) -> Figures:
    """What one task that waits occupies; in a pool, one that waits for a thread."""
    app, gate = warm(engine), threading.Event()
    heads = [engine.app(hold)(gate) for _ in range(1 if engine.dataflow else WORKERS)]
    before = memory_bytes()
    futures = [app(heads[0]) for _ in range(size)]
    # What has been submitted may still be on its way: wait until nothing grows any more.
    held, last = memory_bytes(), -1
    while held != last:
        time.sleep(0.2)
        last, held = held, memory_bytes()
    gate.set()
    for future in futures:
        future.result()
    return {"bytes": (held - before) / size}


def many(engine: Engine, size: int) -> Figures:
    """So many that growth would show: the first and the last tenth, and the most memory."""
    app, tenth = warm(engine), max(1, size // 10)
    watches = []
    for _ in range(10):
        watch = Stopwatch()
        for future in [app() for _ in range(tenth)]:
            future.result()
        watches.append(watch.wall_us(tenth))
    total_s = sum(watches) * tenth / 1e6
    return {
        "rate": 10 * tenth / total_s,
        "first": watches[0],
        "last": watches[-1],
        "peak_mb": peak_bytes() / 1e6,
    }


def cached(engine: Engine, size: int) -> Figures:
    """Calls of a cached app that the engine has not seen, and the same again."""
    warm(engine)
    app = engine.app(noop, cache=True)
    app(-1).result()
    figures: Figures = {}
    for name in ("miss", "hit"):
        watch = Stopwatch()
        for future in [app(number) for number in range(size)]:
            future.result()
        figures[name] = watch.wall_us(size)
        figures[f"{name}_cpu"] = watch.cpu_us(size)
    return figures
