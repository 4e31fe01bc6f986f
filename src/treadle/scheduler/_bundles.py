"""Bundles: one task for many rows of a map, until something happens to some of its rows alone.

A worker reports rows as they end, a few at a time: what it says is of exactly those rows, which
are cut out of the bundle and go their own way. A death that nobody can pin on one row splits the
bundle, and charges its parts once between them: only a row that is alone can be charged to death.
Dependents of a row stand with the part that has it; the row gets a task of its own when a client
asks for it by its identifier, if it has not been sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._need import again
from treadle.scheduler._parts import cut
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import (
    ERRED,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    WAITING,
    advance,
)
from treadle.wire import NUMBER_BITS, TaskId, TaskSpec

#: Parts that a death splits a bundle into. A death costs a worker, a part costs a task.
_SPLIT = 32


def part(
    books: Books, ts: TaskState | None, id: TaskId, attempt: int, rows: int
) -> TaskState | None:
    """The task for exactly these rows, cut out of the bundle they belong to; None if there is none.

    `ts`: the task that has this identifier, if there is one. Only what is processed as this attempt
    is cut; of another the answer may have more rows.
    """
    if ts is None:
        bundle = books.spans.find(books.tasks, id)
        if bundle is None or bundle.attempt != attempt or bundle.code != PROCESSING:
            return None
        assert isinstance(id, int)
        assert isinstance(bundle.id, int)
        if id + rows > bundle.id + bundle.rows:
            return None
        ts = cut(books, bundle, id - bundle.id)
    if ts.attempt != attempt or ts.code != PROCESSING or ts.rows == rows:
        return ts
    if not 0 < rows < ts.rows:
        return None
    cut(books, ts, rows)
    return ts


def owner(books: Books, id: TaskId) -> TaskState | None:
    """The task that the identifier belongs to: its own, or the bundle that it is a row of."""
    ts = books.tasks.get(id)
    return ts if ts is not None else books.spans.find(books.tasks, id)


def find(books: Books, id: TaskId) -> TaskState | None:
    """The task that somebody asks for by this identifier.

    A row inside a bundle that has not been sent, or has failed, gets a task of its own. Of what is
    sent or done it is the part that has the row.
    """
    ts = books.tasks.get(id)
    if ts is not None:
        return ts
    bundle = books.spans.find(books.tasks, id)
    if bundle is None or bundle.code not in (RELEASED, WAITING, NO_WORKER, ERRED):
        return bundle
    assert isinstance(id, int)
    assert isinstance(bundle.id, int)
    ready = bundle.code == NO_WORKER or (bundle.code == WAITING and not bundle.n_waiting_on)
    if ready:
        queues.withdraw(books, bundle)
        if bundle.code == NO_WORKER:
            advance(bundle, WAITING)
    row = cut(books, bundle, id - bundle.id)
    parts = [bundle, row]
    if row.rows > 1:
        parts.append(cut(books, row, 1))
    if ready:
        for ts in parts:
            queues.ready(books, ts)
    return row


def split(books: Books, ts: TaskState, text: str) -> None:
    """A bundle that is processing was in a death: try it again in parts.

    Each is a suspect, so no two of them share a worker, and charged with one death at the most.
    """
    rare = ts.rarely()
    rare.suspicious = min(1, books.policy.deaths - 1)
    step = -(-ts.rows // _SPLIT)
    parts = [ts]
    while parts[-1].rows > step:
        parts.append(cut(books, parts[-1], step))
    for each in parts:
        again(books, each, f"{text}; it is tried again in {len(parts)} parts")


def parts_of(books: Books, id: TaskId, rows: int) -> Iterable[TaskState]:
    """All live tasks for these rows, in order."""
    if rows <= 1:
        ts = owner(books, id)
        return () if ts is None else (ts,)
    assert isinstance(id, int)
    found = []
    place, stop = id, id + rows
    while place < stop:
        ts = owner(books, place)
        if ts is None:
            place += 1
        else:
            assert isinstance(ts.id, int)
            found.append(ts)
            place = ts.id + ts.rows
    return found


def fault(books: Books, specs: tuple[TaskSpec, ...]) -> str | None:
    """Why bundles, or rows of them, cannot be admitted; None if they can.

    A bundle, or a task, that is known by its own identifier is known, and not looked at.
    """
    spans: list[tuple[int, int]] = []
    for spec in specs:
        id = spec.id
        if type(id) is not int:
            if spec.rows:
                return f"task {id!r} is a bundle: its identifier must be a number"
            continue
        n_rows = len(spec.rows) or 1
        spans.append((id, id + n_rows))
        if n_rows > 1:
            if spec.actor or spec.home is not None:
                return f"task {id} is a bundle: it can be neither an actor nor a call of one"
            if (id + n_rows - 1) >> NUMBER_BITS != id >> NUMBER_BITS:
                return f"task {id} is a bundle of {n_rows} rows: its session has no such numbers"
    spans.sort()
    for (first, end), (id, _) in pairwise(spans):
        if id < end and id != first:
            return f"task {id} is a row of bundle {first}, too"
    tasks = books.tasks
    for first, end in spans:
        if first not in tasks:
            if books.spans.find(tasks, first) is not None:
                return f"task {first} is known already, as a row of a bundle"
            known = next((i for i in range(first + 1, end) if i in tasks), None)
            if known is not None:
                return f"row {known} of bundle {first} is known already"
        elif end - first > 1 and sum(ts.rows for ts in parts_of(books, first, end - first)) < (
            end - first
        ):
            return f"bundle {first} is known already, and some of its rows are released"
    return None
