"""Where the processor time of a task across processes goes: `scripts/bench processes`.

First with live processes: what the user's process, the node and the slots take for each task, by
the kernel's count, and how often they sleep. Then, with `--steps`, the node's own code in this
process, by step: see `_node`. The cost of a clock is measured and taken off.
"""

from __future__ import annotations

import argparse
import gc
import glob
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from _tasks import noop
from where import Ledger, cost_of_clock

SLOTS = 2
#: How many tasks there are of each pattern.
COUNTS = {"burst": 20_000, "map": 300_000, "one-by-one": 2_000, "chain": 3_000}
#: Steps of the node, and the functions they begin with.
STEPS = (
    ("link: read and decode a frame", "treadle.cluster._stream:StreamLink.data_received"),
    ("link: encode and write a frame", "treadle.cluster._stream:StreamLink.flush"),
    ("between the two shells", "treadle.cluster._turns:Turns._run"),
    ("scheduler's shell", "treadle.cluster._server:SchedulerServer.hear"),
    ("scheduler's shell", "treadle.cluster._server:SchedulerServer._send"),
    ("scheduler: step", "treadle.scheduler:Scheduler.handle"),
    ("scheduler: release", "treadle.scheduler._machine:relax"),
    ("scheduler: place", "treadle.scheduler._queues:assign"),
    ("worker: step", "treadle.worker:Worker.handle"),
    ("worker: feed", "treadle.worker._machine:start"),
    ("agent's shell", "treadle.cluster._agent:Agent.step"),
    ("agent's shell", "treadle.cluster._agent_uplink:Uplink.heard"),
    ("agent: packet to a slot", "treadle.cluster._agent_slots:Slots.feed"),
    ("agent: read and decode reports", "treadle.cluster._agent_slots:Slots._hear"),
    ("agent: reports to events, store", "treadle.cluster._agent_reports:Reports.events"),
    ("agent: discard", "treadle.cluster._agent:Agent._discard"),
)
#: Messages and events, by machine: these stand in tables.
TABLES = (
    ("scheduler: tasks come, are released", "treadle.scheduler._machine:_FROM_CLIENT"),
    ("scheduler: outcomes", "treadle.scheduler._machine:_FROM_WORKER"),
    ("worker: orders", "treadle.worker._machine:_OF_SCHEDULER"),
    ("worker: what slots say", "treadle.worker._machine:_OF_SHELL"),
)


def main(argv: list[str]) -> int:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(prog="scripts/bench processes", description=__doc__)
    parser.add_argument("--steps", action="store_true", help="the node's steps, without processes")
    parser.add_argument("--only", nargs="+", choices=list(COUNTS), default=list(COUNTS))
    parser.add_argument("--rounds", type=int, default=5, help="the cheapest of so many counts")
    parser.add_argument("--scale", type=float, default=1.0)
    options = parser.parse_args(argv)
    if options.steps:
        steps(options.scale, options.rounds)
    else:
        live(options.only, options.rounds, options.scale)
    return 0


# --- live processes ------------------------------------------------------------------------------


def live(patterns: list[str], rounds: int, scale: float) -> None:
    """Microseconds of each process for each task."""
    import psutil

    import treadle
    from treadle.executors.cluster import ClusterExecutor

    app = treadle.python_app(noop)
    with tempfile.TemporaryDirectory() as run_dir:
        config = treadle.Config(
            [ClusterExecutor(slots=SLOTS)], run_dir=run_dir, initialize_logging=False
        )
        with treadle.load(config):
            for future in [app() for _ in range(500)]:
                future.result()
            me = psutil.Process()
            children = me.children(recursive=True)
            groups = {
                "user": [me.pid],
                "node": [p.pid for p in children if "node" in p.cmdline()],
                "slots": [p.pid for p in children if "zygote" in p.cmdline()],
            }
            print("| pattern | user | node | slots | all | sleeps of each | us each |")
            print("|---|---:|---:|---:|---:|---:|---:|")
            for pattern in patterns:
                count = max(100, int(COUNTS[pattern] * scale))
                found = [_round(app, pattern, count, groups) for _ in range(rounds)]
                spent, sleeps, wall = min(found, key=lambda row: sum(row[0].values()))
                cells = [f"{spent[name]:.1f}" for name in groups]
                times = ", ".join(f"{sleeps[name]:.2f}" for name in groups)
                total = sum(spent.values())
                print(f"| {pattern} | {' | '.join(cells)} | {total:.1f} | {times} | {wall:.1f} |")


def _round(
    app: Any, pattern: str, count: int, groups: dict[str, list[int]]
) -> tuple[dict[str, float], dict[str, float], float]:
    gc.collect()
    before = {name: _spent(pids) for name, pids in groups.items()}
    began = time.perf_counter()
    _run(app, pattern, count)
    wall = time.perf_counter() - began
    time.sleep(0.05)  # what is left to do belongs to it
    after = {name: _spent(pids) for name, pids in groups.items()}
    spent = {name: (after[name][0] - before[name][0]) / count / 1e3 for name in groups}
    sleeps = {name: (after[name][1] - before[name][1]) / count for name in groups}
    return spent, sleeps, 1e6 * wall / count


def _run(app: Any, pattern: str, count: int) -> None:
    if pattern == "burst":
        for future in [app() for _ in range(count)]:
            future.result()
    elif pattern == "map":
        for _ in app.map(range(count), window=100_000):
            pass
    elif pattern == "one-by-one":
        for _ in range(count):
            app().result()
    else:
        future = app()
        for _ in range(count - 1):
            future = app(future)
        future.result()


