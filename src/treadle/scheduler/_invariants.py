"""What must be true of the scheduler's books between any two steps.

`check` derives everything anew from the relations and compares. Tests call it after every step; it
costs as much as there are tasks. `check_task` looks at one task, and costs as much as it has
neighbours. Each complaint is an `AssertionError` that tells the task's story.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from treadle.scheduler._books import FORGETFUL, LINGERING, Books
from treadle.scheduler._demand import could_ever, pleases
from treadle.scheduler._occupancy import taken
from treadle.scheduler._queue_checks import check as check_queues
from treadle.scheduler._relations import Relation, each, has, size
from treadle.scheduler._shared_checks import check_shared
from treadle.scheduler._task import ACTIVE, TaskState
from treadle.scheduler._transitions import (
    ERRED,
    FORGOTTEN,
    MEMORY,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    STATES,
    WAITING,
    tell,
)
from treadle.scheduler._worker import WorkerState

if TYPE_CHECKING:
    from treadle.scheduler._client import ClientState
    from treadle.scheduler._groups import TaskGroup
    from treadle.scheduler._machine import Scheduler

_CLOSE = 1e-6


def check(scheduler: Scheduler) -> None:
    """Raise `AssertionError`, with the story of the first task whose books do not balance."""
    books = scheduler.books
    if books.slack:
        _fail(books.slack[0], "may be unneeded, and the step has ended without looking")
    if books.outbox:
        raise AssertionError(f"the step has ended with messages unsent: {books.outbox}")
    for id, ts in books.tasks.items():
        if ts.id != id:
            _fail(ts, f"is filed under {id!r}")
        check_task(books, ts)
    _check_attempts(books)
    for ws in books.workers.values():
        _check_worker(books, ws)
    _check_clients(books)
    _check_groups(books)
    check_queues(books)
    check_shared(books)


def check_task(books: Books, ts: TaskState) -> None:
    """Raise `AssertionError`, with its story, if what is written of one task cannot all be true."""
    if not _known(books, ts):
        _fail(ts, "is looked at, and not in the books")
    if not RELEASED <= ts.code < FORGOTTEN:
        _fail(ts, f"is in the books in the state {ts.state!r}")
    _check_links(books, ts)
    _check_counts(ts)
    _check_state(books, ts)
    _check_need(ts)
    _check_inputs(ts)
    _check_places(books, ts)
    _check_rare(books, ts)


# --- one task ----------------------------------------------------------------------------------


def _fail(ts: TaskState, what: str) -> NoReturn:
    raise AssertionError(f"task {ts.key} ({ts.state}) {what}; {tell(ts)}")


def _check_links(books: Books, ts: TaskState) -> None:
    """Every relation is kept from both of its ends, and nobody is linked to what is gone."""
    _check_shape(ts, "dependencies", ts.deps)
    _check_shape(ts, "dependents", ts.dependers)
    _check_shape(ts, "holders", ts.holders)
    _check_shape(ts, "wanters", ts.wanters)
    for dep in each(ts.deps):
        if not _known(books, dep):
            _fail(ts, f"depends on {dep.key}, which is not in the books")
        if not has(dep.dependers, ts):
            _fail(ts, f"depends on {dep.key}, which does not know it")
    for other in each(ts.dependers):
        if not _known(books, other):
            _fail(ts, f"has the dependent {other.key}, which is not in the books")
        if not has(other.deps, ts):
            _fail(ts, f"has the dependent {other.key}, which does not know it")
    for client in each(ts.wanters):
        if books.clients.get(client.peer) != client:
            _fail(ts, f"is wanted by {client.peer}, who has left")
        if ts not in client.wants_what:
            _fail(ts, f"is wanted by {client.peer}, who does not know it")
    for ws in each(ts.holders):
        if books.workers.get(ws.id) != ws:
            _fail(ts, f"is held by worker {ws.id}, which is gone")
        if ts not in ws.has_what:
            _fail(ts, f"is held by worker {ws.id}, which does not know it")


def _known(books: Books, ts: TaskState) -> bool:
    return books.tasks.get(ts.id) is ts


def _check_shape(ts: TaskState, name: str, relation: Relation) -> None:
    members = list(each(relation))
    if len({id(member) for member in members}) != len(members):
        _fail(ts, f"has somebody twice among its {name}")
    if relation is not None and (not members or (type(relation) is tuple and len(members) < 2)):
        _fail(ts, f"keeps {len(members)} {name} in a {type(relation).__name__}")


def _check_counts(ts: TaskState) -> None:
    """The counters are the sizes of the sets that the page shows."""
    missing = sum(dep.code != MEMORY for dep in each(ts.deps))
    if ts.code != WAITING:
        missing = 0
    if ts.n_waiting_on != missing:
        _fail(ts, f"counts {ts.n_waiting_on} dependencies to wait for; there are {missing}")
    active = sum(other.code in ACTIVE for other in each(ts.dependers))
    if ts.n_waiters != active:
        _fail(ts, f"counts {ts.n_waiters} waiters; there are {active}")
    if not ts.waiting_on <= ts.dependencies or len(ts.waiting_on) != missing:
        _fail(ts, "shows a waiting_on that is not what it waits for")
    if not ts.waiters <= ts.dependents or len(ts.waiters) != active:
        _fail(ts, "shows waiters that are not its active dependents")


def _check_state(books: Books, ts: TaskState) -> None:
    """What is set iff the task is in a certain state."""
    code = ts.code
    if (ts.holders is not None) != (code == MEMORY):
        _fail(ts, f"has {size(ts.holders)} holders")
    if (ts.processing_on is not None) != (code == PROCESSING):
        _fail(ts, f"is processed by {ts.processing_on}")
    if (ts.exception_blame is not None) != (code == ERRED):
        _fail(ts, f"blames {ts.exception_blame}")
    if (ts.failure is not None) != (code == ERRED and ts.exception_blame is ts):
        _fail(ts, f"has the exception {ts.failure} and blames {ts.exception_blame}")
    if ts.exception_blame is not None and ts.exception_blame.failure is None:
        _fail(ts, f"blames {ts.exception_blame.key}, which has not failed")
    if code == MEMORY and ts.nbytes is None:
        _fail(ts, "has a result of unknown size")
    if ts.attempt > books.attempts or (ts.attempt == 0 and code in (PROCESSING, MEMORY)):
        _fail(ts, f"has the attempt {ts.attempt}; the newest of all is {books.attempts}")


def _check_need(ts: TaskState) -> None:
    """Nothing lives that nobody needs, but the lineage of what lives."""
    code = ts.code
    if code in (*ACTIVE, MEMORY):
        # A call that its actor has been sent may have changed it: it runs to its end.
        if not ts.needed and not (code == PROCESSING and ts.home is not None):
            _fail(ts, "is needed by nobody")
    elif not ts.needed and ts.dependers is None:
        _fail(ts, "is needed by nobody, and nothing depends on it")
    if code == RELEASED:
        if ts.needed and ts.run_spec is not None:
            _fail(ts, "is needed, and nothing is done about it")
        if not ts.needed and not ts.repeatable:
            _fail(ts, "cannot be computed again, and is kept")
    if ts.run_spec is None and code not in (RELEASED, MEMORY, ERRED):
        _fail(ts, "is data that somebody tries to compute")


def _check_inputs(ts: TaskState) -> None:
    """What an active task lacks is under way; one that can never be processed is not active."""
    code = ts.code
    if code not in ACTIVE:
        return
    if code != PROCESSING and ts.has_lost_dependencies:
        _fail(ts, "has lost dependencies, and is to be processed")
    for dep in each(ts.deps):
        if dep.code == MEMORY or dep.code in ACTIVE:
            continue
        if dep.code == RELEASED and dep.run_spec is None:
            continue  # a client is about to give it to a worker
        if dep.code == ERRED and code == PROCESSING:
            continue  # it may have its input already
        _fail(ts, f"needs {dep.key}, which is {dep.state}")
    if code == NO_WORKER:
        lacks = [dep.key for dep in each(ts.deps) if dep.code != MEMORY]
        if lacks:
            _fail(ts, f"lacks {lacks}, so it is not known whether anybody could run it")


def _check_places(books: Books, ts: TaskState) -> None:
    """No-worker iff no registered worker could ever run it."""
    if ts.code == PROCESSING:
        ws = ts.processing_on
        assert ws is not None
        if books.workers.get(ws.id) is not ws or ts not in ws.processing:
            _fail(ts, f"is processed by worker {ws.id}, which does not know it")
        options = ts.options
        if ts.home is None and not (options.loose or pleases(ws, options)):
            _fail(ts, f"is processed by worker {ws.id}, where it may not be")
        return
    if ts.code != NO_WORKER and (ts.code != WAITING or ts.n_waiting_on):
        return
    if ts.home is not None:
        return  # it goes where its actor lives
    fit = [ws.id for ws in books.workers.values() if could_ever(ws, ts.options, books.now)]
    if bool(fit) != (ts.code == WAITING):
        _fail(ts, f"could run on {fit or 'no worker'}")


def _check_rare(books: Books, ts: TaskState) -> None:
    """Actors live on one worker; their calls go there and nowhere else."""
    rare = ts.rare
    if rare is None:
        return
    if rare.suspicious < 0 or (ts.retries < 0):
        _fail(ts, "has been tried too often")
    if rare.suspicious >= books.policy.deaths and ts.code not in (ERRED, RELEASED):
        _fail(ts, f"was involved in {rare.suspicious} deaths")
    if rare.rows is not None:
        if rare.n_rows < 1 or len(ts.own_rows) != rare.n_rows:
            _fail(ts, f"has {len(ts.own_rows)} rows, and should have {rare.n_rows}")
    elif (rare.n_rows, rare.first_row) != (1, 0):
        _fail(ts, f"is no bundle, and has {rare.n_rows} rows")
    if rare.actor and ts.code == MEMORY:
        homes = [ws.id for ws in each(ts.holders) if ts in ws.actors]
        if len(homes) != 1 or size(ts.holders) != 1:
            _fail(ts, f"is an actor that lives on {homes}")
    home = rare.home
    if home is None:
        return
    if not home.actor:
        _fail(ts, f"is a call of {home.key}, which is no actor")
    if ts.code == PROCESSING and home.code == MEMORY and not has(home.holders, ts.processing_on):
        _fail(ts, f"is a call of {home.key}, and processed elsewhere")


# --- the tables --------------------------------------------------------------------------------


def _check_attempts(books: Books) -> None:
    """No two tasks share an attempt, but parts of one bundle."""
    seen: dict[int, TaskState] = {}
    for ts in books.tasks.values():
        if ts.attempt and ts.code in (PROCESSING, MEMORY):
            other = seen.setdefault(ts.attempt, ts)
            if other is not ts and not _of_one_bundle(ts, other):
                _fail(ts, f"has the attempt {ts.attempt}, and so has {other.key}")


def _of_one_bundle(ts: TaskState, other: TaskState) -> bool:
    if ts.rare is None or other.rare is None or ts.rare.rows is None:
        return False
    return ts.rare.rows is other.rare.rows


def _check_worker(books: Books, ws: WorkerState) -> None:
    """What a worker has and does is what its tasks say, and what is free is what they leave."""
    slots = 0
    free = dict(ws.resources)
    for ts in ws.processing:
        if ts.processing_on is not ws or not _known(books, ts):
            _fail(ts, f"stands in worker {ws.id}'s processing")
        if ts.home is None:
            slots += 0 if ws.aside.get(ts, False) else ts.options.slots
            _take(ws, free, ts)
    for ts in ws.has_what:
        if not has(ts.holders, ws) or not _known(books, ts):
            _fail(ts, f"stands in worker {ws.id}'s has_what")
    for ts in ws.actors:
        if not ts.actor or ts.code != MEMORY or not has(ts.holders, ws):
            _fail(ts, f"stands in worker {ws.id}'s actors")
        _take(ws, free, ts)
    for ts in (*ws.executing, *ws.suspects, *ws.unlisted, *ws.aside):
        if ts not in ws.processing:
            _fail(ts, f"executes, is a suspect, unlisted or aside on {ws.id}, which has it not")
    suspects = [
        ts
        for ts in ws.processing
        if ts.suspicious and ts.home is None and ts.options.slots and ts not in ws.aside
    ]
    for ts in suspects:
        if ts not in ws.suspects:
            _fail(ts, f"is a suspect; worker {ws.id} does not know that")
    found: dict[str, tuple[float, float]] = {
        "slots taken": (ws.slots_taken, slots),
        "tasks aside": (ws.n_aside, sum(ws.aside.values())),
        "bytes": (ws.nbytes, sum(ts.nbytes or 0 for ts in ws.has_what)),
        "seconds of backlog": (ws.backlog_s, sum(ws.processing.values())),
        "suspects": (len(ws.suspects), len(suspects)),
        # Parts of one bundle share an attempt, and count as one.
        "suspects together": (max(len({ts.attempt for ts in suspects}), 1), 1),
        "resources": (len(ws.free), len(free)),
    }
    for name, amount in free.items():
        found[f"free {name}"] = (ws.free.get(name, -1.0), amount)
        if amount < -_CLOSE:
            raise AssertionError(f"worker {ws.id} has {amount} of {name} left")
    for name, (kept, true) in found.items():
        if abs(kept - true) > _CLOSE * max(1.0, abs(true)):
            raise AssertionError(f"worker {ws.id} counts {kept} {name}; there are {true}: {ws}")


def _take(ws: WorkerState, free: dict[str, float], ts: TaskState) -> None:
    for name, amount in taken(ws, ts.options):
        free[name] -= amount


def _check_clients(books: Books) -> None:
    forgetful = books.clients.get(FORGETFUL)
    if forgetful is None or forgetful.real:
        raise AssertionError("nobody wants what was fired and forgotten")
    for peer, client in books.clients.items():
        if client.peer != peer:
            raise AssertionError(f"{client} is filed under {peer!r}")
        _check_wants(books, client)


def _check_wants(books: Books, client: ClientState) -> None:
    for ts in client.wants_what:
        if not has(ts.wanters, client) or not _known(books, ts):
            _fail(ts, f"is wanted by {client.peer}, and does not know it")
        if client.peer == FORGETFUL and ts.code in (MEMORY, ERRED):
            _fail(ts, "has ended, and was only wanted to end")
        if client.peer == LINGERING and ts not in books.lingering:
            _fail(ts, "lingers, and nobody knows for how long")


def _check_groups(books: Books) -> None:
    """Groups and prefixes count their tasks, and none is kept that has none."""
    counts: dict[tuple[str, int], list[int]] = {}
    for ts in books.tasks.values():
        group = ts.group
        if books.groups.get(group.key) is not group:
            _fail(ts, f"belongs to the group {group.name}, which is not in the books")
        counts.setdefault(group.key, [0] * len(STATES))[ts.code] += 1
    for key, group in books.groups.items():
        _check_group(books, group, counts.get(key, [0] * len(STATES)))
    for name, prefix in books.prefixes.items():
        if prefix.name != name:
            raise AssertionError(f"{prefix} is filed under {name!r}")
        for key, group in prefix.groups.items():
            if books.groups.get(key) is not group:
                raise AssertionError(f"{prefix} lists {group}, which is not in the books")


def _check_group(books: Books, group: TaskGroup, counts: list[int]) -> None:
    prefix = group.prefix
    if books.prefixes.get(prefix.name) is not prefix or prefix.groups.get(group.key) is not group:
        raise AssertionError(f"{group} is not a group of its prefix {prefix}")
    if group.counts[1:FORGOTTEN] != counts[1:FORGOTTEN]:
        raise AssertionError(f"{group} counts {group.counts}; its tasks are {counts}")
    if group.n_tasks != sum(counts) or not group.n_tasks:
        raise AssertionError(f"{group} counts {group.n_tasks} tasks; there are {sum(counts)}")
