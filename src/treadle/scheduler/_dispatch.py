"""A task is handed to a worker."""

from __future__ import annotations

from treadle.scheduler._books import Books
from treadle.scheduler._occupancy import take, taken
from treadle.scheduler._relations import each
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import PROCESSING, advance
from treadle.scheduler._worker import WorkerState
from treadle.wire import Input, Run

#: Holders named for one input: as many as a worker would try.
_HOLDERS = 8


def start(
    books: Books, ts: TaskState, ws: WorkerState, expected_s: float, *, ahead: bool = False
) -> None:
    """Give a task that is ready, and out of its queue, to a worker as a new attempt.

    `expected_s`: what it is expected to take. `ahead`: a slot may get it behind another.
    """
    advance(ts, PROCESSING)
    books.attempts += 1
    ts.attempt = attempt = books.attempts
    take(ws, ts, expected_s)
    spec = ts.run_spec
    assert spec is not None
    inputs = _inputs(ts) if ts.deps is not None else ()
    options = ts.options
    resources = options.resources
    if options.loose:
        resources = taken(ws, options)  # a wish that is not granted takes nothing
    rank = (options.priority, ts.rank)
    rare = ts.rare
    if rare is None:
        run = Run(
            ts.id, attempt, spec, inputs, rank, options.slots, resources,
            options.walltime_s, ahead,
        )  # fmt: skip
    else:
        home = rare.home
        run = Run(
            ts.id, attempt, spec, inputs, rank, options.slots, resources,
            options.walltime_s, ahead, rare.actor, None if home is None else home.id,
            ts.own_rows,
        )  # fmt: skip
    books.send(ws, run)


def _inputs(ts: TaskState) -> tuple[Input, ...]:
    """What the attempt needs. Actors are no data: who has one as an argument has its name."""
    return tuple([_input(dep) for dep in each(ts.deps) if dep.rare is None or not dep.rare.actor])


def _input(dep: TaskState) -> Input:
    ws = dep.holders
    if type(ws) is WorkerState:  # nearly always there is one
        return Input(dep.id, dep.attempt, dep.nbytes or 0, (ws.id,))
    holders = tuple([ws.id for ws in each(ws)])
    return Input(dep.id, dep.attempt, dep.nbytes or 0, holders[:_HOLDERS])