def _spent(pids: list[int]) -> tuple[int, int]:
    """Nanoseconds on a core, and how often a thread went to sleep of itself."""
    nanoseconds = sleeps = 0
    for pid in pids:
        for path in glob.glob(f"/proc/{pid}/task/*"):
            try:
                with open(f"{path}/schedstat") as file:
                    nanoseconds += int(file.read().split()[0])
                with open(f"{path}/status") as file:
                    sleeps += sum(int(x.split()[1]) for x in file if x.startswith("voluntary"))
            except OSError:  # the thread has ended
                continue
    return nanoseconds, sleeps


# --- the node's steps ----------------------------------------------------------------------------


def steps(scale: float, rounds: int) -> None:
    """Microseconds of each step of the node for each task."""
    inside, outside = cost_of_clock()
    ledger = Ledger(outside)
    plain = _each_pattern(scale, rounds, None)
    for step, place in STEPS:
        ledger.wrap(step, place)
    for step, place in TABLES:
        _wrap_table(ledger, step, place)
    columns = _each_pattern(scale, rounds, ledger)
    names = list(dict.fromkeys(step for step, _ in (*STEPS, *TABLES)))
    print("| step | " + " | ".join(columns) + " |\n|---|" + "---:|" * len(columns))
    for name in names:
        cells = []
        for figures in columns.values():
            spent_ns, calls = figures.get(name, (0.0, 0.0))
            cells.append(f"{max(0.0, spent_ns - calls * inside) / 1e3:.2f}")
        print(f"| {name} | {' | '.join(cells)} |")
    totals = [f"{figures['all'][0] / 1e3:.1f}" for figures in plain.values()]
    print(f"| all of it, without clocks | {' | '.join(totals)} |")


def _wrap_table(ledger: Ledger, step: str, place: str) -> None:
    import importlib

    module, _, name = place.partition(":")
    table = getattr(importlib.import_module(module), name)
    for kind, handler in list(table.items()):
        table[kind] = ledger.clocked(step, handler)


def _each_pattern(
    scale: float, rounds: int, ledger: Ledger | None
) -> dict[str, dict[str, tuple[float, float]]]:
    """By pattern and step: nanoseconds and calls of a task; the least of so many rounds."""
    from _node import Node

    node = Node(SLOTS)
    patterns: dict[str, tuple[Callable[[Node, int, list[int]], None], int]] = {
        "burst": (_burst, int(5_000 * scale)),
        "one by one": (_one_by_one, int(2_000 * scale)),
        "chain": (_chain, int(2_000 * scale)),
    }
    columns: dict[str, dict[str, tuple[float, float]]] = {}
    for name, (pattern, count) in patterns.items():
        pattern(node, 500, [0])
        for _ in range(rounds):
            if ledger is not None:
                ledger.time_ns.clear()
                ledger.calls.clear()
            total = [0]
            pattern(node, count, total)
            figures = {"all": (total[0] / count, 1.0)}
            if ledger is not None:
                for step, spent_ns in ledger.time_ns.items():
                    figures[step] = (spent_ns / count, ledger.calls[step] / count)
            if name not in columns or figures["all"] < columns[name]["all"]:
                columns[name] = figures
    return columns


def _timed(total: list[int], call: Callable[..., None], *args: Any) -> None:
    began = time.thread_time_ns()
    call(*args)
    total[0] += time.thread_time_ns() - began


def _frame(*messages: Any) -> bytes:
    from treadle import wire

    (frame,) = wire.frames_of(messages)
    return bytes(frame)


def _burst(node: Any, count: int, total: list[int]) -> None:
    """Fifty tasks a frame, six outcomes a packet."""
    from treadle import wire

    specs = node.specs(count)
    done = 0
    while done < count:
        if specs:
            frame = _frame(wire.Submit(tuple(specs[:50])))
            del specs[:50]
            _timed(total, node.frame_heard, frame)
        for slot in node.agent.slots.ends.values():
            if node.work(slot, 6):
                _timed(total, node.hear_slot, slot)
        ended = node.outcomes()
        done += len(ended)
        if ended:
            _timed(total, node.frame_heard, _frame(wire.Release(tuple(ended))))


def _one_by_one(node: Any, count: int, total: list[int]) -> None:
    """Each task in a frame with the release of the one before."""
    from treadle import wire

    more: list[Any] = []
    for spec in node.specs(count):
        _timed(total, node.frame_heard, _frame(wire.Submit((spec,)), *more))
        for slot in node.agent.slots.ends.values():
            if node.work(slot, 1):
                _timed(total, node.hear_slot, slot)
        more = [wire.Release(tuple(node.outcomes()))]
    _timed(total, node.frame_heard, _frame(*more))


def _chain(node: Any, count: int, total: list[int]) -> None:
    """All submitted before the first ends."""
    from treadle import wire

    specs = node.specs(count, chain=True)
    for at in range(0, count, 50):
        _timed(total, node.frame_heard, _frame(wire.Submit(tuple(specs[at : at + 50]))))
    ended: list[int] = []
    while len(ended) < count:
        for slot in node.agent.slots.ends.values():
            if node.work(slot, 1):
                _timed(total, node.hear_slot, slot)
        ended += node.outcomes()
    for at in range(0, count, 50):
        _timed(total, node.frame_heard, _frame(wire.Release(tuple(ended[at : at + 50]))))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
