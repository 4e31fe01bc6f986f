"""What a kernel shows of tasks that an executor was handed early."""

from __future__ import annotations

from tests.integration.cluster_cases import cluster, twice, until, wait_for


def test_an_executor_shows_the_kernels_own_futures(run_dir, tmp_path):
    with cluster(run_dir) as c:
        first = c.call(wait_for, str(tmp_path / "go"))
        second = c.call(twice, 4)
        third = c.call(twice, first)
        assert second.result(timeout=15) == 8
        until(lambda: len(c.executor.tasks) == 2)
        assert c.executor.tasks[first.tid] is first
        assert c.executor.tasks[third.tid] is third
        assert c.executor.outstanding == 2
        (tmp_path / "go").touch()
        assert third.result(timeout=15) == "therethere"
        until(lambda: not c.executor.tasks and c.executor.outstanding == 0)


def test_to_launch_a_task_that_was_handed_over_gives_its_own_future(run_dir, tmp_path):
    with cluster(run_dir) as c:
        first = c.call(wait_for, str(tmp_path / "go"))
        second = c.call(twice, first)
        until(lambda: first.task_status() == "launched")
        assert second.task_status() == "pending"
        assert c.kernel.launch_task(first.task_record) is first
        assert c.kernel.launch_task(second.task_record) is second
        (tmp_path / "go").touch()
        assert second.result(timeout=15) == "therethere"


def test_calls_that_were_submitted_by_hand_are_shown_too(run_dir, tmp_path):
    with cluster(run_dir) as c:
        future = c.executor.submit(wait_for, None, str(tmp_path / "go"))
        assert list(c.executor.tasks.values()) == [future]
        (tmp_path / "go").touch()
        assert future.result(timeout=15) == "there"
        until(lambda: not c.executor.tasks)
