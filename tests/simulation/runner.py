"""One run from a seed, or many on all cores; what came of it; and how to see a failure again."""

from __future__ import annotations

import multiprocessing
import time
import traceback
from collections.abc import Iterable, Iterator
from hashlib import blake2b

from msgspec import Struct, field

from tests.simulation.ending import finish
from tests.simulation.faults import Fault, Schedule, plan
from tests.simulation.swarm import swarm
from tests.simulation.world import SimulationFailed, World


class Report(Struct):
    """What came of one run."""

    seed: int
    digest: str = ""
    events: int = 0
    simulated_s: float = 0.0
    tasks: int = 0
    #: Faults that struck, by kind; properties that were reached, by name.
    struck: dict[str, int] = field(default_factory=dict)
    hits: dict[str, int] = field(default_factory=dict)
    #: Why messages were refused, as the scheduler counted.
    refused: dict[str, int] = field(default_factory=dict)
    #: Processor time it took; no part of the digest.
    cpu_s: float = 0.0
    #: The checker that failed ('exception': a machine raised), and its words. Empty: all is well.
    checker: str = ""
    failure: str = ""


def run(seed: int, schedule: Schedule | None = None, *, check_every: int = 20) -> Report:
    """Run the world of this seed, or a saved one, to its end."""
    if schedule is None:
        world_of = swarm(seed)
        schedule = Schedule(world_of, plan(world_of))
    report = Report(seed)
    began = time.process_time()
    world = None
    try:
        world = World(schedule.swarm, schedule.faults, check_every=check_every)
        world.run_until(schedule.swarm.chaos_s)
        world.calm()
        finish(world)
    except SimulationFailed as error:
        report.checker, report.failure = error.checker, str(error)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        report.checker = f"exception in {where.name}"
        report.failure = traceback.format_exc()
    if world is not None:
        report.digest, report.events, report.simulated_s = world.digest(), world.events, world.now
        report.tasks = len(world.model.tasks)
        report.struck, report.hits = world.struck, world.hits
        for kind, count in world.struck.items():
            report.hits[f"fault: {kind}"] = count
        report.refused = dict(world.hub.machine.books.refused)
        for node in world.nodes.values():
            if node.alive:
                world.keep_refused(node)
        for reason, count in world.refused.items():
            report.refused[f"{reason}, by a worker"] = count
        for reason, count in report.refused.items():
            report.hits[f"refused: {reason}"] = count
        if report.failure:
            report.failure += _context(world, schedule)
    report.cpu_s = time.process_time() - began
    return report


def _context(world: World, schedule: Schedule) -> str:
    lines = [f"\nat {world.now:.6f} s, event {world.events}, in {world.swarm}"]
    lines.append(f"of {len(schedule.faults)} faults struck: {world.struck}")
    lines.append("the last events:")
    for when, who, source, event in list(world.recent)[-25:]:
        lines.append(f"  {when:.6f} {who} < {source}: {_short(event)}")
    lines.append(
        f"again: scripts/simulate --first-seed {world.swarm.seed} --seeds 1 --check-every 1"
    )
    return "\n".join(lines)


def _short(event: object) -> str:
    text = repr(event)
    return text if len(text) < 400 else text[:400] + "..."


def run_all(seeds: Iterable[int], *, jobs: int = 1, check_every: int = 20) -> Iterator[Report]:
    """Reports of these seeds, in their order, whatever the number of processes."""
    todo = [(seed, check_every) for seed in seeds]
    if jobs == 1:
        yield from map(_one, todo)
        return
    context = multiprocessing.get_context("forkserver")
    with context.Pool(jobs) as pool:
        yield from pool.imap(_one, todo, chunksize=4)


def _one(job: tuple[int, int]) -> Report:
    seed, check_every = job
    return run(seed, check_every=check_every)


class Summary:
    """Reports, added up."""

    def __init__(self) -> None:
        self.runs = 0
        self.events = 0
        self.tasks = 0
        self.simulated_s = 0.0
        self.cpu_s = 0.0
        self.struck: dict[str, int] = {}
        self.hits: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.failures: list[Report] = []
        self._digest = blake2b(digest_size=16)

    def add(self, report: Report) -> None:
        self.runs += 1
        self.events += report.events
        self.tasks += report.tasks
        self.simulated_s += report.simulated_s
        self.cpu_s += report.cpu_s
        self._digest.update(report.digest.encode())
        for total, part in (
            (self.struck, report.struck),
            (self.hits, report.hits),
            (self.refused, report.refused),
        ):
            for name, count in part.items():
                total[name] = total.get(name, 0) + count
        if report.failure:
            self.failures.append(report)

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()


def shrink(schedule: Schedule, report: Report, *, most_runs: int = 300) -> list[Fault]:
    """The fewest of these faults that still fail the same way, as far as so many runs tell."""
    faults, runs = list(schedule.faults), 0
    step = max(1, len(faults) // 2)
    while True:
        place, before = 0, len(faults)
        while place < len(faults) and runs < most_runs:
            fewer = faults[:place] + faults[place + step :]
            runs += 1
            if run(report.seed, Schedule(schedule.swarm, fewer)).checker == report.checker:
                faults = fewer
            else:
                place += step
        if runs >= most_runs or (step == 1 and len(faults) == before):
            return faults
        if len(faults) == before or step > len(faults):
            step = max(1, min(step, len(faults)) // 2)
