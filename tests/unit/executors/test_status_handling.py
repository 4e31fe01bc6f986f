"""An executor of blocks on a provider that lies, fails and forgets."""

from __future__ import annotations

import logging
from concurrent.futures import Future

import pytest

from treadle.dataflow.job_error_handler import JobErrorHandler
from treadle.errors import ExecutionProviderException, ScalingFailed, TooManyJobFailuresError
from treadle.executors import _blocks
from treadle.executors.status_handling import BlockProviderExecutor, NoStatusHandlingExecutor
from treadle.providers import ExecutionProvider, JobState, JobStatus


class Fake(ExecutionProvider):
    """Jobs are lines in a table."""

    label = "fake"

    def __init__(self):
        self.jobs = {}
        self.commands = []
        self.cancelled = []
        self.refuses = None
        self.answer = None
        self.obeys = True

    def submit(self, command, tasks_per_node, job_name="x"):
        if self.refuses is not None and len(self.jobs) >= self.refuses:
            raise OSError("queue is full")
        self.commands.append((command, tasks_per_node, job_name))
        job = f"job{len(self.jobs)}"
        self.jobs[job] = JobStatus(JobState.RUNNING)
        return job

    def status(self, job_ids):
        if self.answer is not None:
            return self.answer
        return [self.jobs[job] for job in job_ids]

    def cancel(self, job_ids):
        self.cancelled.append(list(job_ids))
        if self.obeys:
            for job in job_ids:
                self.jobs[job] = JobStatus(JobState.CANCELLED)
        return [self.obeys for _ in job_ids]


class Plain(BlockProviderExecutor):
    label = "plain"
    workers_per_node = 2

    def __init__(self, provider, **options):
        super().__init__(provider=provider, **options)
        self.idle = {}
        self.workers = {}
        self.drained = []
        self.told = []

    def start(self):
        pass

    def submit(self, func, resource_specification, *args, **kwargs):
        future = Future()
        self.tasks[len(self.tasks)] = future
        return future

    def shutdown(self, block=True):
        pass

    @property
    def outstanding(self):
        return len(self.tasks)

    def _get_launch_command(self, block_id):
        return f"work --block {block_id}"

    def _workers_of(self, block_id):
        return self.workers.get(block_id)

    def _idle_s(self, block_id):
        return self.idle.get(block_id)

    def _drain(self, block_ids):
        self.drained.append(list(block_ids))

    def _on_block_end(self, block_id, status):
        self.told.append((block_id, status.state))


@pytest.fixture
def provider():
    return Fake()


@pytest.fixture
def executor(provider, tmp_path):
    made = Plain(provider)
    made.run_dir = str(tmp_path)
    return made


def states(executor):
    return {block: job.state.name for block, job in executor.status().items()}


def test_blocks_are_started_with_a_command_and_a_name_each(executor, provider, tmp_path):
    assert executor.scale_out(2) == ["0", "1"]
    assert executor.scale_out() == ["2"]
    assert provider.commands[1] == ("work --block 1", 1, "treadle.plain.block-1")
    assert executor.blocks_to_job_id == {"0": "job0", "1": "job1", "2": "job2"}
    assert executor.job_ids_to_block["job2"] == "2"
    assert provider.script_dir == str(tmp_path / "submit_scripts")
    assert states(executor) == {"0": "RUNNING", "1": "RUNNING", "2": "RUNNING"}


def test_the_first_refusal_ends_the_attempt_and_is_a_failed_block(executor, provider):
    provider.refuses = 1
    assert executor.scale_out(5) == ["0"]
    assert states(executor) == {"0": "RUNNING", "1": "FAILED"}
    assert "OSError: queue is full" in executor.status()["1"].message
    assert "1" not in executor.blocks_to_job_id


def test_a_provider_that_gives_no_id_has_refused(executor, provider, monkeypatch):
    monkeypatch.setattr(provider, "submit", lambda *args: None)
    assert executor.scale_out() == []
    assert "returned no id" in executor.status()["0"].message


