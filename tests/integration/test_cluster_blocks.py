"""Cluster executors on blocks of this machine: they come, work, die and go, and leave nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

import treadle
from tests.acceptance.executors_under_test import until
from treadle import Config, python_app
from treadle.errors import TooManyJobFailuresError
from treadle.executors import ClusterExecutor, HighThroughputExecutor
from treadle.providers import JobState, LocalProvider

pytestmark = pytest.mark.timeout(60)

EXECUTORS = {
    "cluster": lambda provider, **options: ClusterExecutor(
        "c", slots=2, provider=provider, **options
    ),
    "htex": lambda provider, **options: HighThroughputExecutor(
        "h", max_workers_per_node=2, cores_per_worker=0.01, provider=provider, **options
    ),
}


@pytest.fixture(params=EXECUTORS)
def make(request):
    return EXECUTORS[request.param]


@python_app
def double(x):
    return 2 * x


@python_app
def which_worker(path=None):
    """The process of the worker, and of the slot; after a file has come, if one is to come."""
    import os
    import time

    while path is not None and not os.path.exists(path):
        time.sleep(0.01)
    return os.environ.get("TREADLE_BLOCK", ""), os.getpid()


def config(run_dir, executor, **options):
    options = {"strategy_period": 0.1, "initialize_logging": False} | options
    return Config([executor], run_dir=run_dir, **options)


def processes_of(run_dir):
    """All processes that know the run's directory, or descend from one that does."""
    found = set()
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if str(run_dir) in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.add(process)
            try:
                found |= set(process.children(recursive=True))
            except psutil.Error:
                continue
    return {p for p in found if p.is_running() and p.status() != psutil.STATUS_ZOMBIE}


def is_alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def states(executor):
    return [job.state for job in executor.status().values()]


def test_tasks_run_on_a_block_and_nothing_is_left(make, run_dir):
    executor = make(LocalProvider())
    with treadle.load(config(run_dir, executor)):
        assert double(double(double(1))).result() == 8
        assert sum(f.result() for f in [double(i) for i in range(200)]) == 2 * 199 * 100
        assert states(executor) == [JobState.RUNNING]
        processes = processes_of(run_dir)
        assert processes
    assert states(executor) == [JobState.SCALED_IN]
    until(lambda: not any(p.is_running() and p.status() != "zombie" for p in processes))
    assert processes_of(run_dir) == set()


def test_results_outlive_their_blocks(make, run_dir):
    executor = make(LocalProvider())
    with treadle.load(config(run_dir, executor, max_idletime=0.2)):
        big = double(b"x" * 3_000_000)
        assert big.exception() is None
        until(lambda: states(executor) == [JobState.SCALED_IN])
        assert len(big.result()) == 6_000_000
        late = double(b"y" * 3_000_000)
        assert late.exception() is None
    assert len(late.result()) == 6_000_000


def test_blocks_come_with_tasks_and_go_when_idle(make, run_dir, tmp_path):
    go = tmp_path / "go"
    executor = make(LocalProvider(init_blocks=1, max_blocks=2))
    with treadle.load(config(run_dir, executor, max_idletime=0.3)):
        futures = [which_worker(str(go)) for _ in range(4)]
        until(lambda: states(executor) == [JobState.RUNNING] * 2)
        until(lambda: len(executor._blocks._workers) == 2)
        go.touch()
        assert len({future.result()[1] for future in futures}) >= 3
        until(lambda: states(executor) == [JobState.SCALED_IN] * 2)
        until(lambda: not executor._blocks._workers)  # while they end they may take one more
        assert double(2).result() == 4  # a third one comes
        assert len(executor.status()) == 3


@pytest.mark.parametrize("strategy", ["htex_auto_scale"])
def test_an_idle_block_goes_while_the_other_works(make, run_dir, tmp_path, strategy):
    go, stay = tmp_path / "go", tmp_path / "stay"
    executor = make(LocalProvider(init_blocks=2, max_blocks=2))
    options = {"strategy": strategy, "max_idletime": 0.3}
    with treadle.load(config(run_dir, executor, **options)):
        long = which_worker(str(stay))
        until(lambda: sorted(s.name for s in states(executor)) == ["RUNNING", "SCALED_IN"])
        go.touch()
        assert not long.done()
        assert double(4).result() == 8
        stay.touch()
        assert long.result()[1] > 0


def test_what_a_killed_block_ran_runs_elsewhere(make, run_dir, tmp_path):
    go = tmp_path / "go"
    executor = make(LocalProvider(init_blocks=2, min_blocks=2, max_blocks=2))
    with treadle.load(config(run_dir, executor)):
        until(lambda: len(executor.connected_blocks()) == 2, 20)
        futures = [which_worker(str(go)) for _ in range(4)]
        until(lambda: sum(n for _, n in executor._blocks._workers.values()) >= 4)
        os.killpg(int(executor.blocks_to_job_id["0"]), signal.SIGKILL)
        go.touch()
        assert len({future.result()[1] for future in futures}) >= 2
        assert {future.task_status() for future in futures} == {"exec_done"}
        # and the block is replaced
        until(lambda: executor.connected_blocks() == ["0", "1", "2"], 20)


