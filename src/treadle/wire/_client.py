"""Messages between a client and the scheduler.

A client gives tasks, says which results it wants and is told how they ended. A request that wants
an answer carries a number of the client's, `ask`; the answer brings it back.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from treadle.wire._terms import (
    MAX_ITEMS,
    NUMBER_BITS,
    SESSION_BITS,
    Amount,
    Bytes,
    Count,
    Failure,
    Finite,
    Ids,
    Message,
    Name,
    Seconds,
    Serial,
    TaskId,
    Text,
    WorkerIds,
)


class Options(Struct, frozen=True, array_like=True, gc=False):
    """What a task asks for. Equal ones are one object at the scheduler.

    `priority`: lower first. `retries`: how often an exception is tried again. `slots`: slot
    processes it takes; 0: it runs beside them, in a process of its own, out of turn. `resources`: amounts by name, sorted by name. `hosts`, `workers`: where it
    may run (none: anywhere); with `loose` these and the resources are wishes. `walltime_s`: how
    long an attempt may take.
    """

    priority: Finite = 0.0
    retries: Count = 0
    slots: Annotated[int, Meta(ge=0, le=4096)] = 1
    resources: Annotated[tuple[tuple[Name, Amount], ...], Meta(max_length=64)] = ()
    hosts: WorkerIds = ()
    workers: WorkerIds = ()
    loose: bool = False
    walltime_s: Seconds | None = None


class TaskSpec(Struct, frozen=True, array_like=True, gc=False):
    """A task as a client describes it.

    `name`: what kind of work it is; durations are learned for it. `run_spec`: opaque. `options`:
    index into the message's table. `actor`: it makes an actor. `home`: it is a call of this actor,
    and runs there, in order. `rows`: it is a bundle, one task for that many rows of a map; row `i`
    has the identifier `id + i`. `metadata`: shown, never read.
    """

    id: TaskId
    name: Name
    run_spec: bytes
    dependencies: Ids = ()
    options: Count = 0
    actor: bool = False
    home: TaskId | None = None
    rows: Annotated[tuple[bytes, ...], Meta(max_length=MAX_ITEMS)] = ()
    metadata: dict[str, Any] | None = None


class DataSpec(Struct, frozen=True, array_like=True, gc=False):
    """Data that a client is about to give to workers."""

    id: TaskId
    name: Name
    nbytes: Bytes
    type: Name = ""


class AttemptRow(Struct, frozen=True, array_like=True, gc=False):
    """How an earlier attempt of a task ended, for those who count failures."""

    attempt: Serial
    worker: Name
    failure: Failure


Tasks = Annotated[tuple[TaskSpec, ...], Meta(max_length=MAX_ITEMS)]
Table = Annotated[tuple[Options, ...], Meta(max_length=MAX_ITEMS)]
Rows = Annotated[tuple[AttemptRow, ...], Meta(max_length=1_000)]

Spans = Annotated[
    tuple[tuple[Annotated[int, Meta(ge=0, le=2 ** (NUMBER_BITS + SESSION_BITS) - 1)], Count], ...],
    Meta(max_length=MAX_ITEMS),
]


# --- a client asks -----------------------------------------------------------------------------


class Attach(Message, frozen=True, gc=False):
    """Here I am, or here I am again: what I want is kept for `lease_s` after my link is lost."""

    session: Annotated[int, Meta(ge=0, le=2**SESSION_BITS - 1)]
    name: Name = ""
    lease_s: Seconds = 30.0


class Submit(Message, frozen=True, gc=False):
    """New tasks. `wants`: which results the client wants (None: all). `graph`: they came at once
    and are one piece of work, to be ordered depth first; else in the order given. `parent`: they
    were submitted from within this task, so they come before all that has not begun."""

    tasks: Tasks
    options: Table = (Options(),)
    wants: Ids | None = None
    graph: bool = False
    parent: TaskId | None = None


class Desire(Message, frozen=True, gc=False):
    """I want these results too."""

    ids: Ids


class Release(Message, frozen=True, gc=False):
    """I want these no longer."""

    ids: Ids


class Cancel(Message, frozen=True, gc=False):
    """Stop these tasks, and what depends on them, as far as nobody else wants them (`force`:
    whoever wants them). `waiting`: only those that no worker has been given yet."""

    ids: Ids
    force: bool = False
    reason: Name = ""
    waiting: bool = False


class ReleaseRows(Message, frozen=True, gc=False):
    """I want these rows of my bundles no longer: each span is a row, and how many from it on. What
    is told together with rows that I want is not meant; of what waits, rows are cut out."""

    spans: Spans


class CancelRows(Message, frozen=True, gc=False):
    """Stop these rows of bundles, as `Cancel` does. Other rows of theirs go on; those that a worker
    was given with one of these begin again."""

    spans: Spans
    force: bool = False
    reason: Name = ""


class Retry(Message, frozen=True, gc=False):
    """Try these erred tasks again, from the first that failed."""

    ids: Ids


class FireAndForget(Message, frozen=True, gc=False):
    """Run these to their end, whoever may have lost interest."""

    ids: Ids


class Scatter(Message, frozen=True, gc=False):
    """I have this data; tell me which workers to give it to (`Upload`).

    `copies`: on how many workers each item shall be. `patient`: while there is no worker that may
    have it, it is known, and waits for the first that comes; else it is refused. `keeps`: I keep it
    for as long as I want it, and give it again if it is lost.
    """

    ask: Serial
    items: Annotated[tuple[DataSpec, ...], Meta(max_length=MAX_ITEMS)]
    workers: WorkerIds = ()
    copies: Count = 1
    patient: bool = False
    keeps: bool = False


class Replicate(Message, frozen=True, gc=False):
    """See to it that each result is on `copies` workers."""

    ask: Serial
    ids: Ids
    copies: Count
    workers: WorkerIds = ()


class Rebalance(Message, frozen=True, gc=False):
    """Move results (none named: all) from full workers to emptier ones."""

    ask: Serial
    ids: Ids = ()
    workers: WorkerIds = ()


class Publish(Message, frozen=True, gc=False):
    """Keep these results under a name, whoever leaves. `note` is the publisher's own."""

    ask: Serial
    name: Name
    ids: Ids
    note: bytes = b""
    override: bool = False


