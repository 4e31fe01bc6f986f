"""Blocks that are processes of this machine: how they end, what they wrote, that nothing is left."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from tests.acceptance.executors_under_test import until
from treadle.errors import ScriptPathError, SubmitException
from treadle.providers import JobState, LocalProvider
from treadle.providers import local as local_module

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def provider(tmp_path):
    made = LocalProvider(max_blocks=10, cmd_timeout=1)
    made.script_dir = str(tmp_path / "scripts")
    yield made
    made.cancel(list(made._jobs))
    until(lambda: made._guard._process is None)


def state(provider, job):
    return provider.status([job])[0].state


def ended(provider, job):
    until(lambda: provider.status([job])[0].terminal)
    return provider.status([job])[0]


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def written_pid(path):
    until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text())


def test_a_job_that_ends_well_is_completed_and_its_output_is_there(provider):
    status = ended(provider, provider.submit("echo to out; echo to err >&2", 1, "a.b-0"))
    assert (status.state, status.exit_code) == (JobState.COMPLETED, 0)
    assert status.stdout == "to out\n"
    assert status.stderr_summary == "to err\n"


def test_a_job_that_fails_has_an_exit_code_and_last_words(provider):
    status = ended(provider, provider.submit("echo no such thing >&2; exit 41", 1))
    assert (status.state, status.exit_code) == (JobState.FAILED, 41)
    assert status.message == "its process exited with code 41"
    assert status.stderr == "no such thing\n"


def test_a_job_that_is_killed_says_by_what(provider):
    job = provider.submit("kill -SEGV $$", 1)
    status = ended(provider, job)
    assert (status.state, status.exit_code) == (JobState.FAILED, -signal.SIGSEGV)
    assert "SIGSEGV" in status.message


def test_the_statuses_come_in_the_order_of_the_question(provider):
    jobs = [provider.submit(f"exit {n}", 1) for n in range(4)]
    for job in jobs:
        ended(provider, job)
    codes = [status.exit_code for status in provider.status([*reversed(jobs)])]
    assert codes == [3, 2, 1, 0]


def test_a_job_that_it_does_not_know_is_missing(provider):
    assert state(provider, "0") is JobState.MISSING
    assert provider.cancel(["0"]) == [False]


def test_to_cancel_ends_the_whole_group(provider, tmp_path):
    job = provider.submit(f"sleep 1000 & echo $! > {tmp_path}/pid; sleep 1000", 1)
    child = written_pid(tmp_path / "pid")
    assert state(provider, job) is JobState.RUNNING
    assert provider.cancel([job]) == [True]
    assert state(provider, job) is JobState.CANCELLED
    assert not is_alive(child)
    assert not is_alive(int(job))
    assert provider.cancel([job]) == [True]


def test_who_does_not_listen_is_killed_when_the_time_is_over(provider, tmp_path):
    deaf = f"trap '' TERM; (echo $BASHPID > {tmp_path}/pid; sleep 1000; sleep 1000)"
    job = provider.submit(deaf, 1)
    child = written_pid(tmp_path / "pid")
    assert provider.cancel([job]) == [True]
    assert state(provider, job) is JobState.RUNNING
    assert ended(provider, job).exit_code == -signal.SIGKILL
    assert not is_alive(child)


def test_who_listens_may_finish(provider, tmp_path):
    text = (
        f"trap 'echo bye > {tmp_path}/said; exit 0' TERM; echo 1 > {tmp_path}/on; sleep 1000 & wait"
    )
    job = provider.submit(text, 1)
    written_pid(tmp_path / "on")
    provider.cancel([job])
    assert (tmp_path / "said").read_text() == "bye\n"
    assert state(provider, job) is JobState.CANCELLED


def test_many_jobs_are_cancelled_at_once(provider):
    jobs = [provider.submit("trap '' TERM; sleep 1000; sleep 1000", 1) for _ in range(5)]
    assert provider.cancel(jobs) == [True] * 5
    assert provider.cancel(jobs) == [True] * 5
    until(lambda: all(s.terminal for s in provider.status(jobs)))
    assert {s.state for s in provider.status(jobs)} == {JobState.CANCELLED}


def test_what_a_job_leaves_running_ends_with_it(provider, tmp_path):
    job = provider.submit(f"sleep 1000 & echo $! > {tmp_path}/pid", 1)
    child = written_pid(tmp_path / "pid")
    assert ended(provider, job).state is JobState.COMPLETED
    until(lambda: not is_alive(child))


def test_worker_init_comes_first_and_the_job_knows_its_name(tmp_path):
    provider = LocalProvider(worker_init="export GREETING=hello")
    provider.script_dir = str(tmp_path)
    job = provider.submit('echo "$GREETING from $JOBNAME"', 1, "it's a/job")
    assert ended(provider, job).stdout == "hello from it's a/job\n"


def test_each_node_has_its_copies(tmp_path):
    provider = LocalProvider(nodes_per_block=2)
    provider.script_dir = str(tmp_path)
    job = provider.submit("echo here", 3)
    assert ended(provider, job).stdout.count("here") == 6


def test_jobs_of_one_name_have_files_of_their_own(provider):
    jobs = [provider.submit(f"echo {n}", 1, "same") for n in range(3)]
    assert [ended(provider, job).stdout for job in jobs] == ["0\n", "1\n", "2\n"]


def test_without_a_place_for_scripts_it_makes_one_and_removes_it():
    provider = LocalProvider()
    ended(provider, provider.submit("true", 1))
    folder = Path(provider.script_dir)
    assert folder.is_dir()
    del provider
    gc.collect()
    assert not folder.exists()


def test_a_script_that_cannot_be_written_is_an_error_that_says_where(tmp_path):
    (tmp_path / "file").touch()
    provider = LocalProvider()
    provider.script_dir = str(tmp_path / "file" / "below")
    with pytest.raises(ScriptPathError, match="below"):
        provider.submit("true", 1)


def test_a_process_that_cannot_be_started_is_an_error(provider, monkeypatch):
    def fail(script):
        raise OSError("no more processes")

    monkeypatch.setattr(local_module, "_start", fail)
    with pytest.raises(SubmitException, match="no more processes"):
        provider.submit("true", 1, "a")
    assert provider._guard._process is None


def test_its_jobs_end_with_a_program_that_is_killed(tmp_path):
    program = f"""
        import os, signal, time
        from treadle.providers import LocalProvider
        provider = LocalProvider()
        provider.script_dir = {str(tmp_path)!r}
        provider.submit("echo $$ > {tmp_path}/pid; sleep 1000", 1)
        child = os.fork()  # it must not keep the guard from seeing the end
        if child == 0:
            time.sleep(1000)
        print(child, flush=True)
        time.sleep(1000)
    """
    program = textwrap.dedent(program)
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    forked = int(process.stdout.readline())
    job = written_pid(tmp_path / "pid")
    process.kill()
    process.wait()
    process.stdout.close()
    try:
        until(lambda: not is_alive(job))
    finally:
        os.kill(forked, signal.SIGKILL)


def test_ctrl_c_at_the_terminal_does_not_reach_it(provider, tmp_path):
    job = provider.submit(f"echo 1 > {tmp_path}/on; sleep 1000", 1)
    written_pid(tmp_path / "on")
    assert os.getpgid(int(job)) != os.getpgid(0)
    assert os.getsid(int(job)) != os.getsid(0)
