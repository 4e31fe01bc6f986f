"""Which clause of what a task asks for keeps it from which workers.

Two questions: why a worker could never run it, and why a worker that could does not run it now.
The answers are counted over all workers, the most frequent first.
"""

from __future__ import annotations

from collections.abc import Callable

from treadle.scheduler._books import Books
from treadle.scheduler._demand import lives_long_enough
from treadle.scheduler._occupancy import CLOSE, taken
from treadle.scheduler._task import TaskState
from treadle.scheduler._words import listed, named, nbytes, seconds
from treadle.scheduler._worker import WorkerState

#: Workers that one clause keeps from a task.
Kept = list[WorkerState]


def misfit(ws: WorkerState, ts: TaskState, now: float) -> str:
    """The first clause by which the worker could never run the task; empty if it could."""
    options = ts.options
    if ws.draining:
        return "draining"
    if options.slots > ws.slots:
        return "slots"
    if not lives_long_enough(ws, options, now):
        return "ends"
    if options.loose:
        return ""
    bound = options.hosts or options.workers
    if bound and ws.host not in options.hosts and ws.id not in options.workers:
        return "place"
    for name, amount in options.resources:
        if ws.resources.get(name, 0.0) < amount:
            return name
    return ""


def hindrance(books: Books, ws: WorkerState, ts: TaskState) -> str:
    """The first clause by which a worker that fits cannot take the task now; empty if it can."""
    if not ws.linked:
        return "absent"
    if ws.paused:
        return "paused"
    if ts.suspicious and ws.suspects and ts.options.slots:
        return "suspect"
    if ts.rare is not None and ts.rare.avoid == ws.id:
        return "left"
    for name, amount in taken(ws, ts.options):
        if ws.free.get(name, 0.0) < amount - CLOSE * amount:
            return name
    if ts.options.slots and ts.options.slots > ws.slots - ws.slots_taken:
        return "slots"
    if ws in books.queues.crowded and ws.slots_taken and not ts.nested:
        return "crowded"
    room = books.queues.rooms.get(ws)
    return "kept" if room is not None and room.held_for is not None else ""


def misfits(books: Books, ts: TaskState, now: float) -> str:
    """Why no worker could ever run it, in words."""
    kept = _gather(books, lambda ws: misfit(ws, ts, now))
    return _told(kept, lambda clause, workers: _misfit(ts, clause, workers, now))


def hindrances(books: Books, ts: TaskState, now: float) -> tuple[int, str]:
    """How many workers could run it, and why none of them does now, in words."""
    fit = [ws for ws in books.workers.values() if not misfit(ws, ts, now)]
    kept: dict[str, Kept] = {}
    for ws in fit:
        kept.setdefault(hindrance(books, ws, ts), []).append(ws)
    return len(fit), _told(
        kept, lambda clause, workers: _hindrance(books, ts, clause, workers, now)
    )


def _gather(books: Books, clause_of: Callable[[WorkerState], str]) -> dict[str, Kept]:
    kept: dict[str, Kept] = {}
    for ws in books.workers.values():
        kept.setdefault(clause_of(ws), []).append(ws)
    return kept


def _told(kept: dict[str, Kept], say: Callable[[str, Kept], str]) -> str:
    most = sorted(kept.items(), key=lambda item: -len(item[1]))
    return listed([f"{len(workers)} {say(clause, workers)}" for clause, workers in most])


def _misfit(ts: TaskState, clause: str, workers: Kept, now: float) -> str:
    options = ts.options
    one = len(workers) == 1
    have, are = ("has", "is") if one else ("have", "are")
    if clause == "draining":
        return f"{are} draining ({named([ws.id for ws in workers], 'worker')})"
    if clause == "slots":
        most = max(ws.slots for ws in workers)
        return f"{have} too few slots (it takes {options.slots}, the most is {most})"
    if clause == "ends":
        last = max(ws.ends_at or now for ws in workers)
        wall = seconds(options.walltime_s or 0.0)
        what = "in a block that ends" if one else "in blocks that end"
        return f"{are} {what} too early (in {seconds(last - now)}; its walltime is {wall})"
    if clause == "place":
        return f"{are} elsewhere than it may run ({_places(options.hosts, options.workers)})"
    if clause == "":
        return "could run it"
    needs = next((amount for name, amount in options.resources if name == clause), 0.0)
    most_of = max(ws.resources.get(clause, 0.0) for ws in workers)
    return f"{have} too little {clause} (it needs {needs:g}, the most is {most_of:g})"


def _places(hosts: tuple[str, ...], workers: tuple[str, ...]) -> str:
    places = [named([repr(host) for host in hosts], "host")] if hosts else []
    if workers:
        places.append(named([repr(id) for id in workers], "worker"))
    return " or ".join(places)


def _hindrance(books: Books, ts: TaskState, clause: str, workers: Kept, now: float) -> str:
    options = ts.options
    one = len(workers) == 1
    have, are = ("has", "is") if one else ("have", "are")
    who = named([ws.id for ws in workers], "worker")
    if clause == "absent":
        since = min(ws.lost_at for ws in workers)
        lease = seconds(books.policy.lease_s)
        return f"{have} no link ({who}; since {seconds(now - since)} of {lease})"
    if clause == "paused":
        used = sum(ws.memory_used for ws in workers)
        return f"{are} paused until memory is free ({who}; {nbytes(used)} used)"
    if clause == "suspect":
        return f"{have} another task that was involved in a death ({who})"
    if clause == "left":
        return f"had it before ({who}), and it asked to be moved"
    if clause == "slots":
        taken, slots = sum(ws.slots_taken for ws in workers), sum(ws.slots for ws in workers)
        needs = f", it takes {options.slots}" if options.slots > 1 else ""
        return f"{have} no room (slots taken: {taken} of {slots}{needs})"
    if clause == "crowded":
        waiting = sum(ws.n_aside for ws in workers)
        return (
            f"{have} many tasks that wait for others ({who}; {waiting}), and {'takes' if one else 'take'}"
            " what these have submitted"
        )
    if clause == "kept":
        return f"{are} kept free for a task that needs more ({who})"
    if clause == "":
        return f"could take it ({who}), and it waits for its turn or a better one"
    free = sum(max(ws.free.get(clause, 0.0), 0.0) for ws in workers)
    total = sum(ws.resources.get(clause, 0.0) for ws in workers)
    keeps = sum(
        dict(other.options.resources).get(clause, 0.0)
        for ws in workers
        for other, aside in ws.aside.items()
        if aside
    )
    kept = f", {keeps:g} by tasks that wait for others" if keeps else ""
    needs_of = next((amount for name, amount in options.resources if name == clause), 0.0)
    return f"{have} too little {clause} free ({who}; {free:g} of {total:g}{kept}, it needs {needs_of:g})"
