"""Tasks come in.

A graph is ordered depth first, as a whole; tasks that come one by one are ordered as they came,
except that a task whose inputs are there or under way takes the smallest order among them: what was
begun is finished first. Nothing of a message is admitted if any of its tasks cannot be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from treadle.scheduler._books import Books
from treadle.scheduler._bundles import fault, find, owner, parts_of
from treadle.scheduler._calls import enrol
from treadle.scheduler._client import ClientState
from treadle.scheduler._end import done, erred
from treadle.scheduler._need import need
from treadle.scheduler._order import Cycle, depth_first_order
from treadle.scheduler._relations import add, each
from treadle.scheduler._release import relax, want
from treadle.scheduler._task import Rare, TaskState, first_rank
from treadle.scheduler._transitions import ERRED, MEMORY, RELEASED
from treadle.wire import NUMBER_BITS, Options, Refused, Submit, TaskId, TaskSpec

#: What the reason begins with if a key is another task's.
_KEY = "key "
#: And if an actor is gone.
_ACTOR = "actor "
#: Keys shown of a ring of tasks.
_SHOWN = 8


def submit(books: Books, client: ClientState, message: Submit) -> None:
    """Admit tasks, and have computed what the client wants of them."""
    if books.slack and any(_is_over(books, spec) for spec in message.tasks):
        relax(books)
    wrong = _first_fault(books, client, message)
    orders: Sequence[int] = range(len(message.tasks))
    if wrong is None and message.graph:
        try:
            orders = _orders(message.tasks)
        except Cycle as ring:
            keys = [str(message.tasks[node].id) for node in ring.nodes[:_SHOWN]]
            more = ", ..." if len(ring.nodes) > _SHOWN else ""
            wrong = f"tasks wait for each other in a ring: {', '.join(keys)}{more}"
    if wrong is not None:
        books.refuse("submit")
        # What is known from before goes on: the message may have been sent again.
        ids = tuple(
            spec.id
            for spec in message.tasks
            if spec.id not in books.tasks or _collision(books, spec) is not None
        )
        kind = "key" if wrong.startswith(_KEY) else "actor" if wrong.startswith(_ACTOR) else ""
        books.send(client, Refused("submit", wrong, ids, kind))
        return
    books.submissions += 1
    options = [books.options.setdefault(option, option) for option in message.options]
    base = first_rank(books.submissions)
    if message.parent is not None:
        base, options = _within(books, message, options, base)
    new = _admit(books, client, message, options, orders, base)
    if message.wants is None:
        for ts in new:
            want(ts, client)
    else:
        for id in message.wants:
            desire(books, client, id)
    for ts in new:
        if ts.code == RELEASED and ts.needed:
            need(books, ts)
    if message.wants is None and len(new) < len(message.tasks):
        told = dict.fromkeys(new)
        for spec in message.tasks:  # some were known before: they are wanted, or wanted again
            for ts in tuple(parts_of(books, spec.id, len(spec.rows))):
                if ts not in told:
                    desire(books, client, ts.id)
    books.slack += [ts for ts in new if ts.code == RELEASED and not ts.needed]


def _within(
    books: Books, message: Submit, options: list[Options], base: int
) -> tuple[int, list[Options]]:
    """The rank that tasks begin at which were submitted from within a task, and their options.

    They come right before that task, so before all that has not begun: else what waits for them
    would wait for a whole queue, and all of a queue could begin and wait. They are as urgent as it
    is, unless it is said how urgent they are.
    """
    assert message.parent is not None
    parent = owner(books, message.parent)
    if parent is None:
        return base, options
    priority = parent.options.priority
    if priority:
        options = [
            option if option.priority else replace(option, priority=priority) for option in options
        ]
        options = [books.options.setdefault(option, option) for option in options]
    return parent.rank - len(message.tasks), options


def _is_over(books: Books, spec: TaskSpec) -> bool:
    """Whether a key is known for what nobody needs any longer, and would be served by its past.

    A frame may let go of a task that has failed, and submit it again.
    """
    ts = books.tasks.get(spec.id)
    return ts is not None and not ts.needed and (ts.code == ERRED or ts.run_spec != spec.run_spec)


def _admit(
    books: Books,
    client: ClientState,
    message: Submit,
    options: list[Options],
    orders: Sequence[int],
    base: int,
) -> list[TaskState]:
    tasks = books.tasks
    specs = message.tasks
    number = books.submissions if message.graph else client.session
    name = group = None
    new = []
    for spec, order in zip(specs, orders, strict=True):
        if spec.id in tasks:
            continue
        if spec.name != name or group is None or not group.n_tasks:
            name = spec.name
            group = books.group_of(name, number)
        option = options[spec.options]
        ts = TaskState(spec.id, spec.run_spec, group, option, base + order)
        ts.retries = option.retries
        tasks[spec.id] = ts
        group.n_tasks += 1
        group.counts[RELEASED] += 1
        new.append(ts)
        if spec.actor or spec.home is not None or spec.rows or spec.metadata is not None:
            ts.rare = _rare(spec)
            if len(spec.rows) > 1:
                books.spans.add(tasks, ts)
    # A graph may name a task before it describes it: link when all are there.
    for spec in specs:
        if spec.dependencies or spec.home is not None:
            ts = tasks[spec.id]
            if ts.deps is None and ts.code == RELEASED:
                _link(books, ts, spec, graph=message.graph)
    return new


def _link(books: Books, ts: TaskState, spec: TaskSpec, *, graph: bool) -> None:
    tasks = books.tasks
    deps = None
    rank = ts.rank
    rows = []
    for id in spec.dependencies:
        dep = tasks.get(id) or books.spans.find(tasks, id)
        assert dep is not None
        if dep.rows > 1:
            assert isinstance(id, int)
            rows.append(id)
        deps = dep if deps is None else add(deps, dep)
        dep.dependers = ts if dep.dependers is None else add(dep.dependers, ts)
        if dep.rank < rank:
            rank = dep.rank
    if spec.home is not None:
        home = ts.rarely().home = tasks[spec.home]
        ts.retries = 0  # a call may have changed the actor: trying it again is not the same
        enrol(ts)
        deps = add(deps, home)
        home.dependers = add(home.dependers, ts)
    ts.deps = deps
    if rows:
        ts.rarely().rows_needed = tuple(sorted(rows))
    if not graph:
        ts.rank = rank


def _rare(spec: TaskSpec) -> Rare:
    rare = Rare(metadata=spec.metadata, actor=spec.actor)
    if spec.rows:
        rare.rows = spec.rows
        rare.n_rows = len(spec.rows)
    return rare


def _orders(specs: tuple[TaskSpec, ...]) -> list[int]:
    """Depth first, for a whole graph. Raises `Cycle` if its tasks wait for each other."""
    places = {spec.id: i for i, spec in enumerate(specs)}
    for i, spec in enumerate(specs):
        if spec.rows:
            places.update(dict.fromkeys(_rows_of(spec), i))
    return depth_first_order(
        [[places[id] for id in spec.dependencies if id in places] for spec in specs]
    )


def _rows_of(spec: TaskSpec) -> Iterable[TaskId]:
    """The identifiers of a bundle's rows; of what has no number, its own alone."""
    return range(spec.id, spec.id + len(spec.rows)) if type(spec.id) is int else (spec.id,)


