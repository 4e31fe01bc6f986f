"""What a task costs in the scheduler's machine: `python -m bench.cores [--tasks N] [--million]`.

CPU microseconds for each task to admit, run and release, and bytes held for each waiting task;
beside Dask's scheduler state, where `distributed` is installed. Only the machines are timed: no
process, no socket, no pickle.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median

from bench._cores import GRAPHS, Cost, Driver, Graph, bytes_per_waiting, cost_of
from bench._cores_treadle import Treadle


def engines() -> list[Callable[[], Driver]]:
    found: list[Callable[[], Driver]] = [Treadle]
    if find_spec("distributed"):
        from bench._cores_dask import Dask

        found.append(Dask)
    return found


def best_of(make: Callable[[], Driver], graph: Graph, repeats: int) -> Cost:
    """The pass with the median total."""
    costs = sorted((cost_of(make, graph) for _ in range(repeats)), key=lambda c: c.total)
    return costs[len(costs) // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", type=int, default=20_000, help="tasks of each graph")
    parser.add_argument("--repeats", type=int, default=5, help="passes; their median is shown")
    parser.add_argument("--million", action="store_true", help="flatness up to a million tasks")
    options = parser.parse_args()

    makers = engines()
    print(f"CPU us a task, {options.tasks:,} tasks, 16 workers of 4 slots, every result wanted\n")
    print("| graph | engine | admit | run | release | total |\n|---|---|---|---|---|---|")
    for name, make_graph in GRAPHS.items():
        graph = make_graph(options.tasks)
        for make in makers:
            cost = best_of(make, graph, options.repeats)
            print(
                f"| {name} | {make.name} | {cost.admit:.1f} | {cost.run:.1f} "  # type: ignore[attr-defined]
                f"| {cost.release:.1f} | {cost.total:.1f} |",
                flush=True,
            )

    print("\n| independent tasks | engine | total us a task |\n|---|---|---|")
    sizes = [1_000, 10_000, 100_000, *([1_000_000] if options.million else [])]
    for size in sizes:
        for make in makers:
            repeats = max(1, min(options.repeats, 200_000 // size))
            totals = [cost_of(make, GRAPHS["independent"](size)).total for _ in range(repeats)]
            print(f"| {size:,} | {make.name} | {median(totals):.1f} |", flush=True)  # type: ignore[attr-defined]

    print(
        "\n| engine | bytes a waiting task, key of 36 and spec of 100 bytes included |\n|---|---|"
    )
    for make in makers:
        print(f"| {make.name} | {bytes_per_waiting(make, 50_000):.0f} |", flush=True)  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
