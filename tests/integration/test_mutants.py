"""The machines' tests notice nine in ten of the faults put into the machines on purpose.

A sample by default; all of them where random tests are asked to be long.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.mutation import ROOMS, Campaign, campaign, notices, survivors

LONG = bool(os.environ.get("TREADLE_TEST_EXAMPLES") or os.environ.get("TREADLE_SOAK"))
SAMPLE = 4

EACH_ROOM = pytest.mark.parametrize("chosen", [campaign(room) for room in ROOMS], ids=ROOMS)


@EACH_ROOM
def test_every_fault_has_a_name_of_its_own(chosen: Campaign):
    names = [mutant.name for mutant in chosen.mutants]
    assert len(names) == len(set(names))
    assert "none" not in names


@EACH_ROOM
def test_a_fault_can_be_put_in(chosen: Campaign):
    for mutant in chosen.mutants:
        compile(mutant.source(), str(mutant.path), "exec")


@EACH_ROOM
def test_at_most_one_in_ten_is_known_not_to_be_noticed(chosen: Campaign):
    assert set(chosen.unnoticed) <= {mutant.name for mutant in chosen.mutants}
    assert len(chosen.unnoticed) <= len(chosen.mutants) // 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
@EACH_ROOM
def test_all_other_faults_are_noticed(chosen: Campaign, rng: random.Random):
    assert not notices(chosen.room, "none"), "without a fault the tests must pass"
    others = [mutant for mutant in chosen.mutants if mutant.name not in chosen.unnoticed]
    if not LONG:
        others = rng.sample(others, SAMPLE)
    assert survivors(chosen.room, others) == []
