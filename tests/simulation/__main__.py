"""Run seeds, print what they did, and how to see each failure again."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from tests.simulation.faults import Schedule, load, plan, save
from tests.simulation.properties import SELDOM, SOMETIMES
from tests.simulation.runner import Report, Summary, run, run_all, shrink
from tests.simulation.swarm import swarm


def main() -> int:
    options = _options()
    if options.replay or options.save or options.shrink:
        return _one(options)
    began = time.perf_counter()
    summary = Summary()
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for report in run_all(seeds, jobs=options.jobs, check_every=options.check_every):
        summary.add(report)
        if report.failure:
            _print_failure(report, len(summary.failures) <= options.verbose)
    _print(summary, time.perf_counter() - began)
    return 1 if summary.failures else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    add = parser.add_argument
    add("--seeds", type=int, default=200, help="how many seeds")
    add("--first-seed", type=int, default=0)
    add("--seed", type=int, help="the one seed of --save, --replay and --shrink")
    add("--jobs", type=int, default=os.cpu_count() or 1)
    add("--check-every", type=int, default=20, help="events between checks of the machines")
    add("--verbose", type=int, default=3, help="failures that are told in full")
    add("--save", type=Path, metavar="FILE", help="write the seed's faults, and run it")
    add("--replay", type=Path, metavar="FILE", help="run the faults of a file")
    add("--shrink", action="store_true", help="cut the faults down to those that matter")
    return parser.parse_args()


def _one(options: argparse.Namespace) -> int:
    seed = options.first_seed if options.seed is None else options.seed
    if options.replay:
        schedule = load(options.replay)
    else:
        world = swarm(seed)
        schedule = Schedule(world, plan(world))
    report = run(schedule.swarm.seed, schedule, check_every=options.check_every)
    if options.shrink and report.failure:
        faults = shrink(schedule, report)
        print(f"{len(faults)} of {len(schedule.faults)} faults are left:", *faults, sep="\n  ")
        schedule = Schedule(schedule.swarm, faults)
        report = run(schedule.swarm.seed, schedule, check_every=options.check_every)
    if options.save:
        save(options.save, schedule)
        print(f"wrote {options.save}: --replay {options.save} runs it")
    if report.failure:
        _print_failure(report, True)
        return 1
    print(f"seed {report.seed}: {report.events} events, digest {report.digest}")
    return 0


def _print_failure(report: Report, full: bool) -> None:
    lines = report.failure.splitlines()
    text = report.failure if full else (lines[0][:200] if lines else "")
    print(f"FAILED seed {report.seed} ({report.checker})\n{text}", file=sys.stderr)
    print(
        f"  scripts/simulate --seed {report.seed} --shrink --save failed-{report.seed}.json",
        file=sys.stderr,
    )


def _print(summary: Summary, wall_s: float) -> None:
    hours = summary.simulated_s / 3600
    print(f"{summary.runs} seeds, {len(summary.failures)} failed, digest {summary.digest}")
    print(
        f"{hours:.1f} cluster-hours, {summary.tasks} tasks, {summary.events} events "
        f"in {summary.cpu_s:.1f} CPU s, {wall_s:.1f} s"
    )
    print("faults:", ", ".join(f"{name} {n}" for name, n in sorted(summary.struck.items())))
    listed = SOMETIMES + SELDOM
    for name in sorted(summary.hits):
        print(f"  {summary.hits[name]:8} {name}{'' if name in listed else '  (not listed)'}")
    never = [name for name in listed if name not in summary.hits]
    print(f"never reached ({len(never)} of {len(listed)}):", *never, sep="\n  ")


if __name__ == "__main__":
    sys.exit(main())