def test_without_a_provider_there_are_no_blocks():
    executor = Plain(None)
    assert not executor.scaling_enabled
    assert executor.status_polling_interval == 0
    assert executor.status() == {}
    assert executor.scale_in() == []
    assert executor.end_blocks() == []
    with pytest.raises(ScalingFailed, match="no provider"):
        executor.scale_out()


def test_in_a_bad_state_nothing_is_started(executor):
    executor.set_bad_state_and_fail_all(ValueError("x"))
    assert executor.scale_out(3) == []


def test_a_state_that_the_provider_cannot_tell_is_the_last_that_it_could(executor, provider):
    executor.scale_out()
    executor.status()
    provider.jobs["job0"] = JobStatus(JobState.UNKNOWN)
    assert states(executor) == {"0": "RUNNING"}


def test_an_answer_for_too_few_jobs_is_none(executor, provider):
    executor.scale_out(2)
    provider.answer = [JobStatus(JobState.FAILED)]
    with pytest.raises(ExecutionProviderException, match="asked about 2 jobs and answered for 1"):
        executor.status()
    provider.answer = None
    assert states(executor) == {"0": "RUNNING", "1": "RUNNING"}


def test_jobs_that_have_ended_are_not_asked_for_again(executor, provider):
    executor.scale_out()
    provider.jobs["job0"] = JobStatus(JobState.COMPLETED)
    assert states(executor) == {"0": "COMPLETED"}
    provider.jobs.clear()
    assert states(executor) == {"0": "COMPLETED"}
    assert executor.told == [("0", JobState.COMPLETED)]


def test_a_block_that_ends_well_and_never_worked_is_missing(executor, provider):
    executor.scale_out(3)
    executor.workers = {"0": 0, "1": 2}
    for job in provider.jobs:
        provider.jobs[job] = JobStatus(JobState.COMPLETED, exit_code=0)
    assert states(executor) == {"0": "MISSING", "1": "COMPLETED", "2": "COMPLETED"}
    assert "none of its workers was ever heard of" in executor.status()["0"].message


def test_what_waits_is_ended_before_what_runs_and_the_idlest_before_the_others(executor, provider):
    executor.scale_out(5)
    provider.jobs["job1"] = provider.jobs["job3"] = JobStatus(JobState.PENDING)
    executor.status()
    executor.idle = {"0": 3.0, "4": 9.0}
    assert executor.scale_in(4) == ["3", "1", "4", "0"]
    assert executor.drained == [["3", "1", "4", "0"]]
    assert provider.cancelled == [["job3", "job1", "job4", "job0"]]
    assert states(executor)["4"] == "SCALED_IN"
    assert executor.scale_in(4) == ["2"]
    assert executor.scale_in(4) == []


def test_busy_blocks_are_not_ended_for_being_idle(executor):
    executor.scale_out(3)
    executor.status()
    executor.idle = {"0": 3.0, "1": 60.0}
    assert executor.scale_in(3, max_idletime=30) == ["1"]


def test_a_drain_that_fails_does_not_keep_a_block_alive(executor, provider):
    def fail(block_ids):
        raise RuntimeError("no scheduler")

    executor._drain = fail
    executor.scale_out()
    assert executor.scale_in() == ["0"]
    assert provider.cancelled == [["job0"]]


def test_a_job_that_does_not_end_is_cancelled_again_and_holds_its_place(
    executor, provider, monkeypatch
):
    monkeypatch.setattr(_blocks, "PATIENCE_S", 0.0)
    provider.obeys = False
    executor.scale_out()
    executor.scale_in()
    assert executor.leaving == 1
    executor.status()
    assert provider.cancelled == [["job0"]] * 2
    assert states(executor) == {"0": "SCALED_IN"}
    monkeypatch.setattr(_blocks, "LEAVING_S", 0.0)
    assert executor.leaving == 0  # who never ends does not hold its place for ever
    monkeypatch.undo()
    assert executor.leaving == 1
    provider.jobs["job0"] = JobStatus(JobState.CANCELLED)
    executor.status()
    assert executor.leaving == 0


