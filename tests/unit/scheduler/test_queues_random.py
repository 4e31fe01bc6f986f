"""Whatever is asked for and whoever comes and goes: the queues stay true, and all runs in the end."""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.unit.scheduler.harness import Cluster, task
from tests.unit.scheduler.placing import paused
from treadle import wire
from treadle.scheduler import Policy, Tick

HOSTS = ("attic", "cellar")
NAMES = ("f", "g", "h")

POLICIES = [
    Policy(),
    Policy(locality=False, seed=3),
    Policy(hold_back=False),
    Policy(prefetch_s=0.0),
    Policy(deaths=100, latency_s=0.1, bandwidth=1e6),
]


class Life:
    """A cluster to which anything may happen."""

    def __init__(self, dice: random.Random, policy: Policy) -> None:
        self.dice = dice
        self.cluster = Cluster(policy=policy)
        self.tasks: list[wire.TaskId] = []
        self.n_workers = 0
        self.n_bundles = 0

    def options(self) -> dict[str, Any]:
        dice = self.dice
        options: dict[str, Any] = {}
        if dice.random() < 0.5:
            return options
        if dice.random() < 0.3:
            options["slots"] = dice.choice((1, 2, 4))
        if dice.random() < 0.3:
            options["resources"] = {dice.choice("ab"): dice.choice((0.1, 0.5, 1, 3))}
        if dice.random() < 0.2:
            options["hosts"] = (dice.choice(HOSTS),)
        if dice.random() < 0.1:
            options["workers"] = (f"w{dice.randrange(self.n_workers + 2)}",)
        if dice.random() < 0.2:
            options["loose"] = True
        if dice.random() < 0.1:
            options["walltime_s"] = dice.choice((1.0, 30.0))
        if dice.random() < 0.2:
            options["priority"] = dice.choice((-1.0, 1.0))
        return options

    def submit(self) -> None:
        dice = self.dice
        new = []
        known = [id for id in self.tasks[-20:] if id in self.cluster.books.tasks]
        for _ in range(dice.choice((1, 3, 12))):
            deps = dice.sample(known, min(len(known), dice.choice((0, 0, 1, 2, 4))))
            more = self.options()
            name = dice.choice(NAMES)
            if dice.random() < 0.08:
                self.n_bundles += 1
                id: wire.TaskId = wire.task_id(1, 1000 * self.n_bundles)
                more["rows"] = (b"",) * dice.choice((2, 7, 40))
            else:
                id = f"t{len(self.tasks)}"
                known.append(id)
            if dice.random() < 0.05 and "rows" not in more:
                more["actor"] = True
            new.append(task(id, *deps, name=name, **more))
            self.tasks.append(id)
        self.cluster.submit("ann", *new)

    def join(self) -> None:
        dice = self.dice
        name = f"w{self.n_workers}"
        self.n_workers += 1
        self.cluster.join(
            name,
            dice.choice((0, 1, 1, 2, 4)),
            host=dice.choice(HOSTS),
            resources={kind: dice.choice((0.3, 1, 3)) for kind in "ab" if dice.random() < 0.6},
            ends_in_s=dice.choice((None, None, 5.0, 60.0)),
        )

    def end_one(self) -> None:
        dice = self.dice
        worker = dice.choice([*self.cluster.runs, ""])
        runs = list(self.cluster.runs.get(worker, {}).values())
        for run in dice.sample(runs, min(len(runs), dice.choice((1, 1, 5)))):
            if (run.id, run.attempt) not in self.cluster.runs[worker]:
                continue
            rows = max(1, len(run.rows))
            duration_s = dice.choice((1e-5, 1e-4, 2e-3, 0.5, 10.0)) * rows
            size = dice.choice((10, 10**4, 10**7, 10**9))
            end = dice.random()
            message: Any = wire.Finished(run.id, run.attempt, size, "x", duration_s, rows=rows)
            if end < 0.05:
                message = wire.Died(run.id, run.attempt, -9, rows=rows)
            elif end < 0.1:
                message = wire.Returned(run.id, run.attempt, "slot", rows=rows)
            self.cluster._answer(worker, run, message)

    def trouble(self) -> None:
        dice, cluster = self.dice, self.cluster
        if not cluster.books.workers:
            return
        worker = dice.choice(list(cluster.books.workers))
        what = dice.random()
        if what < 0.2:
            cluster.kill(worker, accuses=dice.random() < 0.3)
        elif what < 0.6:
            paused(cluster, worker, now=dice.random() < 0.5)
        elif what < 0.7:
            cluster.worker(worker, wire.Leaving("preempted", 60.0))
        elif what < 0.8:
            cluster.lose_link(f"worker/{worker}")

    def release(self) -> None:
        wanted = [ts.id for ts in self.cluster.books.clients["client/ann"].wants_what]
        if wanted:
            self.cluster.release("ann", *self.dice.sample(wanted, min(3, len(wanted))))

    def live(self, steps: int) -> None:
        happens = [self.submit, self.join, self.end_one, self.trouble, self.release, self.time]
        for step in range(steps):
            weights = [3, 2 if step < 20 else 0.5, 12, 1, 1, 2]
            self.dice.choices(happens, weights)[0]()

    def time(self) -> None:
        self.cluster.step(Tick(), "shell", self.dice.choice((0.0, 0.001, 0.1, 3.0)))

    def finish(self) -> None:
        """Workers come that can do anything: nothing that is wanted is left undone."""
        cluster = self.cluster
        for worker in list(cluster.books.workers):
            cluster.kill(worker, accuses=False)
        for host in HOSTS:
            cluster.join(f"last-{host}", 8, host=host, resources={"a": 20, "b": 20})
        for number in range(self.n_workers + 2):
            cluster.join(f"w{number}", 4, host="attic", resources={"a": 20, "b": 20})
        cluster.drive()
        queued = [ts for ts in cluster.books.tasks.values() if ts.state in ("waiting", "no-worker")]
        assert not queued
        assert not cluster.books.queues.reserved
        assert not cluster.books.queues.held
        assert not cluster.books.queues.tired


@pytest.mark.parametrize("policy", POLICIES, ids=["usual", "drawn", "unheld", "late", "far"])
def test_all_that_is_asked_for_runs_in_the_end(policy: Policy, seed: int):
    for number in range(3):
        life = Life(random.Random(seed + number), policy)
        life.live(60)
        life.finish()
