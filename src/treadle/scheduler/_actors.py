"""Actors: one home, ordered calls, loss is an error."""

from __future__ import annotations

from treadle.scheduler._books import Books
from treadle.scheduler._task import TaskState


def gone(books: Books, actor: TaskState, why: str) -> None:
    """The process of an actor is gone, and its state with it."""
    raise NotImplementedError


def call_died(books: Books, call: TaskState, exit_code: int | None) -> None:
    """The process of an actor died in this call."""
    raise NotImplementedError
