"""A task as the kernel's machine sees it: who it is, where it is, whom it waits for.

The machine decides from a node alone. What it cannot know (functions, arguments, results, time)
is held by `TaskRecord`, the shell's subclass of `Node`, so that a task is one object.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from treadle.dataflow.states import States

if TYPE_CHECKING:
    from collections import deque


class Phase(IntEnum):
    """What the shell has been asked to do for a task, finer than its state.

    A pending task waits (an `early` one at its executor), is prepared, looks up the memo table, waits for its twin, or is on its
    way to an executor; a launched one runs, or its failure is judged, or the futures that it
    returned are about to be watched, or its outcome is recorded.
    An answer is accepted only in the phase that asked for it.
    """

    waiting = 0
    preparing = 1
    looking_up = 2
    twin = 3
    launching = 4
    running = 5
    judging = 6
    watching = 7
    joining = 8
    recording = 9
    ended = 10


class Node:
    """One task. Fields change only inside the machine."""

    __slots__ = (
        "dependents",
        "early",
        "fail_cost",
        "fail_count",
        "failed_on",
        "hashsum",
        "id",
        "join",
        "memoize",
        "phase",
        "rows",
        "status",
        "story",
        "try_id",
        "twins",
        "verdict",
        "waiting_on",
    )

    #: Number of the task, never used again within a kernel.
    id: int
    #: Is a join app: its result is that of the futures it returns.
    join: bool
    #: Is looked up in, and written to, the memo table.
    memoize: bool
    #: Is handed to its executor before its dependencies have ended, as those were. Asked for by
    #: who submits it; true from then on only where it can be: `waiting`, `running` or `ended`.
    early: bool
    #: Tasks that it stands for: of a bundle, the rows that have not ended. It counts as so many.
    rows: int
    #: Where it is; changed by `_transitions.advance` alone.
    status: States
    #: See `Phase`. `ended` iff the state is final.
    phase: Phase
    #: Number of the current attempt, from 0; an answer to another attempt changes nothing.
    try_id: int
    #: Attempts that failed.
    fail_count: int
    #: Sum of what the failures cost; a retry is allowed while this is within the budget.
    fail_cost: float
    #: Dependencies (joining: inner tasks) that have not ended. Above 0 only while it waits for them.
    waiting_on: int
    #: Dependencies (joining: inner tasks) that ended without a result.
    failed_on: int
    #: Tasks of this kernel that wait for this one: none, one, or a list. None once it has ended.
    dependents: Node | list[Node] | None
    #: Memo key, known once prepared. A plug-in may write it too: the machine never reads it.
    hashsum: str | None
    #: Equal calls that wait for this one, which runs for all, oldest first; also those that have
    #: stopped waiting since. None unless some did.
    twins: deque[Node] | None
    #: How the attempt ended, while that is judged; how the task is to end, while it is recorded.
    verdict: int
    #: The states it has been in, one hexadecimal digit each; see `_transitions`.
    story: int

    def __init__(self, id: int, *, memoize: bool = False, join: bool = False) -> None:
        self.id = id
        self.memoize = memoize
        self.join = join
        self.early = False
        self.rows = 1
        self.status = States.unsched
        self.phase = Phase.waiting
        self.try_id = 0
        self.fail_count = 0
        self.fail_cost = 0
        self.waiting_on = 0
        self.failed_on = 0
        self.dependents = None
        self.hashsum = None
        self.twins = None
        self.verdict = 0
        self.story = 0