def test_a_block_that_cannot_work_fails_its_tasks_with_its_last_words(make, run_dir):
    provider = LocalProvider(worker_init="echo the module is not there >&2; exit 3")
    executor = make(provider)
    with treadle.load(config(run_dir, executor)):
        error = double(1).exception()
        assert isinstance(error, TooManyJobFailuresError)
        assert "the module is not there" in str(error)
        assert double(1).exception() is not None


def test_a_worker_that_ends_well_without_a_word_is_missing(run_dir):
    executor = ClusterExecutor(provider=LocalProvider(worker_init="exit 0"))
    with treadle.load(config(run_dir, executor)):
        error = double(1).exception()
        assert isinstance(error, TooManyJobFailuresError)
        assert "none of its workers was ever heard of" in str(error)


def test_workers_are_what_the_options_say(run_dir):
    executor = HighThroughputExecutor(
        provider=LocalProvider(),
        cores_per_worker=0.1,
        max_workers_per_node=3,
        launch_cmd="env A=7 {command}",
    )
    with treadle.load(config(run_dir, executor)):
        assert double(1).result() == 2
        until(lambda: bool(executor._blocks._workers))
        (command,) = Path(run_dir).rglob("*block-0.sh")
        text = command.read_text()
        assert "env A=7" in text
        assert "--most-slots 3" in text
        settings = json.loads(next(Path(run_dir).rglob("worker.json")).read_text())
        assert "slots" not in settings
        reply = executor._blocks._ask(lambda ask: treadle.wire.Roll(ask))
        ((_, block, _, slots, _),) = reply.value[0]
        assert (block, slots) == ("0", 3)


def test_blocks_end_with_a_program_that_is_killed(run_dir, tmp_path):
    program = f"""
        import os, signal, treadle
        from treadle import Config, python_app
        from treadle.executors import ClusterExecutor
        from treadle.providers import LocalProvider

        @python_app
        def double(x):
            return 2 * x

        if __name__ == "__main__":
            executor = ClusterExecutor(slots=1, provider=LocalProvider())
            treadle.load(Config([executor], run_dir={str(run_dir)!r}))
            assert double(1).result() == 2
            os.kill(os.getpid(), signal.SIGKILL)
    """
    (tmp_path / "program.py").write_text(textwrap.dedent(program))
    done = subprocess.run([sys.executable, str(tmp_path / "program.py")], timeout=40)
    assert done.returncode == -signal.SIGKILL
    until(lambda: processes_of(run_dir) == set(), 20)


def test_who_leaves_in_haste_does_not_wait_for_what_runs(make, run_dir, tmp_path):
    executor = make(LocalProvider())
    forever = []

    def stumble():
        with treadle.load(config(run_dir, executor)):
            assert double(1).result() == 2
            forever.append(which_worker(str(tmp_path / "never")))
            until(lambda: sum(n for _, n in executor._blocks._workers.values()) == 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        stumble()
    assert forever[0].exception() is not None
    until(lambda: processes_of(run_dir) == set())


def test_the_first_task_calls_for_a_block(run_dir):
    executor = ClusterExecutor(slots=1, provider=LocalProvider(init_blocks=0))
    with treadle.load(config(run_dir, executor, strategy_period=3600)):
        assert double(1).result() == 2


def test_without_a_kernel_blocks_are_your_own_affair(run_dir):
    with ClusterExecutor(slots=1, provider=LocalProvider()) as executor:
        executor.run_dir = str(run_dir)
        executor.start()
        with pytest.raises(RuntimeError, match="nobody starts any"):
            executor.submit(abs, {}, -3)
        assert executor.scale_out() == ["0"]
        assert executor.submit(abs, {}, -3).result() == 3
    assert states(executor) == [JobState.SCALED_IN]
    assert processes_of(run_dir) == set()


class Far(LocalProvider):
    """As if its blocks were on other machines."""

    runs_here = False


def test_blocks_on_other_machines_prove_themselves_over_tls(run_dir):
    executor = ClusterExecutor(slots=1, provider=Far(), address="127.0.0.1")
    with treadle.load(config(run_dir, executor)):
        assert double(double(21)).result() == 84
        (credential,) = Path(run_dir).rglob("block-0.pem")
        assert credential.stat().st_mode & 0o077 == 0
        (script,) = Path(run_dir).rglob("*block-0.sh")
        assert f"--credential {credential}" in script.read_text()
    assert list(Path(run_dir).rglob("*.pem")) == []
    assert processes_of(run_dir) == set()
