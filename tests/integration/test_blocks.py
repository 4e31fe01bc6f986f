"""An executor of blocks, driven by the kernel: blocks are real processes."""

from __future__ import annotations

import os
import signal
import threading
import time

import psutil
import pytest

import treadle
from tests.acceptance.executors_under_test import until
from tests.integration.block_executor import Toy
from treadle import Config, python_app
from treadle.errors import BadStateException, TooManyJobFailuresError
from treadle.providers import ExecutionProvider, JobState, JobStatus, LocalProvider

pytestmark = pytest.mark.timeout(60)


@python_app
def which_process(seconds=0.0):
    import os
    import time

    time.sleep(seconds)
    return os.getpid()


@python_app
def is_there(path, seconds):
    """Wait for a file, then for a while."""
    import os
    import time

    while not os.path.exists(path):
        time.sleep(0.01)
    time.sleep(seconds)
    return os.getpid()


def config(run_dir, executor, **options):
    options = {"strategy_period": 0.05, "initialize_logging": False} | options
    return Config([executor], run_dir=run_dir, **options)


def alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def states(executor):
    return [job.state for job in executor.status().values()]


def test_tasks_run_in_the_first_block_and_nothing_is_left(run_dir):
    toy = Toy(provider=LocalProvider())
    with treadle.load(config(run_dir, toy)):
        pids = {which_process().result() for _ in range(5)}
    assert os.getpid() not in pids
    assert len(pids) == 1
    assert not alive(pids.pop())
    assert states(toy) == [JobState.SCALED_IN]


def test_cleanup_waits_for_what_was_submitted_and_starts_blocks_for_it(run_dir):
    toy = Toy(provider=LocalProvider(init_blocks=0, max_blocks=1))
    kernel = treadle.load(config(run_dir, toy))
    futures = [which_process(0.2) for _ in range(3)]
    until(lambda: toy.outstanding == 3)  # what has not been handed over by then is given up
    kernel.cleanup()
    assert len({future.result() for future in futures}) == 1


def test_blocks_come_with_the_tasks_and_go_when_they_are_idle(run_dir):
    toy = Toy(provider=LocalProvider(init_blocks=0, min_blocks=0, max_blocks=3))
    with treadle.load(config(run_dir, toy, max_idletime=0.2)):
        assert toy.status() == {}
        futures = [which_process(0.3) for _ in range(8)]
        pids = {future.result() for future in futures}
        assert len(pids) == 3
        until(lambda: states(toy) == [JobState.SCALED_IN] * 3)
        until(lambda: not any(map(alive, pids)))
        assert which_process().result() not in pids


def test_what_a_killed_block_ran_runs_elsewhere(run_dir, tmp_path):
    toy = Toy(provider=LocalProvider(init_blocks=2, max_blocks=2))
    with treadle.load(config(run_dir, toy)):
        until(lambda: toy.seen == {"0", "1"})
        futures = [is_there(str(tmp_path / "go"), 0.0) for _ in range(2)]
        until(lambda: toy._queue.empty())
        victim = next(iter(toy.blocks_to_job_id.values()))
        os.killpg(int(victim), signal.SIGKILL)
        (tmp_path / "go").touch()
        pids = [future.result() for future in futures]
        assert int(victim) not in pids


def test_least_blocks_are_replaced_when_they_die(run_dir):
    toy = Toy(provider=LocalProvider(init_blocks=1, min_blocks=1, max_blocks=1))
    with treadle.load(config(run_dir, toy)):
        until(lambda: toy.seen == {"0"})
        os.killpg(int(toy.blocks_to_job_id["0"]), signal.SIGKILL)
        until(lambda: toy.seen == {"0", "1"})


def test_an_executor_whose_blocks_die_at_once_is_given_up_with_their_last_words(run_dir):
    toy = Toy(provider=LocalProvider(init_blocks=1, max_blocks=1))
    toy.command = "echo no such module: numpie >&2; exit 7"
    with treadle.load(config(run_dir, toy)):
        error = which_process().exception()
        assert isinstance(error, TooManyJobFailuresError)
        assert isinstance(error, BadStateException)
        assert "no such module: numpie" in str(error)
        assert "exit code 7" in str(error)
        assert states(toy) == [JobState.FAILED] * 3
        assert which_process().exception() is error
        assert toy.bad_state_is_set


def test_with_no_handler_blocks_are_tried_again_and_again(run_dir):
    toy = Toy(provider=LocalProvider(), block_error_handler=False)
    toy.command = "exit 1"
    kernel = treadle.load(config(run_dir, toy))
    future = which_process()
    until(lambda: len(toy.status()) >= 3)
    assert not toy.bad_state_is_set
    assert not future.done()
    toy.set_bad_state_and_fail_all(RuntimeError("enough"))
    assert repr(future.exception()) == "RuntimeError('enough')"
    kernel.cleanup()


