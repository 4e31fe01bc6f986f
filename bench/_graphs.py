"""Measures of graphs: chains and fans.

A pool knows no dependencies: its chain is a callback that submits the next task.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from _clock import Stopwatch
from _simple import Figures, warm
from _tasks import hold, noop

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from _engine import App, Engine


def chain(engine: Engine, size: int) -> Figures:
    """Each task takes the future of the one before; a pool's callback submits the next one."""
    app, watch = warm(engine), Stopwatch()
    if not engine.dataflow:
        _callback_chain(app, size)
        return {"link": watch.wall_us(size), "cpu": watch.cpu_us(size)}
    last = app()
    for _ in range(size - 1):
        last = app(last)
    last.result()
    return {"link": watch.wall_us(size), "cpu": watch.cpu_us(size)}


def _callback_chain(app: App, size: int) -> None:
    left, done = iter(range(size - 1)), threading.Event()

    def go_on(_: Future[Any]) -> None:
        if next(left, None) is None:
            done.set()
        else:
            app().add_done_callback(go_on)

    app().add_done_callback(go_on)
    done.wait()


def blocked(engine: Engine, tasks: Callable[[Future[Any]], list[Future[Any]]]) -> Stopwatch:
    """Let tasks be submitted behind one that is held; time them from its release."""
    warm(engine)
    gate = threading.Event()
    try:
        futures = tasks(engine.app(hold)(gate))
    finally:
        watch = Stopwatch()
        gate.set()
    for future in futures:
        future.result()
    return watch


def held_chain(engine: Engine, size: int) -> Figures:
    """A chain that is there before its first task ends."""

    def tasks(head: Future[Any]) -> list[Future[Any]]:
        app = engine.app(noop)
        for _ in range(size):
            head = app(head)
        return [head]

    watch = blocked(engine, tasks)
    return {"link": watch.wall_us(size), "cpu": watch.cpu_us(size)}


def fan_out(engine: Engine, size: int) -> Figures:
    """Many wait for one."""
    app = engine.app(noop)
    watch = blocked(engine, lambda head: [app(head) for _ in range(size)])
    return {"wall": watch.wall_us(size), "cpu": watch.cpu_us(size)}


def fan_in(engine: Engine, size: int) -> Figures:
    """One waits for many, all told."""
    app, watch = warm(engine), Stopwatch()
    leaves = [app() for _ in range(size)]
    if engine.dataflow:
        app(inputs=leaves).result()
    else:
        app([leaf.result() for leaf in leaves]).result()
    return {"wall": watch.wall_us(size), "cpu": watch.cpu_us(size)}
