"""`kill -9` of any process at a random instant: nothing hangs, nothing is lost, nothing stays.

`TREADLE_KILLS=500 scripts/test tests/integration/test_cluster_kills.py` plays five hundred rounds.
"""

from __future__ import annotations

import os

import pytest

from tests.chaos.rounds import play

ROUNDS = int(os.environ.get("TREADLE_KILLS", "20"))
FIRST = int(os.environ.get("TREADLE_KILLS_FIRST", "0"))


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", range(FIRST, FIRST + ROUNDS))
def test_a_kill_at_a_random_instant_hangs_loses_and_leaves_nothing(seed, tmp_path):
    outcome = play(seed, tmp_path)
    assert outcome.complaint == "", f"{outcome.victim} of a {outcome.kind}"
