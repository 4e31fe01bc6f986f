"""The machines keep their promises in every simulated world.

TREADLE_SIM_SEEDS sets how many seeds are run. A failure prints its seed and how to see it again.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.properties import SELDOM, SOMETIMES
from tests.simulation.runner import Report, run

SEEDS = int(os.environ.get("TREADLE_SIM_SEEDS", "200"))
CHUNK = 20
#: So many seeds reach what is seldom as well.
NIGHTLY = 5_000

_reports: dict[int, Report] = {}


def report_of(seed: int) -> Report:
    if seed not in _reports:
        _reports[seed] = run(seed)
    return _reports[seed]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_a_simulated_world_keeps_every_promise(first: int):
    for seed in range(first, min(first + CHUNK, SEEDS)):
        report = report_of(seed)
        assert not report.failure, report.failure


@pytest.mark.timeout(300)
@pytest.mark.skipif(SEEDS < 200, reason="too few seeds to reach everything")
def test_the_seeds_reach_what_must_happen_sometimes():
    reached = {name for seed in range(SEEDS) for name in report_of(seed).hits}
    wanted = SOMETIMES + (SELDOM if SEEDS >= NIGHTLY else ())
    assert [name for name in wanted if name not in reached] == []


def test_no_property_is_listed_twice():
    assert len({*SOMETIMES, *SELDOM}) == len(SOMETIMES) + len(SELDOM) >= 80