class Unpublish(Message, frozen=True, gc=False):
    """Keep what has this name no longer."""

    ask: Serial
    name: Name


class GetPublished(Message, frozen=True, gc=False):
    """What stands under this name? Answer: [ids, note]."""

    ask: Serial
    name: Name


class ListPublished(Message, frozen=True, gc=False):
    """Which names are there? Answer: sorted names."""

    ask: Serial


class WhoHas(Message, frozen=True, gc=False):
    """Where are these results? Answer: one sorted list of workers for each."""

    ask: Serial
    ids: Ids


class HasWhat(Message, frozen=True, gc=False):
    """What do these workers (none named: all) hold? Answer: {worker: shown keys}."""

    ask: Serial
    workers: WorkerIds = ()


class Explain(Message, frozen=True, gc=False):
    """Why is this task where it is? Answer: one sentence."""

    ask: Serial
    id: TaskId


class Story(Message, frozen=True, gc=False):
    """What has happened to this task? Answer: lines, oldest first."""

    ask: Serial
    id: TaskId


class Retire(Message, frozen=True, gc=False):
    """Drain these workers: their data moves away, then they may go.

    `careful`: not if an actor lives or is being made on one of them, for it cannot move and would
    keep its worker: an error says so, and nothing is done.
    """

    ask: Serial
    workers: WorkerIds
    careful: bool = False


class ClientBeat(Message, frozen=True, gc=False):
    """I am alive. Answer: `Beaten`."""

    number: Serial


class Leave(Message, frozen=True, gc=False):
    """Goodbye; I want nothing any longer."""


# --- the scheduler tells -----------------------------------------------------------------------


class Attached(Message, frozen=True, gc=False):
    """You are known. `resumed`: and were before, so what you wanted is still wanted, as far as it
    is known; how it ended is told again.

    Answer with `Desire` of all you still want: what was cancelled or forgotten while you were away
    comes back in a `Refused`.
    """

    session: Serial
    resumed: bool


class Done(Message, frozen=True, gc=False):
    """A result is there. `inline`: its bytes, if they are few. `earlier`: attempts that failed.

    Who does not want it (any longer) answers `Release`.
    """

    id: TaskId
    nbytes: Bytes
    type: Name
    holders: WorkerIds
    inline: bytes | None = None
    rows: Count = 1
    earlier: Rows = ()


class Erred(Message, frozen=True, gc=False):
    """There is no result. `blame`: the task whose failure it is, itself or one it depends on."""

    id: TaskId
    failure: Failure
    blame: TaskId
    rows: Count = 1
    earlier: Rows = ()


class Cancelled(Message, frozen=True, gc=False):
    """The task was stopped because somebody asked for it."""

    id: TaskId
    reason: Name
    rows: Count = 1


class Lost(Message, frozen=True, gc=False):
    """The result was there, is gone, and is being computed again."""

    id: TaskId
    rows: Count = 1


class Retried(Message, frozen=True, gc=False):
    """The task had erred and is tried again."""

    id: TaskId
    rows: Count = 1


class Upload(Message, frozen=True, gc=False):
    """Give each item, as this attempt, to these workers (answer to `Scatter`, or again after a
    worker was lost). None: it is there, or no worker is; who it is then given to is told later."""

    ask: Serial
    items: Annotated[tuple[tuple[TaskId, Serial, WorkerIds], ...], Meta(max_length=MAX_ITEMS)]


class Reply(Message, frozen=True, gc=False):
    """The answer to a request. `error`: why there is none."""

    ask: Serial
    value: Any = None
    error: Text = ""


class Refused(Message, frozen=True, gc=False):
    """A message was not carried out. `ids`: the tasks that are refused with it. `kind`: what that is
    for them, see `FAILURES`; empty: 'lost'."""

    what: Name
    reason: Text
    ids: Ids = ()
    kind: Name = ""


class Beaten(Message, frozen=True, gc=False):
    """All you sent before beat `number` has arrived."""

    number: Serial
