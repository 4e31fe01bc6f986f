"""What others may tell a kernel: that a task is ready, has ended, is in another state.

These are the hooks of the kernel's page. Each posts an event to the machine and waits until it
has been handled; what the task's state does not allow raises, with the task's story.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.dataflow import _events as ev
from treadle.dataflow._node import Phase
from treadle.dataflow._transitions import illegal
from treadle.dataflow.states import FINAL_STATES, States

if TYPE_CHECKING:
    from concurrent.futures import Future

    from treadle.config import Config
    from treadle.dataflow._shell import Shell
    from treadle.dataflow.futures import AppFuture
    from treadle.dataflow.memoization import Memoizer
    from treadle.dataflow.taskrecord import TaskRecord


class Hooks:
    """The part of the kernel that takes facts from outside."""

    _config: Config
    _shell: Shell
    memoizer: Memoizer
    tasks: dict[int, TaskRecord]

    def launch_if_ready(self, task_record: TaskRecord) -> None:
        """Launch the task if it is ready and has not been launched; else do nothing."""
        self._shell.inbox.call(ev.LaunchAsked(task_record))

    def launch_task(self, task_record: TaskRecord) -> Future[Any]:
        """Hand the task to its executor; returns the future of the attempt.

        A task that its executor was handed early has no other future than its own: that is
        returned, before and after it is launched.

        Raises:
            IllegalTransition: it is not ready, or has been launched; the text has its story.
        """
        if task_record.early and task_record.app_fu is not None:
            return task_record.app_fu
        self._shell.inbox.call(ev.LaunchAsked(task_record, must=True))
        attempt: Future[Any] = task_record.exec_fu or task_record._future
        return attempt

    def handle_exec_update(self, task_record: TaskRecord, future: Future[Any]) -> None:
        """Take the outcome of an attempt from a future that is done.

        Raises:
            IllegalTransition: no attempt runs, or the future is not done.
        """
        if not future.done():
            raise illegal(task_record, "handle_exec_update with a future that is not done")
        if task_record.phase not in (Phase.launching, Phase.running):
            raise illegal(task_record, "handle_exec_update")
        if future is not task_record.exec_fu:
            task_record.exec_fu = future
        outcome = self._shell.outcome(task_record, task_record.try_id, future, must=True)
        self._shell.inbox.call(outcome)

    def handle_join_update(
        self, task_record: TaskRecord, inner_app_future: AppFuture[Any] | None
    ) -> None:
        """Take note that one of the tasks that a join app waits for has ended.

        Raises:
            IllegalTransition: the task waits for none, or the inner one has not ended.
        """
        if inner_app_future is None:
            return
        if not inner_app_future.done():
            raise illegal(task_record, "handle_join_update with a future that is not done")
        if task_record.phase is not Phase.joining:
            raise illegal(task_record, "handle_join_update")
        # The kernel watches the inner tasks itself: counted twice, one would stand for another.
        self._shell.inbox.flush()

    def handle_app_update(self, task_record: TaskRecord, future: AppFuture[Any]) -> None:
        """Do what follows the end of a task: write its result to the checkpoint.

        Raises:
            IllegalTransition: it has not ended.
        """
        if not future.done() or task_record.status not in FINAL_STATES:
            raise illegal(task_record, "handle_app_update")
        if task_record.memoize and self._config.checkpoint_mode == "task_exit":
            self.memoizer.checkpoint([task_record])

    def update_task_state(self, task_record: TaskRecord, new_state: States) -> None:
        """Put a task into another state, as the table of transitions allows.

        Raises:
            IllegalTransition: the table does not; the text has the task's story.
        """
        self._shell.inbox.call(ev.StateAsked(task_record, States(new_state)))

    def wipe_task(self, task_id: int) -> None:
        """Forget a task that has ended; nothing happens to one that is open or unknown."""
        record = self.tasks.get(task_id)
        if record is not None and record.status in FINAL_STATES:
            self.tasks.pop(task_id, None)

    @staticmethod
    def check_staging_inhibited(kwargs: dict[str, Any]) -> bool:
        """Whether a call asks that its files be left alone."""
        return bool(kwargs.get("_parsl_staging_inhibit", False))
