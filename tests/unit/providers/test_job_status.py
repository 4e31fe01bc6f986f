"""How a job is, and what it wrote."""

from __future__ import annotations

import pytest

from treadle.providers import JobState, JobStatus
from treadle.providers.provider_base import TERMINAL_STATES


def test_the_numbers_of_the_states_are_the_interface_s():
    assert [state.name for state in sorted(JobState)] == [
        "UNKNOWN", "PENDING", "RUNNING", "CANCELLED", "COMPLETED", "FAILED", "TIMEOUT", "HELD",
        "MISSING", "SCALED_IN",
    ]  # fmt: skip
    assert [int(state) for state in sorted(JobState)] == list(range(10))


@pytest.mark.parametrize("state", list(JobState))
def test_a_status_is_terminal_if_its_state_is(state):
    status = JobStatus(state)
    assert status.terminal == (state in TERMINAL_STATES) == state.is_terminal
    assert status.status_name == state.name


def test_short_output_is_shown_whole(tmp_path):
    (tmp_path / "err").write_bytes(b"caf\xc3\xa9 \xff\n")
    status = JobStatus(JobState.FAILED, exit_code=1, stderr_path=str(tmp_path / "err"))
    assert status.stderr == status.stderr_summary == "café \ufffd\n"
    assert status.stdout is None
    assert status.stdout_summary is None


def test_long_output_has_its_middle_cut_out(tmp_path):
    (tmp_path / "out").write_text("begin" + "x" * 100_000 + "end")
    status = JobStatus(JobState.COMPLETED, stdout_path=str(tmp_path / "out"))
    assert len(status.stdout) == 100_008
    summary = status.stdout_summary
    assert summary.startswith("begin")
    assert summary.endswith("end")
    assert "[...]" in summary
    assert len(summary) < 2100


def test_of_endless_output_the_end_is_read(tmp_path):
    with open(tmp_path / "out", "wb") as file:
        file.truncate(1 << 32)
        file.seek(0, 2)
        file.write(b"the end")
    status = JobStatus(JobState.RUNNING, stdout_path=str(tmp_path / "out"))
    assert len(status.stdout) == 4 << 20
    assert status.stdout.endswith("the end")


def test_output_that_is_gone_is_none(tmp_path):
    status = JobStatus(JobState.FAILED, stderr_path=str(tmp_path / "gone"))
    assert status.stderr is None
    assert status.stderr_summary is None


def test_statuses_compare_and_show_themselves():
    assert JobStatus(JobState.PENDING) == JobStatus(JobState(1))
    assert JobStatus(JobState.PENDING) != JobStatus(JobState.PENDING, "Priority")
    assert JobStatus(JobState.PENDING) != 1
    assert repr(JobStatus(JobState.FAILED, "out of memory", -9)) == (
        "JobStatus(FAILED, message='out of memory', exit_code=-9)"
    )