def test_at_the_end_jobs_that_may_still_be_there_are_named(executor, provider, caplog):
    provider.obeys = False
    executor.scale_out(2)
    with caplog.at_level(logging.WARNING, "treadle"):
        assert executor.end_blocks(patience_s=0.0) == ["job0", "job1"]
    assert "these jobs may still be there: ['job0', 'job1']" in caplog.text


def test_to_end_blocks_twice_is_to_end_them_once(executor, provider):
    executor.scale_out(2)
    assert executor.end_blocks() == []
    assert executor.end_blocks() == []
    assert len(provider.cancelled) == 1


def test_the_dead_are_forgotten_when_they_are_too_many(executor, provider, monkeypatch):
    monkeypatch.setattr(_blocks, "MOST_ENDED", 3)
    for _ in range(10):
        executor.scale_out()
        provider.jobs = dict.fromkeys(provider.jobs, JobStatus(JobState.FAILED))
        executor.status()
    assert list(executor.status()) == ["6", "7", "8", "9"]


def test_rows_for_monitoring(executor):
    executor.run_id = "r"
    executor.scale_out()
    (row,) = executor.create_monitoring_info(executor.status())
    assert row.pop("timestamp") > 0
    assert row == {
        "run_id": "r", "executor_label": "plain", "block_id": "0", "job_id": "job0",
        "status": "RUNNING",
    }  # fmt: skip


# --- failures ------------------------------------------------------------------------------------


def die(executor, provider, count):
    executor.scale_out(count)
    for job in provider.jobs:
        provider.jobs[job] = JobStatus(JobState.FAILED, exit_code=1)
    return executor.status()


@pytest.mark.parametrize("how", ["page", "today", "keyword"])
def test_three_deaths_at_once_are_enough_however_it_is_called(executor, provider, how):
    future = executor.submit(print, {})
    status = die(executor, provider, 2)
    executor.handle_errors(JobErrorHandler(), status)
    assert not executor.bad_state_is_set
    status = die(executor, provider, 1)
    if how == "page":
        executor.handle_errors(JobErrorHandler(), status)
    elif how == "today":
        executor.handle_errors(status)
    else:
        executor.handle_errors(error_handler=JobErrorHandler(), status=status)
    assert isinstance(executor.executor_exception, TooManyJobFailuresError)
    assert future.exception() is executor.executor_exception


def test_errors_can_be_left_alone_or_judged_by_a_function(provider, tmp_path):
    seen = []
    for handler, managed in ((False, False), (lambda e, s: seen.append((e, s)), True)):
        executor = Plain(provider, block_error_handler=handler)
        executor.run_dir = str(tmp_path)
        status = die(executor, provider, 5)
        executor.handle_errors(JobErrorHandler(), status)
        assert not executor.bad_state_is_set
        assert executor.error_management_enabled == managed
    assert seen == [(executor, status)]


def test_executors_without_blocks_answer_with_nothing():
    class Nothing(NoStatusHandlingExecutor):
        def start(self):
            pass

        def submit(self, func, resource_specification, *args, **kwargs):
            return Future()

        def shutdown(self, block=True):
            pass

    executor = Nothing()
    assert executor.provider is None
    assert executor.status() == {}
    assert executor.scale_out(3) == executor.scale_in(3) == []
    assert not executor.error_management_enabled
    assert not executor.scaling_enabled
    executor.handle_errors(JobErrorHandler(), {})


def test_the_methods_of_the_page_are_there():
    names = [
        "create_monitoring_info", "handle_errors", "monitor_resources", "scale_in", "scale_out",
        "set_bad_state_and_fail_all", "shutdown", "start", "status", "submit",
        "bad_state_is_set", "error_management_enabled", "executor_exception", "hub_address",
        "hub_port", "label", "outstanding", "provider", "radio_mode", "run_dir", "scaling_enabled",
        "status_polling_interval", "tasks", "workers_per_node",
    ]  # fmt: skip
    assert [name for name in names if not hasattr(BlockProviderExecutor, name)] == []
    assert {"outstanding", "workers_per_node", "_get_launch_command"} <= (
        BlockProviderExecutor.__abstractmethods__
    )
