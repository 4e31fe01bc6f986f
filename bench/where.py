"""Where the processor time of a no-op task goes, stage by stage: `scripts/bench where`.

Each stage's functions are wrapped with a clock of the thread's own processor time, so that what
other threads do meanwhile is not counted; what a stage calls in another stage is that one's. The
cost of the clock is measured first and taken off. What remains of the process's time is switching
between threads and the event loop's own.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from typing import Any

from _tasks import noop

#: Stage, and the functions it begins with: module and qualified name.
STAGES = (
    ("app call", "treadle.app._base:App.__call__"),
    ("future", "treadle.dataflow.futures:AppFuture.__init__"),
    ("submit", "treadle.dataflow.dflow:DataFlowKernel.submit"),
    ("inbox", "treadle.runtime.engine:Inbox.post"),
    ("wake the engine", "treadle.runtime.engine:Engine.call_soon"),
    ("take from the inbox", "treadle.runtime.engine:Inbox._pump"),
    ("carry out commands", "treadle.dataflow._shell:Shell.take"),
    ("machine", "treadle.dataflow._machine:Machine.handle"),
    ("launch", "treadle.dataflow._shell:Shell._launch"),
    ("executor, submit", "treadle.executors.threads:ThreadPoolExecutor.submit"),
    ("executor, queue", "treadle.executors.threads:ThreadPoolExecutor._run"),
    ("executor, run", "treadle.executors.threads:Attempt._run"),
    ("outcome", "treadle.dataflow._shell:Shell._attempt_done"),
    ("settle", "treadle.dataflow._outcomes:Outcomes.settle"),
    ("drop", "treadle.dataflow._outcomes:Outcomes.drop"),
    ("result", "treadle.dataflow._lazy:LazyFuture.result"),
)


class Ledger:
    """Time and calls by stage."""

    def __init__(self, outside_ns: float = 0) -> None:
        self.time_ns: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)
        self._mine = threading.local()
        #: What a clock costs the stage that calls a clocked function.
        self._outside_ns = outside_ns

    def clocked(self, stage: str, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time written to the stage, less what it calls in other stages."""
        times, calls, mine, now = self.time_ns, self.calls, self._mine, time.thread_time_ns
        outside_ns = self._outside_ns

        def call(*args: Any, **kwargs: Any) -> Any:
            outer = getattr(mine, "inner_ns", 0)
            mine.inner_ns = 0
            began = now()
            try:
                return func(*args, **kwargs)
            finally:
                spent = now() - began
                times[stage] += spent - mine.inner_ns
                calls[stage] += 1
                mine.inner_ns = outer + spent + outside_ns

        return call

    def wrap(self, stage: str, place: str) -> None:
        """Put the clock round a function where it stands; none there: say so and go on."""
        module, _, path = place.partition(":")
        holder: Any = import_module(module)
        *outer, name = path.split(".")
        try:
            for part in outer:
                holder = getattr(holder, part)
            setattr(holder, name, self.clocked(stage, getattr(holder, name)))
        except AttributeError:
            print(f"{place} is not there any more; left out", file=sys.stderr)


def cost_of_clock(count: int = 200_000) -> tuple[float, float]:
    """Nanoseconds that a clock adds to the stage itself, and to the stage that calls it."""
    ledger = Ledger()
    inner = ledger.clocked("inner", noop)

    def loop(func: Callable[..., Any]) -> int:
        began = time.thread_time_ns()
        for _ in range(count):
            func()
        return time.thread_time_ns() - began

    bare, clocked = loop(noop), loop(inner)
    inside = ledger.time_ns["inner"] - bare
    return max(0.0, inside / count), max(0.0, (clocked - bare - inside) / count)


def main(argv: list[str]) -> int:
    """Run the tasks with and without clocks; print a table."""
    parser = argparse.ArgumentParser(prog="scripts/bench where", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000)
    parser.add_argument("--one-by-one", action="store_true", help="wait for each result in turn")
    options = parser.parse_args(argv)
    plain_us = run(options.tasks, options.one_by_one)
    inside, outside = cost_of_clock()
    ledger = Ledger(outside)
    for stage, place in STAGES:
        ledger.wrap(stage, place)
    run(options.tasks, options.one_by_one, ledger)
    print("| stage | calls per task | us per task |\n|---|---:|---:|")
    total_us = 0.0
    for stage, _ in STAGES:
        calls = ledger.calls[stage] / options.tasks
        spent_us = (ledger.time_ns[stage] / options.tasks - calls * inside) / 1e3
        total_us += spent_us
        print(f"| {stage} | {calls:.2f} | {spent_us:.2f} |")
    print(f"| all stages | | {total_us:.2f} |")
    print(f"| whole process without clocks | | {plain_us:.2f} |")
    return 0


def run(tasks: int, one_by_one: bool, ledger: Ledger | None = None) -> float:
    """Processor time of one task in microseconds."""
    import treadle

    app = treadle.python_app(noop)
    with tempfile.TemporaryDirectory() as run_dir, treadle.load(treadle.Config(run_dir=run_dir)):
        for _ in range(100):
            app().result()
        if ledger is not None:
            ledger.time_ns.clear()
            ledger.calls.clear()
        began = time.process_time()
        if one_by_one:
            for _ in range(tasks):
                app().result()
        else:
            for future in [app() for _ in range(tasks)]:
                future.result()
        return 1e6 * (time.process_time() - began) / tasks


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
