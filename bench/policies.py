"""What the scheduler's policies gain and cost: `scripts/bench policies`.

Runs known workloads through the real scheduler and simulated workers, once with each policy:
tasks placed where their inputs are or at random, and held back until a worker has room or sent as
soon as they are ready. Prints a table, and writes it, all figures and a plot into
`bench/results/`. The default takes some minutes; `--workers 10000 --tasks 1000000` some hours.
"""

from __future__ import annotations

import argparse
import gc
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from _machine import ROOT, facts
from _policies_report import as_markdown

sys.path.insert(0, str(ROOT))  # the simulator stands with the tests

from tests.simulation.graphs import WORKLOADS
from tests.simulation.scale import run_graph

from treadle.scheduler import Policy

RESULTS = Path(__file__).parent / "results"

#: By name what differs from the default.
POLICIES: dict[str, dict[str, Any]] = {
    "locality, held back": {},
    "locality, all at once": {"hold_back": False},
    "random, held back": {"locality": False},
    "random, all at once": {"locality": False, "hold_back": False},
}


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="scripts/bench policies", description=__doc__)
    parser.add_argument("--workers", type=int, default=1_000)
    parser.add_argument("--tasks", type=int, default=100_000, help="of each workload, about")
    parser.add_argument("--slots", type=int, default=1, help="of each worker (1)")
    parser.add_argument("--bandwidth", type=float, default=1e9, help="bytes per second (1e9)")
    parser.add_argument("--latency", type=float, default=0.0005, help="seconds (0.0005)")
    parser.add_argument("--seed", type=int, default=0, help="of the workloads and the draws (0)")
    parser.add_argument("--quick", action="store_true", help="20 workers, 400 tasks")
    parser.add_argument("--only", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=list(POLICIES))
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    options = parser.parse_args(argv)
    if options.quick:
        options.workers, options.tasks = 20, 400
    if min(options.workers, options.tasks, options.slots) < 1:
        parser.error("--workers, --tasks and --slots must be at least 1")
    return options


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Run each workload with each policy; give a row of figures for each run."""
    rows = []
    for workload in options.only:
        graph = WORKLOADS[workload](options.tasks, options.seed)
        known = {
            "workload": graph.title,
            "tasks": len(graph),
            "bound_s": graph.least_makespan_s(options.workers * options.slots),
            "least_memory_bytes": graph.least_memory_bytes(),
            "input_bytes": graph.input_bytes(),
        }
        for name in options.policies:
            policy = Policy(
                bandwidth=options.bandwidth,
                latency_s=options.latency,
                seed=options.seed,
                **POLICIES[name],
            )
            gc.collect()
            started = time.perf_counter()
            figures = run_graph(
                graph,
                workers=options.workers,
                slots=options.slots,
                bandwidth=options.bandwidth,
                latency=options.latency,
                policy=policy,
            )
            took_s = time.perf_counter() - started
            print(f"{graph.title}, {name}: {took_s:.1f} s", file=sys.stderr, flush=True)
            rows.append(
                known
                | {
                    "policy": name,
                    "makespan_s": figures.makespan_s,
                    "peak_bytes": figures.peak_bytes,
                    "moved_bytes": figures.moved_bytes,
                    "cpu_us": figures.scheduler_cpu_s / len(graph) * 1e6,
                    "took_s": took_s,
                }
            )
    return rows


def main(argv: list[str]) -> int:
    """Measure, print, write, draw."""
    options = parse(argv)
    rows = measure(options)
    setting = facts(shlex.join(["scripts/bench", "policies", *argv])) | {
        "workers": f"{options.workers:,} with {options.slots} slot(s) each",
        "network": f"{options.bandwidth / 1e9:g} GB/s per worker, {options.latency * 1e3:g} ms",
    }
    table = as_markdown(rows, setting)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "policies.md").write_text(table, encoding="utf-8")
    report = json.dumps({"machine": setting, "rows": rows}, indent=1) + "\n"
    (options.out / "policies.json").write_text(report, encoding="utf-8")
    print(table, end="")
    try:
        from _policies_plot import draw
    except ImportError as error:
        print(f"no plot: {error.name} is not installed", file=sys.stderr)
    else:
        draw(rows, options.out / "policies.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
