"""A task as the scheduler sees it.

What the page of `TaskState` names are properties here: they show what is stored smaller. A relation
is kept as `_relations` has it, `waiting_on` and `waiters` are counted, a key that nobody chose is
derived from its number, and what few tasks need stands in a record of its own, made when first
touched. Fields change only inside the machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from treadle.scheduler._relations import Relation, each, size
from treadle.scheduler._transitions import (
    ERRED,
    MEMORY,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    STATES,
    WAITING,
    states_of,
)
from treadle.wire import NUMBER_BITS, AttemptRow, Failure, Options, TaskId, WorkerId

if TYPE_CHECKING:
    from treadle.scheduler._client import ClientState
    from treadle.scheduler._groups import TaskGroup, TaskPrefix
    from treadle.scheduler._worker import WorkerState

#: Ranks hold the submission above these bits, and the order within it below.
_ORDER_BITS = 32
_ORDER_MASK = (1 << _ORDER_BITS) - 1
#: Of the first in a submission. What is submitted from within a task comes before that task.
_FIRST_ORDER = 1 << _ORDER_BITS - 1

#: States in which a task needs the results of its dependencies.
ACTIVE = (WAITING, NO_WORKER, PROCESSING)

DEFAULT_OPTIONS = Options()


def first_rank(submission: int) -> int:
    """The rank of the first task of a submission; those of the others follow."""
    return (submission << _ORDER_BITS) + _FIRST_ORDER


def place_of(rank: int) -> tuple[int, int]:
    """The submission, and the order within it: below 0 for what was submitted from within a task
    of that submission."""
    return rank >> _ORDER_BITS, (rank & _ORDER_MASK) - _FIRST_ORDER


class Rare(Struct, eq=False):
    """What few tasks have."""

    #: See `TaskState`.
    suspicious: int = 0
    has_lost_dependencies: bool = False
    metadata: dict[str, Any] | None = None
    #: The worker that it asked to be moved away from, until it is; empty for none.
    avoid: WorkerId = ""
    #: It makes an actor: in memory, its process is alive on the one worker that has it.
    actor: bool = False
    #: It is a call of this actor, and runs where that is; None for all others.
    home: TaskState | None = None
    #: Calls of this actor that have not been sent to it, oldest first.
    calls: dict[TaskState, None] | None = None
    #: Arguments of all rows of the bundle it came with, shared by all that was cut of it; None for
    #: a task that is none. Its own are the `n_rows` from `first_row` on.
    rows: tuple[bytes, ...] | None = None
    first_row: int = 0
    n_rows: int = 1
    #: Rows of bundles that it depends on, by identifier, ascending: of a bundle that is cut, only
    #: the part with such a row stays its dependency. None of a bundle's: it needs all of it.
    rows_needed: tuple[int, ...] = ()
    #: Attempts that have failed.
    earlier: tuple[AttemptRow, ...] = ()
    #: When something uncommon happened, and what, oldest first; bounded.
    notes: list[tuple[float, str]] | None = None
    #: Why it can never have a result, though it has not erred: told to those who want it.
    doom: Failure | None = None


class TaskState(Struct, eq=False, gc=False):
    """A task: what it is, where it is, whom it needs and who needs it.

    Equal only to itself. It is never pickled: its key names it anywhere else.

    The garbage collector does not look at it: a pass over a million tasks would stop everything for
    a tenth of a second. So whatever may lead back to it is cut when it is forgotten.
    """

    #: A number of its client's session, or the key a user chose; the key of `Books.tasks`.
    id: TaskId
    #: What the worker is to run, opaque here; None iff the task is pure data.
    run_spec: bytes | None
    #: The tasks it belongs together with.
    group: TaskGroup
    #: What it asks for; one object for all that ask for the same.
    options: Options
    #: Submission and order within it in one number; lower first.
    rank: int
    #: The state, by its number in `_transitions`; changed by `advance` alone.
    code: int = RELEASED
    #: The states it has been in, one hexadecimal digit each.
    story_code: int = RELEASED
    #: The newest attempt handed out, of all the scheduler's; 0 before the first. In memory: the one
    #: whose result was accepted.
    attempt: int = 0
    #: Live tasks it depends on, and live tasks that depend on it.
    deps: Relation = None
    dependers: Relation = None
    #: Dependencies that are not in memory. Above 0 only while waiting.
    n_waiting_on: int = 0
    #: Dependents in an active state: waiting, no-worker or processing.
    n_waiters: int = 0
    #: Clients that want its result.
    wanters: Relation = None
    #: Workers that have its result. Not None iff in memory.
    holders: Relation = None
    #: The worker that processes it. Not None iff processing.
    processing_on: WorkerState | None = None
    #: How often it may still be tried again after an exception.
    retries: int = 0
    #: Size of the result in bytes; None until one is known.
    nbytes: int | None = None
    #: Name of the result's type; empty until it has been computed.
    type: str = ""
    #: How it failed. Not None iff erred, and by itself.
    failure: Failure | None = None
    #: The task whose failure made this one fail. Not None iff erred.
    exception_blame: TaskState | None = None
    #: The rest; None for most.
    rare: Rare | None = None

    # --- the page's attributes that are not stored as they are shown -------------------------

    @property
    def key(self) -> str:
        """The unique identifier that people see: the user's, or name, session and number."""
        id = self.id
        if type(id) is str:
            return id
        assert isinstance(id, int)
        number = id & ((1 << NUMBER_BITS) - 1)
        return f"{self.group.prefix.name}-{id >> NUMBER_BITS:x}-{number}"

    @property
    def prefix(self) -> TaskPrefix:
        """The kind of work it is."""
        return self.group.prefix

    @property
    def priority(self) -> tuple[float, int, int]:
        """The user's number, the submission, the order within it. Lower comes first."""
        return (self.options.priority, *place_of(self.rank))

    @property
    def state(self) -> str:
        """released, waiting, no-worker, processing, memory, erred or forgotten."""
        return STATES[self.code]

    @property
    def dependencies(self) -> set[TaskState]:
        """The live tasks it depends on."""
        return set(each(self.deps))

    @property
    def dependents(self) -> set[TaskState]:
        """The live tasks that depend on it."""
        return set(each(self.dependers))

    @property
    def has_lost_dependencies(self) -> bool:
        """Whether a task it depends on has been forgotten: it can never be processed (again)."""
        return self.rare is not None and self.rare.has_lost_dependencies

    @property
    def waiting_on(self) -> set[TaskState]:
        """The dependencies that must have a result before it can be processed."""
        if not self.n_waiting_on:
            return set()
        return {dep for dep in each(self.deps) if dep.code != MEMORY}

    @property
    def waiters(self) -> set[TaskState]:
        """The dependents that need it to stay alive."""
        if not self.n_waiters:
            return set()
        return {ts for ts in each(self.dependers) if ts.code in ACTIVE}

    @property
    def who_wants(self) -> set[ClientState]:
        """The clients that want its result."""
        return set(each(self.wanters))

    @property
    def who_has(self) -> set[WorkerState]:
        """The workers that have its result. Not empty iff it is in memory."""
        return set(each(self.holders))

    @property
    def exception(self) -> Failure | None:
        """How it failed, if it failed itself; opaque but for its kind."""
        return self.failure

    @property
    def traceback(self) -> str | None:
        """Where it raised, as text, if it failed itself."""
        return None if self.failure is None else self.failure.traceback

    @property
    def suspicious(self) -> int:
        """How many deaths it was involved in, since it was last asked for."""
        return 0 if self.rare is None else self.rare.suspicious

    @property
    def host_restrictions(self) -> set[str] | None:
        """Hosts it may run on; None: any."""
        return set(self.options.hosts) or None

    @property
    def worker_restrictions(self) -> set[str] | None:
        """Workers it may run on, connected or not; None: any."""
        return set(self.options.workers) or None

    @property
    def resource_restrictions(self) -> dict[str, float] | None:
        """What it takes of a worker's resources while it runs; None: nothing."""
        return dict(self.options.resources) or None

    @property
    def loose_restrictions(self) -> bool:
        """Whether the three restrictions above are wishes only."""
        return self.options.loose

    @property
    def metadata(self) -> dict[str, Any]:
        """What its client wrote about it."""
        return {} if self.rare is None or self.rare.metadata is None else self.rare.metadata

    @property
    def actor(self) -> bool:
        """Whether it makes an actor."""
        return self.rare is not None and self.rare.actor

    # --- more than the page has --------------------------------------------------------------

    @property
    def nested(self) -> bool:
        """Whether it was submitted from within a task."""
        return not self.rank & _FIRST_ORDER

    @property
    def rows(self) -> int:
        """How many rows of a map it is: 1, but for a bundle."""
        return 1 if self.rare is None else self.rare.n_rows

    @property
    def own_rows(self) -> tuple[bytes, ...]:
        """The arguments of its rows; empty for what is no bundle."""
        rare = self.rare
        if rare is None or rare.rows is None:
            return ()
        return rare.rows[rare.first_row : rare.first_row + rare.n_rows]

    @property
    def home(self) -> TaskState | None:
        """The actor that it is a call of."""
        return None if self.rare is None else self.rare.home

    @property
    def story(self) -> list[str]:
        """The states it has been in, oldest first."""
        return states_of(self)

    @property
    def needed(self) -> bool:
        """Whether a client or an active dependent needs it alive."""
        return self.n_waiters > 0 or self.wanters is not None

    @property
    def repeatable(self) -> bool:
        """Whether its result can be computed again: not data, an actor or an actor's call."""
        rare = self.rare
        return self.run_spec is not None and (rare is None or not (rare.actor or rare.home))

    def rarely(self) -> Rare:
        """The record of what few tasks have, made if there is none."""
        if self.rare is None:
            self.rare = Rare()
        return self.rare

    def __repr__(self) -> str:
        more = ""
        if self.code == PROCESSING and self.processing_on is not None:
            more = f" on {self.processing_on.id}"
        elif self.code == MEMORY:
            more = f", {self.nbytes} bytes on {size(self.holders)} worker(s)"
        elif self.code == WAITING and self.n_waiting_on:
            more = f" on {self.n_waiting_on}"
        elif self.code == ERRED and self.exception_blame is not None:
            more = f", blames {self.exception_blame.key}"
        return f"<TaskState {self.key!r} {self.state}{more}>"
