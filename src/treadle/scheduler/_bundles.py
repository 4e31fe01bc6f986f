"""Bundles: one task for many rows of a map."""

from __future__ import annotations

from treadle.scheduler._books import Books
from treadle.scheduler._task import TaskState
from treadle.wire import TaskId


def part(
    books: Books, ts: TaskState | None, id: TaskId, attempt: int, rows: int
) -> TaskState | None:
    """The task for exactly these rows, cut out of the bundle they belong to."""
    return ts if ts is not None and ts.rows == rows else None
