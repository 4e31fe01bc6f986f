"""Tasks that are ready, until a worker has room for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from treadle.scheduler._dispatch import start
from treadle.scheduler._transitions import NO_WORKER, WAITING, advance

if TYPE_CHECKING:
    from treadle.scheduler._books import Books
    from treadle.scheduler._task import TaskState
    from treadle.scheduler._worker import WorkerState


class Queues:
    """Ready tasks."""

    def __init__(self) -> None:
        self.ready: dict[TaskState, None] = {}
        self.open: dict[WorkerState, None] = {}


def ready(books: Books, ts: TaskState) -> None:
    """A waiting task has all its inputs: queue it, or mark it as one that no worker can run."""
    books.queues.ready[ts] = None
    if not books.workers:
        advance(ts, NO_WORKER)


def withdraw(books: Books, ts: TaskState) -> None:
    """A task that is ready shall not be placed after all."""
    books.queues.ready.pop(ts, None)


def has_room(books: Books, ws: WorkerState) -> None:
    """A worker may have more room than before."""
    books.queues.open[ws] = None


def joined(books: Books, ws: WorkerState) -> None:
    """A worker has come, or takes work again."""
    books.queues.open[ws] = None


def left(books: Books, ws: WorkerState) -> None:
    """A worker is gone, or takes no more work."""
    books.queues.open.pop(ws, None)


def actor_lives(books: Books, ts: TaskState) -> None:
    """An actor's process is there: its calls may be sent."""


def assign(books: Books) -> None:
    """Give ready tasks to workers with room; then mark what no worker can run."""
    q = books.queues
    for ws in list(q.open):
        while q.ready and ws.slots_taken < ws.slots + 2:
            ts = next(iter(q.ready))
            del q.ready[ts]
            start(books, ts, ws, ts.group.prefix.duration_s or 0.5)
        if ws.slots_taken >= ws.slots + 2:
            del q.open[ws]
    if books.workers:
        for ts in q.ready:
            if ts.code == NO_WORKER:
                advance(ts, WAITING)
