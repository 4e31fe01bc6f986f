"""What a worker's tasks take of it, kept as they come and go."""

from __future__ import annotations

from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState
from treadle.wire import Options

#: Sums of floats drift: amounts this close, as a part of them, are the same.
CLOSE = 1e-9


def take(ws: WorkerState, ts: TaskState, expected_s: float) -> None:
    """The worker has been given the task, which is expected to take that many seconds."""
    ws.processing[ts] = expected_s
    ws.backlog_s += expected_s
    ts.processing_on = ws
    rare = ts.rare
    if rare is not None:
        if rare.home is not None:
            return  # an actor's call takes what the actor has
        if rare.suspicious and ts.options.slots:
            ws.suspects[ts] = None
    options = ts.options
    ws.slots_taken += options.slots
    if options.resources:
        _take(ws, options)


def leave(ws: WorkerState, ts: TaskState) -> None:
    """The worker has the task no longer."""
    processing = ws.processing
    ws.backlog_s -= processing.pop(ts)
    if not processing:
        ws.backlog_s = 0.0  # sums of floats drift
    ts.processing_on = None
    if ws.executing:
        ws.executing.pop(ts, None)
    if ws.unlisted:
        ws.unlisted.pop(ts, None)
    rare = ts.rare
    if rare is not None:
        if rare.home is not None:
            return
        ws.suspects.pop(ts, None)
    options = ts.options
    if ws.aside and ws.aside.pop(ts, False):
        ws.n_aside -= 1
    else:
        ws.slots_taken -= options.slots
    if options.resources:
        _give_back(ws, options)


def step_aside(ws: WorkerState, ts: TaskState) -> None:
    """The task, which the worker processes, waits for others: it takes no slot, but all else.

    It may wait for a suspect, so it is none any longer that others have to keep apart from.
    """
    if not ws.aside.get(ts, False):
        ws.aside[ts] = True
        ws.n_aside += 1
        ws.slots_taken -= ts.options.slots
        ws.suspects.pop(ts, None)
        ws.backlog_s -= ws.processing[ts]
        ws.processing[ts] = 0.0


def step_back(ws: WorkerState, ts: TaskState) -> None:
    """The task takes its slots again."""
    if ws.aside.get(ts, False):
        ws.aside[ts] = False
        ws.n_aside -= 1
        ws.slots_taken += ts.options.slots


def keep(ws: WorkerState, actor: TaskState) -> None:
    """The actor lives on the worker from now on and takes its resources, but no slot."""
    ws.actors[actor] = None
    _take(ws, actor.options)


def bury(ws: WorkerState, actor: TaskState) -> None:
    """The actor lives there no longer."""
    if actor in ws.actors:
        del ws.actors[actor]
        _give_back(ws, actor.options)


def taken(ws: WorkerState, options: Options) -> tuple[tuple[str, float], ...]:
    """What a task with these options takes of the worker's resources.

    That is what it asks for; a wish that the worker could never grant takes nothing of it.
    """
    if not options.loose:
        return options.resources
    total = ws.resources
    return tuple([pair for pair in options.resources if total.get(pair[0], 0.0) >= pair[1]])


def affords(ws: WorkerState, options: Options) -> bool:
    """Whether what a task with these options takes of the worker's resources is free there."""
    free = ws.free
    for name, amount in taken(ws, options):
        if free.get(name, 0.0) < amount - CLOSE * amount:
            return False
    return True


def _take(ws: WorkerState, options: Options) -> None:
    free = ws.free
    for name, amount in taken(ws, options):
        if name in free:
            left = free[name] - amount
            free[name] = left if abs(left) > CLOSE * amount else 0.0


def _give_back(ws: WorkerState, options: Options) -> None:
    free = ws.free
    for name, amount in taken(ws, options):
        if name in free:
            left = free[name] + amount
            total = ws.resources[name]
            free[name] = left if abs(left - total) > CLOSE * total else total
