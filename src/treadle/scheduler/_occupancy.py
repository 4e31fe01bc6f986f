"""What a worker's tasks take of it, kept as they come and go."""

from __future__ import annotations

from treadle.scheduler._task import TaskState
from treadle.scheduler._worker import WorkerState


def take(ws: WorkerState, ts: TaskState, expected_s: float) -> None:
    """The worker has been given the task, which is expected to take that many seconds."""
    ws.processing[ts] = expected_s
    ws.backlog_s += expected_s
    ts.processing_on = ws
    rare = ts.rare
    if rare is not None:
        if rare.home is not None:
            return  # an actor's call takes what the actor has
        if rare.suspicious:
            ws.suspects[ts] = None
    options = ts.options
    ws.slots_taken += options.slots
    for name, amount in options.resources:
        if name in ws.free:  # a wish may name what the worker does not have
            ws.free[name] -= amount


def leave(ws: WorkerState, ts: TaskState) -> None:
    """The worker has the task no longer."""
    ws.backlog_s -= ws.processing.pop(ts)
    if not ws.processing:
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
    give_back(ws, ts)


def give_back(ws: WorkerState, ts: TaskState) -> None:
    """What the task (or the actor) takes is free again."""
    options = ts.options
    ws.slots_taken -= options.slots
    for name, amount in options.resources:
        if name in ws.free:
            ws.free[name] += amount
            if abs(ws.free[name] - ws.resources[name]) < 1e-9:
                ws.free[name] = ws.resources[name]


def keep(ws: WorkerState, actor: TaskState) -> None:
    """The actor lives on the worker from now on and takes its resources, but no slot."""
    ws.actors[actor] = None
    for name, amount in actor.options.resources:
        if name in ws.free:
            ws.free[name] -= amount


def bury(ws: WorkerState, actor: TaskState) -> None:
    """The actor lives there no longer."""
    if actor in ws.actors:
        del ws.actors[actor]
        for name, amount in actor.options.resources:
            if name in ws.free:
                ws.free[name] += amount
