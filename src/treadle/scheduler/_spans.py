"""Where bundles begin: a row that has no task of its own is found by its identifier.

Only bundles of more than one row are listed, so what has none pays nothing. A list is not told of
bundles that are forgotten or have shrunk: whoever looks asks the table of tasks, and what is stale
is dropped now and then.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from typing import TYPE_CHECKING

from treadle.wire import TaskId, session_of

if TYPE_CHECKING:
    from treadle.scheduler._task import TaskState

#: A list is swept when it has grown by this many, and to twice of what it was.
_GROWTH = 64


class Spans:
    """The first rows of all bundles, in order, by session."""

    def __init__(self) -> None:
        #: Identifiers of first rows, ascending; some are stale.
        self.starts: dict[int, list[int]] = {}
        #: How long a session's list may become before it is swept.
        self.limits: dict[int, int] = {}

    def add(self, tasks: dict[TaskId, TaskState], ts: TaskState) -> None:
        """List a bundle. What was listed within its rows is no longer there."""
        id = ts.id
        assert isinstance(id, int)
        session = session_of(id)
        assert session is not None
        starts = self.starts.get(session)
        if starts is None:
            if self.starts:  # one of the others may be gone
                oldest = next(iter(self.starts))
                self._sweep(tasks, oldest, self.starts.pop(oldest))
            starts = self.starts[session] = []
        if not starts or starts[-1] < id:
            starts.append(id)
        else:
            low = bisect_left(starts, id)
            high = bisect_left(starts, id + ts.rows)
            if high > low:
                starts[low:high] = [id]
            else:
                insort(starts, id)
        if len(starts) > self.limits.setdefault(session, _GROWTH):
            self._sweep(tasks, session, starts)

    def _sweep(self, tasks: dict[TaskId, TaskState], session: int, starts: list[int]) -> None:
        alive = [id for id in starts if id in tasks and tasks[id].rows > 1]
        if alive:
            self.starts[session] = alive
            self.limits[session] = 2 * len(alive) + _GROWTH
        else:
            self.starts.pop(session, None)
            self.limits.pop(session, None)

    def find(self, tasks: dict[TaskId, TaskState], id: TaskId) -> TaskState | None:
        """The bundle that has this row, not as its first; None if there is none."""
        if not self.starts or type(id) is not int:
            return None
        starts = self.starts.get(session_of(id) or 0)
        if not starts:
            return None
        place = bisect_right(starts, id) - 1
        if place < 0:
            return None
        ts = tasks.get(starts[place])
        if ts is None:
            return None
        return ts if starts[place] < id < starts[place] + ts.rows else None
