"""The simulator itself: the same everywhere, replayable, and able to see what is wrong."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.architecture.house import ROOT
from tests.simulation import runner
from tests.simulation.dice import Dice
from tests.simulation.faults import Schedule, load, plan, save
from tests.simulation.runner import run, shrink
from tests.simulation.swarm import swarm
from treadle import scheduler, wire


def digest_line(hash_seed: str, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "--seeds", "6", "--first-seed", "20", *options],
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "digest" in done.stdout, done.stderr
    return done.stdout.splitlines()[0]


@pytest.mark.timeout(120)
def test_runs_are_the_same_under_every_hash_seed_and_number_of_processes():
    lines = [digest_line("1", "--jobs", "1"), digest_line("2", "--jobs", "2")]
    assert lines[0] == lines[1]


def test_dice_fall_the_same_way_on_every_machine():
    dice = Dice(7, "net")
    assert [dice.whole(1, 100) for _ in range(5)] == [Dice(7, "net").whole(1, 100), *_after(4)]
    assert f"{Dice(7, 'net').roll():.12f}" == "0.248478997634"


def _after(count: int) -> list[int]:
    dice = Dice(7, "net")
    dice.roll()
    return [dice.whole(1, 100) for _ in range(count)]


def test_streams_of_other_names_are_other_streams():
    assert Dice(7, "net").roll() != Dice(7, "disk").roll() != Dice(8, "disk").roll()


def test_a_saved_schedule_runs_the_same(tmp_path):
    world = swarm(5)
    schedule = Schedule(world, plan(world))
    save(tmp_path / "run.json", schedule)
    loaded = load(tmp_path / "run.json")
    assert loaded == schedule
    assert run(5, loaded).digest == run(5).digest


# --- a machine that breaks a promise is found out ------------------------------------------------


class Wrong(scheduler.Scheduler):
    """A scheduler whose words are changed on their way out."""

    def handle(self, event, *, source, now):
        sends = super().handle(event, source=source, now=now)
        return [scheduler.Send(one.to, self.spoil(one.to, one.messages)) for one in sends]

    def spoil(self, to, messages):
        raise NotImplementedError


class TellsTwice(Wrong):
    def spoil(self, to, messages):
        return [one for one in messages for _ in range(1 + isinstance(one, wire.Done))]


class TellsNobody(Wrong):
    def spoil(self, to, messages):
        return [one for one in messages if not isinstance(one, wire.Done | wire.Erred)]


class NeverFrees(Wrong):
    def spoil(self, to, messages):
        return [one for one in messages if not isinstance(one, wire.Free)]


class RunsTwice(Wrong):
    def spoil(self, to, messages):
        return [one for one in messages for _ in range(1 + isinstance(one, wire.Run))]


class ForgetsInputs(Wrong):
    def spoil(self, to, messages):
        return [
            wire.Run(one.id, one.attempt, one.run_spec) if isinstance(one, wire.Run) else one
            for one in messages
        ]


class NamesNoHolder(Wrong):
    def spoil(self, to, messages):
        return [
            wire.Done(one.id, one.nbytes, one.type, ()) if isinstance(one, wire.Done) else one
            for one in messages
        ]


@pytest.mark.parametrize(
    ("wrong", "checkers"),
    [
        (TellsTwice, {"resolution"}),
        (TellsNobody, {"liveness"}),
        (NeverFrees, {"leak"}),
        (RunsTwice, {"attempt"}),
        (ForgetsInputs, {"attempt", "worker"}),
        (NamesNoHolder, {"resolution"}),
    ],
)
def test_a_scheduler_that_breaks_a_promise_is_found_out(wrong, checkers, monkeypatch):
    monkeypatch.setattr("tests.simulation.world.scheduler.Scheduler", wrong)
    found = {run(seed).checker for seed in range(4)} - {""}
    assert found & checkers, found


def test_a_failing_schedule_is_cut_down_to_the_faults_that_matter(monkeypatch):
    """A checker that a single kind of fault trips: of all faults that kind is left."""
    world = swarm(3)
    faults = plan(world)[:12]
    marked = faults[7]

    def fake(seed, schedule=None, **_):
        failed = marked in schedule.faults
        return runner.Report(seed, checker="x" if failed else "", failure="x" if failed else "")

    monkeypatch.setattr(runner, "run", fake)
    report = fake(3, Schedule(world, faults))
    assert shrink(Schedule(world, faults), report) == [marked]
