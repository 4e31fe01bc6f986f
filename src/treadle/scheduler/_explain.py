"""Why a task is where it is, in one sentence.

Two rules. *A cause, not a state*: the sentence names what has to happen for the task to go on, with
numbers, and follows a chain of waiting tasks down to the one that does not wait. *Pure*: it looks
at the books and changes nothing, so it may be asked at any time. It costs a walk over the workers,
and is asked by people.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import LINGERING, Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._clauses import hindrances, misfits
from treadle.scheduler._relations import each, size
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import (
    MEMORY,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    WAITING,
)
from treadle.scheduler._words import count, first_line, named, nbytes, seconds
from treadle.scheduler._worker import WorkerState
from treadle.wire import FAILURES, TaskId


def explain(books: Books, id: TaskId, now: float) -> str:
    """Why the task is where it is, in one sentence.

    Args:
        books: of the scheduler.
        id: the task.
        now: the time, on the clock that the scheduler is told.
    """
    ts = owner(books, id)
    if ts is None:
        return (
            f"task {id!r} is not known: it was never submitted, or it is forgotten because nobody "
            "needed it any longer"
        )
    row = "" if ts.id == id else f"{id}, a row of "
    return f"task {row}{ts.key} {_why(books, ts, now)}"


def story(books: Books, id: TaskId) -> list[str]:
    """What has happened to the task, oldest first: its states, its failed attempts, and notes.

    A task that is not known has no story.
    """
    ts = owner(books, id)
    if ts is None:
        return []
    lines = [f"{ts.key}: {' > '.join(ts.story)}"]
    rare = ts.rare
    if rare is not None:
        for row in rare.earlier:
            failure = row.failure
            lines.append(
                f"attempt {row.attempt} on worker {row.worker} failed "
                f"({failure.kind}): {failure.type}: {failure.text}"
            )
        for when, text in rare.notes or ():
            lines.append(f"{seconds(books.now - when)} ago: {text}")
    if ts.attempt:
        lines.append(f"its newest attempt is number {ts.attempt}")
    wanters = [client.name or client.peer for client in each(ts.wanters)]
    if wanters:
        lines.append(f"it is wanted by {named(wanters, 'client')}")
    if ts.metadata:
        lines.append(f"its metadata: {ts.metadata!r}")
    return lines


def _why(books: Books, ts: TaskState, now: float) -> str:
    code = ts.code
    if code == RELEASED:
        return _released(books, ts)
    if code == WAITING:
        if ts.n_waiting_on:
            return _waiting(books, ts, now)
        return _in_line(ts) or _ready(books, ts, now)
    if code == NO_WORKER:
        return _no_worker(books, ts, now)
    if code == PROCESSING:
        return _processing(books, ts, now)
    if code == MEMORY:
        return _memory(books, ts, now)
    return _erred(ts)


# --- each state --------------------------------------------------------------------------------


def _released(books: Books, ts: TaskState) -> str:
    if ts.run_spec is None:
        upload = books.moves.uploads.get(ts)
        if upload is None or not upload.targets:
            return "is data that a client wants to give to a worker, and there is none to take it"
        targets = named([ws.id for ws in upload.targets], "worker")
        return f"is data that a client is giving to {targets}, and nobody has it yet"
    tasks = named([other.key for other in each(ts.dependers)], "task")
    return f"is not needed by anybody now; it stays known because {tasks} could need it again"


def _waiting(books: Books, ts: TaskState, now: float) -> str:
    missing = [dep for dep in each(ts.deps) if dep.code != MEMORY]
    n = size(ts.deps)
    of = "its only input" if n == 1 else f"{len(missing)} of its {n} inputs"
    root, steps = _root(missing)
    if len(missing) == 1 and not steps:
        return f"waits for {of}, {root.key}, which {_why(books, root, now)}"
    what = named([f"{dep.key} ({dep.state})" for dep in missing], "task")
    far = f", {count(steps, 'task')} further down," if steps else ""
    return f"waits for {of}: {what}; {root.key}{far} {_why(books, root, now)}"


def _root(missing: list[TaskState]) -> tuple[TaskState, int]:
    """Down the inputs that are missing, to a task that waits for none; and how far that is."""
    best = min(missing, key=lambda dep: dep.n_waiting_on > 0)
    steps = 0
    while best.code == WAITING and best.n_waiting_on:
        below = [dep for dep in each(best.deps) if dep.code != MEMORY]
        best = min(below, key=lambda dep: dep.n_waiting_on > 0)
        steps += 1
    return best, steps


def _in_line(ts: TaskState) -> str:
    """A call that its actor has not been sent."""
    home = ts.home
    if home is None:
        return ""
    calls = list((home.rare and home.rare.calls) or ())
    earlier = sum(other.code == WAITING for other in calls[: calls.index(ts)]) if ts in calls else 0
    if earlier:
        return f"is a call of actor {home.key}; {count(earlier, 'earlier call')} before it"
    where = "; ".join(
        f"worker {ws.id}, where that lives, is {ws.status}" for ws in each(home.holders)
    )
    return f"is the next call of actor {home.key}; {where}"


def _ready(books: Books, ts: TaskState, now: float) -> str:
    before = queues.before(books, ts)
    place = f"{count(before, 'task')} before it" if before else "no task before it"
    entry = books.queues.reserved.get(ts)
    if entry is not None:
        rest = seconds(entry.until - now)
        return (
            f"is ready, and waits for worker {entry.room.ws.id}, which has its inputs, for {rest}"
        )
    fit, clauses = hindrances(books, ts, now)
    return f"is ready, with {place}; of {count(fit, 'worker')} that could run it, {clauses}"


def _no_worker(books: Books, ts: TaskState, now: float) -> str:
    if not books.workers:
        return "has no worker to run on: there are none"
    all = count(len(books.workers), "worker")
    return f"has no worker to run on: of {all}, {misfits(books, ts, now)}"


def _processing(books: Books, ts: TaskState, now: float) -> str:
    ws = ts.processing_on
    assert ws is not None
    since = ws.executing.get(ts)
    if ws.aside.get(ts, False):
        since = now if since is None else since
        does = (
            f"runs on worker {ws.id} since {seconds(now - since)}, and takes no slot there: "
            "it waits for other tasks, or has seceded"
        )
    elif since is not None:
        beside = "" if ts.options.slots or ts.home is not None else ", beside its slots"
        does = f"runs on worker {ws.id}{beside} since {seconds(now - since)}"
    else:
        does = f"was given to worker {ws.id}"
        if ws.starts:
            others = len(ws.executing)
            runs = "others run" if others > 1 else "other runs"
            does += " and has not begun there"
            does += f", where {others} {runs}" if others else ""
    average = ts.group.prefix.duration_s
    if average is None:
        does += "; how long it takes is not known"
    else:
        does += f"; tasks like it take {seconds(average * ts.rows)}"
    return does + _silence(books, ws, now) + _tries(ts)


def _silence(books: Books, ws: WorkerState, now: float) -> str:
    lease = seconds(books.policy.lease_s)
    if not ws.linked:
        return f"; there is no link to the worker since {seconds(now - ws.lost_at)} of {lease}"
    silent = now - ws.last_seen
    if silent > 2 * books.policy.beat_s:
        return f"; the worker has said nothing for {seconds(silent)} of {lease}"
    return ""


def _tries(ts: TaskState) -> str:
    earlier = () if ts.rare is None else ts.rare.earlier
    if not earlier:
        return ""
    last = earlier[-1]
    return (
        f"; {count(len(earlier), 'earlier attempt')} failed, the last on {last.worker} with "
        f"{_failed(last.failure.type, last.failure.text)}"
    )


def _memory(books: Books, ts: TaskState, now: float) -> str:
    where = named([ws.id for ws in each(ts.holders)], "worker")
    if ts.actor:
        calls = len(ts.rare.calls or ()) if ts.rare is not None else 0
        return f"is an actor and lives on {where}, with {count(calls, 'call')} in line"
    lingers = _lingers(books, ts, now)
    return f"is done: its result, {nbytes(ts.nbytes or 0)}, is on {where}{lingers}{_tries(ts)}"


def _lingers(books: Books, ts: TaskState, now: float) -> str:
    """Whether it is kept only for somebody who may be about to want it."""
    if ts.wanters is not books.clients[LINGERING] or ts.n_waiters:
        return ""
    rest = seconds(books.lingering[ts] - now)
    return f"; nobody wants it: it is kept for {rest} more, since a future of it was pickled"


def _erred(ts: TaskState) -> str:
    blame = ts.exception_blame
    assert blame is not None
    assert blame.failure is not None
    failure = blame.failure
    who = "failed" if blame is ts else f"failed because {blame.key} did, on which it depends"
    why = FAILURES.get(failure.kind, failure.kind)
    text = f"{who}: {why}: {_failed(failure.type, failure.text)}"
    rare = blame.rare
    if rare is not None and len(rare.earlier) > 1:
        text += f", after {count(len(rare.earlier), 'attempt')}"
    if rare is not None and rare.suspicious:
        text += f", involved in {count(rare.suspicious, 'death')}"
    return text


def _failed(type: str, text: str) -> str:
    line = first_line(text)
    return f"{type}: {line}" if line else type
