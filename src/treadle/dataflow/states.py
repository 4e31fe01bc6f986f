"""The states of a task in the kernel, their numbers and what each means.

A task that succeeds goes `pending -> launched -> running -> exec_done`; every other state is a
deviation, by failure or by design (memoization, joins). Every task ends in one of `FINAL_STATES`.
Which steps lead from which state to which is told by the table in `_transitions`.
"""

from __future__ import annotations

from enum import IntEnum


class States(IntEnum):
    """Where a task of the dataflow kernel is."""

    #: The record exists; the kernel has not taken the task over yet.
    unsched = -1
    #: Known to the kernel, but it cannot run yet, usually because it waits for dependencies.
    pending = 0
    #: Running on a resource. A task's record is never in this state; monitoring may show it.
    running = 2
    #: Has been executed successfully.
    exec_done = 3
    #: Has failed, and no more attempts will be made to run it.
    failed = 4
    #: Dependencies failed, so it was marked as failed without an attempt to launch it.
    dep_fail = 5
    #: Has been passed to an executor.
    launched = 7
    #: An attempt has failed; the task can be retried.
    fail_retryable = 8
    #: Found in the memo table, so it was marked as done without an attempt to launch it.
    memo_done = 9
    #: A join app whose own code has run and which waits for the tasks it returned.
    joining = 10
    #: Its code has ended on the resource, the outcome is not here yet; monitoring only.
    running_ended = 11


#: A task in one of these never changes again.
FINAL_STATES = [States.exec_done, States.memo_done, States.failed, States.dep_fail]

#: The final states without a result.
FINAL_FAILURE_STATES = [States.failed, States.dep_fail]
