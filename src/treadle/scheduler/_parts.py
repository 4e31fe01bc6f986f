"""A bundle is cut in two: each part is a task like any other, and in the state the bundle was in.

A bundle is one task for many rows of a map; row `i` has the identifier `id + i`. The arguments of
the rows are one tuple that all parts share, so a cut costs the same for ten rows and for a million.
A result is one object and is never cut: cut is what waits, what runs, and what has failed.
"""

from __future__ import annotations

from bisect import bisect_left

from treadle.scheduler._books import Books
from treadle.scheduler._occupancy import step_aside, step_back, take
from treadle.scheduler._relations import Relation, add, discard, each
from treadle.scheduler._task import ACTIVE, Rare, TaskState
from treadle.scheduler._transitions import ERRED, FORGOTTEN, MEMORY, PROCESSING, WAITING


def cut(books: Books, ts: TaskState, n_rows: int) -> TaskState:
    """Keep the first rows in the task; the others are a new task, which is returned.

    The new task is in no queue, though it may be ready: that is the caller's to do. What is
    processed is one attempt still, of both, on the same worker.
    """
    rare, id = ts.rare, ts.id
    assert rare is not None
    assert isinstance(id, int)
    assert 0 < n_rows < rare.n_rows
    assert ts.code not in (MEMORY, FORGOTTEN)
    tail = TaskState(id + n_rows, ts.run_spec, ts.group, ts.options, ts.rank, ts.code)
    tail.story_code = ts.story_code
    tail.attempt = ts.attempt
    tail.retries = ts.retries
    tail.rare = Rare(
        suspicious=rare.suspicious,
        has_lost_dependencies=rare.has_lost_dependencies,
        metadata=rare.metadata,
        avoid=rare.avoid,
        rows=rare.rows,
        first_row=rare.first_row + n_rows,
        n_rows=rare.n_rows - n_rows,
        rows_needed=rare.rows_needed,
        earlier=rare.earlier,
        doom=rare.doom,
    )
    assert tail.id not in books.tasks
    books.tasks[tail.id] = tail
    ts.group.n_tasks += 1
    ts.group.counts[ts.code] += 1
    total = rare.n_rows
    rare.n_rows = n_rows
    if total - n_rows > 1:
        books.spans.add(books.tasks, tail)
    _link_inputs(ts, tail)
    if ts.dependers is not None:
        _share_dependers(books, ts, tail)
    for client in each(ts.wanters):
        client.wants_what[tail] = None
    tail.wanters = _copy(ts.wanters)
    if books.lingering and ts in books.lingering:
        books.lingering[tail] = books.lingering[ts]  # the last to go: longer than it has to
    if ts.code == PROCESSING:
        _share_worker(ts, tail, n_rows / total)
    elif ts.code == ERRED:
        tail.failure = ts.failure
        tail.exception_blame = tail if ts.exception_blame is ts else ts.exception_blame
    if not tail.needed and (tail.dependers is None or tail.code in ACTIVE):
        books.slack.append(tail)
    return tail


def _copy(relation: Relation) -> Relation:
    return dict(relation) if type(relation) is dict else relation


def _link_inputs(ts: TaskState, tail: TaskState) -> None:
    tail.deps = _copy(ts.deps)
    tail.n_waiting_on = ts.n_waiting_on
    active = ts.code in ACTIVE
    for dep in each(ts.deps):
        dep.dependers = add(dep.dependers, tail)
        dep.n_waiters += active


def _share_dependers(books: Books, ts: TaskState, tail: TaskState) -> None:
    """What needs rows of one part depends on that part alone; the rest depends on both."""
    assert isinstance(ts.id, int)
    assert isinstance(tail.id, int)
    stop = tail.id + tail.rows
    for other in tuple(each(ts.dependers)):
        needed = () if other.rare is None else other.rare.rows_needed
        first = bisect_left(needed, ts.id)
        middle = bisect_left(needed, tail.id, first)
        last = bisect_left(needed, stop, middle)
        whole = first == last
        if not whole and middle == last:
            continue  # it needs rows of the head alone
        active = other.code in ACTIVE
        other.deps = add(other.deps, tail)
        tail.dependers = add(tail.dependers, other)
        tail.n_waiters += active
        if whole or first < middle:
            other.n_waiting_on += other.code == WAITING
            continue
        other.deps = discard(other.deps, ts)
        ts.dependers = discard(ts.dependers, other)
        ts.n_waiters -= active
    if not ts.needed:
        books.slack.append(ts)


def _share_worker(ts: TaskState, tail: TaskState, share: float) -> None:
    """Both parts are on the worker, and the seconds it is expected to take are shared."""
    ws = ts.processing_on
    assert ws is not None
    expected_s = ws.processing[ts]
    ws.processing[ts] = expected_s * share
    ws.backlog_s -= expected_s * (1 - share)
    take(ws, tail, expected_s * (1 - share))
    if ts in ws.aside:
        step_aside(ws, tail)
        if not ws.aside[ts]:
            step_back(ws, tail)
    if ts in ws.executing:
        ws.executing[tail] = ws.executing[ts]
    if ts in ws.unlisted:
        ws.unlisted[tail] = ws.unlisted[ts]
