"""Ready tasks in order: the user's priority, then the rank, then the order of arrival.

Most tasks come in the order in which they leave: these stand in a *run*, a plain queue whose ends
are all that is touched. Who comes before the run's last goes to a *heap*. The head is the better of
the two heads, and on a tie the run's, which came first: while the run is not empty all of the heap
came before its last, and an empty run is begun anew only when the heap is empty, too.

Who is withdrawn stays as a dead entry until it is met, or until the dead outnumber the living.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from heapq import heappop, heappush

from treadle.scheduler._task import TaskState


class Lane:
    """A queue of tasks by priority. Push and pop cost O(log n), and O(1) for most."""

    __slots__ = ("_arrivals", "_dead", "_from_heap", "_heap", "_n_dead", "_run", "n")

    def __init__(self) -> None:
        #: Tasks that are queued.
        self.n = 0
        #: Tasks whose (priority, rank) never falls.
        self._run: deque[TaskState] = deque()
        #: The others: priority, rank, arrival, task.
        self._heap: list[tuple[float, int, int, TaskState]] = []
        self._arrivals = 0
        #: How many entries of a task are dead; its first ones are. Zeros do not stand here.
        self._dead: dict[TaskState, int] = {}
        self._n_dead = 0
        #: Where `peek` found the head.
        self._from_heap = False

    def push(self, ts: TaskState) -> None:
        """Queue a task."""
        self.n += 1
        run = self._run
        options = ts.options
        if run:
            last = run[-1]
            lasts = last.options
            if options is lasts or options.priority == lasts.priority:
                if ts.rank >= last.rank:
                    run.append(ts)
                    return
            elif options.priority > lasts.priority:
                run.append(ts)
                return
        elif not self._heap:
            run.append(ts)
            return
        self._arrivals += 1
        heappush(self._heap, (options.priority, ts.rank, self._arrivals, ts))

    def peek(self) -> TaskState | None:
        """The first task; None if there is none."""
        run, heap = self._run, self._heap
        while True:
            if run:
                ts = run[0]
                self._from_heap = False
                if heap:
                    best = heap[0]
                    priority = ts.options.priority
                    if best[0] < priority or (best[0] == priority and best[1] < ts.rank):
                        ts = best[3]
                        self._from_heap = True
            elif heap:
                ts = heap[0][3]
                self._from_heap = True
            else:
                return None
            if not self._n_dead or ts not in self._dead:
                return ts
            self._bury(ts)
            self._drop()

    def pop(self) -> None:
        """Take out the task that `peek` has just shown."""
        self.n -= 1
        if self._from_heap:
            heappop(self._heap)
        else:
            self._run.popleft()

    def withdraw(self, ts: TaskState) -> None:
        """Take out a task that is queued."""
        self.n -= 1
        self._dead[ts] = self._dead.get(ts, 0) + 1
        self._n_dead += 1
        if self._n_dead > self.n:
            self.sweep()

    def sweep(self) -> None:
        """Let go of all dead entries."""
        alive = []
        for ts in self._entries():
            if ts in self._dead:
                self._bury(ts)
            else:
                alive.append(ts)
        alive.sort(key=_order)  # it is stable, so those that came first stay first
        self._run = deque(alive)
        self._heap = []

    def each(self) -> Iterator[TaskState]:
        """All queued tasks, the best not always first. Do not change it meanwhile."""
        if self._n_dead:
            self.sweep()
        return self._entries()

    def _entries(self) -> Iterator[TaskState]:
        yield from self._run
        for entry in sorted(self._heap, key=_arrival):
            yield entry[3]

    def _drop(self) -> None:
        if self._from_heap:
            heappop(self._heap)
        else:
            self._run.popleft()

    def _bury(self, ts: TaskState) -> None:
        self._n_dead -= 1
        left = self._dead[ts] - 1
        if left:
            self._dead[ts] = left
        else:
            del self._dead[ts]


def _order(ts: TaskState) -> tuple[float, int]:
    return (ts.options.priority, ts.rank)


def _arrival(entry: tuple[float, int, int, TaskState]) -> int:
    return entry[2]
