"""What a task costs in the scheduler's machine: `scripts/bench cores`.

Processor microseconds to admit, run and release a task, and bytes held for a waiting one; beside
Dask's scheduler state, where `distributed` is installed. Only the machines are timed: no process,
no socket, no pickle. Prints tables and writes them into `bench/results/`.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from _cores import GRAPHS, Cost, Driver, Graph, bytes_per_waiting, cost_of
from _cores_treadle import Treadle
from _machine import facts

RESULTS = Path(__file__).parent / "results"


def engines() -> list[Callable[[], Driver]]:
    """What can be measured here."""
    found: list[Callable[[], Driver]] = [Treadle]
    if find_spec("distributed"):
        from _cores_dask import Dask

        found.append(Dask)
    return found


def middle(make: Callable[[], Driver], graph: Graph, repeats: int) -> Cost:
    """The pass with the median total."""
    costs = sorted((cost_of(make, graph) for _ in range(repeats)), key=lambda c: c.total)
    return costs[len(costs) // 2]


def report(options: argparse.Namespace) -> Iterator[str]:
    """The page, line by line, as the figures come in."""
    makers = engines()
    yield "# What a task costs in the scheduler's machine\n"
    for name, value in facts(shlex.join(["scripts/bench", "cores", *sys.argv[1:]])).items():
        yield f"- {name}: {value}"
    if len(makers) == 1:
        yield "- absent: distributed is not installed"
    yield f"\nProcessor microseconds for each task; {options.tasks:,} tasks on 16 workers of 4 slots,"
    yield f"every result wanted; the median of {options.repeat} passes.\n"
    yield "| graph | engine | admit | run | release | total |\n|---|---|---:|---:|---:|---:|"
    for name, make_graph in GRAPHS.items():
        graph = make_graph(options.tasks)
        for make in makers:
            cost = middle(make, graph, options.repeat)
            cells = (cost.admit, cost.run, cost.release, cost.total)
            yield f"| {name} | {make.name} | {' | '.join(f'{c:.1f}' for c in cells)} |"  # type: ignore[attr-defined]
    yield "\n| independent tasks | engine | total, us a task |\n|---:|---|---:|"
    for size in options.sizes:
        for make in makers:
            repeats = max(1, min(options.repeat, 200_000 // size))
            cost = middle(make, GRAPHS["independent"](size), repeats)
            yield f"| {size:,} | {make.name} | {cost.total:.1f} |"  # type: ignore[attr-defined]
    yield "\n| engine | bytes a waiting task, its key of 36 and spec of 100 bytes included |"
    yield "|---|---:|"
    for make in makers:
        yield f"| {make.name} | {bytes_per_waiting(make, options.tasks):.0f} |"  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/bench cores", description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of each graph (20000)")
    parser.add_argument("--repeat", type=int, default=5, help="passes of each (5)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where cores.md is written")
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000],
        help="numbers of independent tasks",
    )  # fmt: skip
    options = parser.parse_args()
    if options.repeat < 1 or options.tasks < 10:
        parser.error("--repeat must be at least 1, --tasks at least 10")
    lines = []
    for line in report(options):
        print(line, flush=True)
        lines.append(line)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "cores.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
