"""The machine's tests notice nine in ten of the faults put into it on purpose.

A sample by default; all of them where random tests are asked to be long.
"""

from __future__ import annotations

import os
import random

import pytest

from tests.unit.worker.mutants import MUTANTS, notices, survivors

LONG = bool(os.environ.get("TREADLE_TEST_EXAMPLES") or os.environ.get("TREADLE_SOAK"))
SAMPLE = 6


def test_every_fault_has_a_name_of_its_own():
    names = [mutant.name for mutant in MUTANTS]
    assert len(names) == len(set(names))
    assert "none" not in names


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_fault_can_be_put_in(mutant):
    compile(mutant.source(), str(mutant.path), "exec")


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_nine_in_ten_faults_are_noticed(rng: random.Random):
    assert not notices("none"), "without a fault the tests must pass"
    chosen = MUTANTS if LONG else rng.sample(MUTANTS, SAMPLE)
    left = survivors(chosen)
    print(f"{len(chosen) - len(left)} of {len(chosen)} faults noticed; not: {', '.join(left)}")
    assert len(left) <= len(chosen) // 10, left
