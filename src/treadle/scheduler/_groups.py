"""Groups of tasks, and what is learned of them.

A *prefix* is a kind of work: all tasks of one name. Durations and memory are learned for it. A
*group* is the part of a prefix that belongs together: one graph, or the single tasks of one client.
"""

from __future__ import annotations

from msgspec import Struct, field

from treadle.scheduler._transitions import STATES


class TaskPrefix(Struct, eq=False):
    """All tasks of one name."""

    name: str
    #: Seconds that one row of work takes on average; None until the first has finished. The newest
    #: sample counts half.
    duration_s: float | None = None
    #: The most private memory that an attempt has taken, in bytes; 0 until one has told.
    memory_bytes: int = 0
    #: Average size of a result in bytes; None until the first has finished.
    nbytes: float | None = None
    #: Rows of work that have finished, in all.
    finished: int = 0
    #: Attempts that have raised, and those whose process died, in all.
    failed: int = 0
    deaths: int = 0
    #: Groups that have tasks, by their key.
    groups: dict[tuple[str, int], TaskGroup] = field(default_factory=dict)

    @property
    def states(self) -> dict[str, int]:
        """How many of its tasks are in each state."""
        counts = dict.fromkeys(STATES[1:-1], 0)
        for group in self.groups.values():
            for name, count in group.states.items():
                counts[name] += count
        return counts

    def learn(self, duration_s: float, nbytes: int, memory_bytes: int, rows: int) -> None:
        """A task of `rows` rows has finished."""
        per_row = duration_s / rows
        old = self.duration_s
        self.duration_s = per_row if old is None else 0.5 * (old + per_row)
        size = self.nbytes
        self.nbytes = nbytes / rows if size is None else 0.5 * (size + nbytes / rows)
        if memory_bytes > self.memory_bytes:
            self.memory_bytes = memory_bytes
        self.finished += rows

    def __repr__(self) -> str:
        took = "unknown" if self.duration_s is None else f"{self.duration_s:.3g} s"
        return f"<TaskPrefix {self.name!r}: {self.finished} finished, duration {took}>"


class TaskGroup(Struct, eq=False):
    """The tasks of one prefix that belong together."""

    key: tuple[str, int]
    prefix: TaskPrefix
    #: How many of its tasks are in each state, by the state's number.
    counts: list[int] = field(default_factory=lambda: [0] * len(STATES))
    #: Its tasks that are not forgotten.
    n_tasks: int = 0
    #: Bytes of all results that its tasks have made.
    nbytes: int = 0
    #: Seconds that its finished tasks have taken.
    duration_s: float = 0.0

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.key[0]}-{self.key[1]:x}"

    @property
    def states(self) -> dict[str, int]:
        """How many of its tasks are in each state; forgotten ones are gone."""
        return dict(zip(STATES[1:-1], self.counts[1:-1], strict=True))

    def __len__(self) -> int:
        return self.n_tasks

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {s}" for s, n in self.states.items() if n)
        return f"<TaskGroup {self.name!r}: {counts or 'no tasks'}>"
