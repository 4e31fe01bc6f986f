"""The table of transitions is whole, and the drawing on the page is of this table."""

from __future__ import annotations

import subprocess
import sys

from tests.architecture.house import ROOT
from treadle.dataflow._transitions import TABLE, Step
from treadle.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from treadle.scheduler import _transitions as scheduler
from treadle.worker import _job as worker

#: What monitoring alone shows of a task.
SHOWN_ONLY = {States.running, States.running_ended}


def test_every_state_has_a_row():
    assert set(TABLE) == set(States)


def test_every_step_stands_in_the_table():
    assert {step for row in TABLE.values() for step in row} == set(Step)


def test_no_step_leads_out_of_a_final_state_and_one_out_of_every_other():
    dead_ends = {state for state, row in TABLE.items() if not row}
    assert dead_ends == set(FINAL_STATES) | SHOWN_ONLY


def test_final_failures_are_final():
    assert set(FINAL_FAILURE_STATES) < set(FINAL_STATES)


def test_every_state_is_reached_from_the_first():
    reached = {States.unsched}
    frontier = [States.unsched]
    while frontier:
        fresh = set(TABLE[frontier.pop()].values()) - reached
        reached |= fresh
        frontier.extend(fresh)
    assert reached == set(States) - SHOWN_ONLY


def test_the_page_of_states_is_not_stale():
    done = subprocess.run(
        [sys.executable, "scripts/draw_states.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_the_page_of_states_explains_each_state():
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    _, _, prose = page.partition("## What each means")
    prose, _, _ = prose.partition("\n## ")
    assert [state.name for state in States if f"`{state.name}`" not in prose] == []


def test_the_schedulers_table_is_whole():
    assert set(scheduler.TABLE) == set(range(1, len(scheduler.STATES)))
    assert [old for old, row in scheduler.TABLE.items() if not row] == [scheduler.FORGOTTEN]
    reached = {scheduler.RELEASED}
    frontier = [scheduler.RELEASED]
    while frontier:
        fresh = set(scheduler.TABLE[frontier.pop()]) - reached
        reached |= fresh
        frontier.extend(fresh)
    assert reached == set(scheduler.TABLE)


def test_the_page_of_states_explains_each_state_of_the_scheduler():
    page = (ROOT / "docs" / "states.md").read_text(encoding="utf-8")
    _, _, prose = page.partition("## At the scheduler")
    assert [name for name in scheduler.STATES[1:] if f"`{name}`\n:" not in prose] == []


def test_the_workers_table_is_whole():
    assert len(worker.TABLE) == len(worker.Stage)
    assert [stage for stage in worker.Stage if not worker.TABLE[stage]] == [worker.Stage.gone]
    reached = {new for row in worker.TABLE for new in row}
    assert reached == set(worker.Stage)