def test_a_handler_of_ones_own_judges(run_dir):
    told = []

    def judge(executor, status):
        told.append(status)
        if any(job.state is JobState.FAILED for job in status.values()):
            executor.set_bad_state_and_fail_all(ValueError("one is enough"))

    toy = Toy(provider=LocalProvider(), block_error_handler=judge)
    toy.command = "exit 1"
    with treadle.load(config(run_dir, toy)):
        assert repr(which_process().exception()) == "ValueError('one is enough')"
    assert list(told[-1]) == ["0"]


def test_the_bad_state_of_an_executor_ends_its_blocks(run_dir):
    toy = Toy(provider=LocalProvider())
    with treadle.load(config(run_dir, toy)):
        pid = which_process().result()
        toy.set_bad_state_and_fail_all(RuntimeError("the rack has no power"))
        until(lambda: not alive(pid))
        assert "no power" in str(which_process().exception())


def test_strategy_none_starts_the_first_blocks_and_no_more(run_dir):
    toy = Toy(provider=LocalProvider(init_blocks=1, max_blocks=3))
    with treadle.load(config(run_dir, toy, strategy="none")):
        assert len({which_process(0.05).result() for _ in range(4)}) == 1
        assert len(toy.status()) == 1


class Unsure(LocalProvider):
    """A batch system that is sometimes not to be asked."""

    fails = False
    asked = 0

    def status(self, job_ids):
        self.asked += 1
        if self.fails:
            raise OSError("slurm_load_jobs error: Unable to contact slurm controller")
        return super().status(job_ids)

    @property
    def status_polling_interval(self):
        return 0.01


def test_while_the_provider_does_not_answer_nothing_is_ended_and_nothing_started(run_dir):
    provider = Unsure(init_blocks=1, min_blocks=1, max_blocks=4)
    toy = Toy(provider=provider)
    with treadle.load(config(run_dir, toy, strategy_period=0.01)):
        pid = which_process().result()
        provider.fails = True
        asked = provider.asked
        until(lambda: provider.asked > asked + 3)
        assert which_process().result() == pid
        assert list(toy.blocks_to_job_id) == ["0"]
        provider.fails = False


class Refusing(ExecutionProvider):
    """A batch system that takes nothing."""

    label = "refusing"

    def __init__(self):
        self.init_blocks = 4
        self.max_blocks = 4
        self.times = []

    def submit(self, command, tasks_per_node, job_name="x"):
        self.times.append(time.monotonic())
        raise OSError("sbatch: error: Batch job submission failed: Invalid partition")

    def status(self, job_ids):
        return [JobStatus(JobState.UNKNOWN) for _ in job_ids]

    def cancel(self, job_ids):
        return [True for _ in job_ids]


def test_a_batch_system_that_refuses_is_not_asked_again_and_again(run_dir):
    provider = Refusing()
    toy = Toy(provider=provider)
    kernel = treadle.load(config(run_dir, toy, strategy_period=0.01))
    future = which_process()
    until(lambda: bool(provider.times))
    threading.Event().wait(0.3)  # it has all the time in the world to ask too often
    assert len(provider.times) == 1
    assert "Invalid partition" in toy.status()["0"].message
    assert "1 were refused" in kernel.job_status_poller.explain("toy")
    toy.set_bad_state_and_fail_all(RuntimeError("given up"))
    assert future.exception() is not None
    kernel.cleanup()


class Hanging(LocalProvider):
    """A batch system whose command does not come back."""

    def __init__(self):
        super().__init__()
        self.hangs = threading.Event()
        self.goes_on = threading.Event()

    def status(self, job_ids):
        if self.hangs.is_set():
            self.goes_on.wait(30)
        return super().status(job_ids)


def test_a_provider_that_hangs_does_not_keep_the_kernel_from_ending(run_dir, monkeypatch, caplog):
    monkeypatch.setattr("treadle.jobs._watch._JOIN_S", 0.2)
    provider = Hanging()
    toy = Toy(provider=provider)
    kernel = treadle.load(config(run_dir, toy))
    pid = which_process().result()
    provider.hangs.set()
    threading.Event().wait(0.5)  # until it is asked
    kernel.cleanup()
    assert "its provider hangs; these jobs may still be there: ['" in caplog.text
    provider.goes_on.set()
    provider.hangs.clear()
    toy.end_blocks()
    until(lambda: not alive(pid))


def test_another_executor_does_not_wait_for_a_provider_that_hangs(run_dir):
    provider = Hanging()
    slow, quick = Toy("slow", provider=provider), Toy("quick", provider=LocalProvider())
    run_on_quick = python_app(os.getpid, executors=["quick"])
    with treadle.load(
        Config([slow, quick], run_dir=run_dir, strategy_period=0.05, initialize_logging=False)
    ):
        provider.hangs.set()
        assert run_on_quick().result() != os.getpid()
        provider.goes_on.set()