def desire(books: Books, client: ClientState, id: TaskId) -> bool:
    """The client wants a task that is known; False if it is not."""
    ts = find(books, id)
    if ts is None:
        return False
    want(ts, client)
    if ts.code == RELEASED:
        need(books, ts)
    elif not client.real:
        pass
    elif ts.code == MEMORY:
        books.send(client, done(ts))
    elif ts.code == ERRED:
        books.send(client, erred(ts))
    return True


def _first_fault(books: Books, client: ClientState, message: Submit) -> str | None:
    """Why a message cannot be admitted, in words; None if it can."""
    tasks = books.tasks
    n_options = len(message.options)
    session = client.session
    #: Tasks of the message that a task may depend on: all of a graph, else those before it.
    near: dict[TaskId, TaskSpec] = {s.id: s for s in message.tasks} if message.graph else {}
    bundles = False
    for spec in message.tasks:
        id = spec.id
        if type(id) is int and id >> NUMBER_BITS != session:
            return f"task {id} is numbered by another session than yours ({session:x})"
        if spec.options >= n_options:
            return f"task {id!r} has options {spec.options}; the table has {n_options}"
        if spec.dependencies or spec.home is not None:
            for dep in spec.dependencies:
                if dep not in near and dep not in tasks and owner(books, dep) is None:
                    return f"task {id!r} depends on {dep!r}, which is not known (any longer)"
            wrong = _actor_fault(books, near, spec)
            if wrong is not None:
                return wrong
        near[id] = spec
        if spec.rows:
            bundles = True
            near.update(dict.fromkeys(_rows_of(spec), spec))
    for id in message.wants or ():
        if id not in near and owner(books, id) is None:
            return f"the result {id!r} is wanted, which is not known (any longer)"
    if bundles or books.spans.starts:
        wrong = fault(books, message.tasks)
        if wrong is not None:
            return wrong
    for spec in message.tasks:
        if spec.id in tasks:
            wrong = _collision(books, spec)
            if wrong is not None:
                return wrong
    return None


def _actor_fault(books: Books, near: dict[TaskId, TaskSpec], spec: TaskSpec) -> str | None:
    if spec.home is None:
        return None
    home = near.get(spec.home) or books.tasks.get(spec.home)
    if home is None:
        return f"{_ACTOR}{spec.home!r} of call {spec.id!r} is not known (any longer)"
    if not home.actor:
        return f"task {spec.id!r} is a call of {spec.home!r}, which is no actor"
    if spec.rows or spec.actor:
        return f"task {spec.id!r} is a call of an actor: it can be neither a bundle nor an actor"
    return None


def _collision(books: Books, spec: TaskSpec) -> str | None:
    """A key that is known for other work: an error, not the first work's result."""
    ts = books.tasks.get(spec.id)
    if ts is None:
        return None
    if ts.run_spec != spec.run_spec or ts.group.prefix.name != spec.name:
        return (
            f"{_KEY}{ts.key!r} is known for other work ({ts.group.prefix.name}, {ts.state}); "
            f"choose another key, or release that first"
        )
    owners = dict.fromkeys(owner(books, dep) for dep in spec.dependencies)
    if ts.home is not None:
        owners[ts.home] = None
    if not ts.has_lost_dependencies and owners != dict.fromkeys(each(ts.deps)):
        return f"{_KEY}{ts.key!r} is known with other dependencies; choose another key"
    return None
