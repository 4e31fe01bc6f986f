"""What the promises are about: tasks as clients gave them, and what has been seen of them.

The model is told by the simulated shells what passes the machines' doors and what slots really did;
it never looks into a machine. `checkers` judge by it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulation import checkers, programs
from tests.simulation.programs import Program
from treadle import wire
from treadle.scheduler import LinkLost, PeerGone
from treadle.wire import Options, Run, TaskId, TaskSpec

if TYPE_CHECKING:
    from tests.simulation.node import Node
    from tests.simulation.slots import Slot
    from tests.simulation.world import World


class Known:
    """One task (or one row of a bundle, or one piece of data), and what was seen of it."""

    __slots__ = (
        "accepted",
        "accusations",
        "actor",
        "again_at",
        "aside",
        "bundle",
        "cancel_asked",
        "cancelled",
        "client",
        "computed",
        "deadly",
        "deps",
        "done_at",
        "doubtful",
        "ended",
        "executions",
        "failures",
        "home",
        "id",
        "issued",
        "moves",
        "newest",
        "options",
        "possible_failures",
        "program",
        "row",
        "rows",
        "started",
        "submits",
        "value",
    )

    def __init__(self, id: TaskId, program: Program | None, client: str) -> None:
        self.id = id
        #: None: it is data.
        self.program = program
        self.client = client
        self.options = Options()
        self.deps: tuple[TaskId, ...] = ()
        self.actor = False
        self.home: TaskId | None = None
        #: The bundle it is a row of, and its argument; itself for the first row.
        self.bundle: Known = self
        self.row: bytes | None = None
        self.rows = 1
        #: Its value; None: not known beforehand.
        self.value: int | None = None

        #: How often it was submitted, at the scheduler's door.
        self.submits = 0
        #: Attempts handed out -> worker; the newest of them.
        self.issued: dict[int, str] = {}
        self.newest = 0
        #: Attempts whose outcome was told to the scheduler; those whose result was the newest's.
        self.ended: set[int] = set()
        self.accepted: set[int] = set()
        #: When it last had a result, and when it was last ordered though it had had one.
        self.done_at = self.again_at = 0.0
        #: Attempts reported as begun.
        self.started: set[int] = set()
        #: Attempts reported as waiting for others.
        self.aside: set[int] = set()
        #: Attempts that really made a value.
        self.computed: set[int] = set()
        #: Times a slot ran it through, the deadly and raising ones included.
        self.executions = 0
        #: Times it asked to be run elsewhere.
        self.moves = 0
        #: Attempts whose outcome the scheduler may refuse: it may have given them up.
        self.doubtful: set[int] = set()
        #: Failures that are charged for sure since it was last asked for, and all that may be.
        self.failures = 0
        self.possible_failures = 0
        #: Deaths that accuse it for sure since then, and attempts that may have met a death.
        self.accusations = 0
        self.deadly: set[int] = set()
        #: Somebody asked for its end, or for that of one it depends on.
        self.cancel_asked = False
        #: It was said to be cancelled, and not asked for again.
        self.cancelled = False


class Model:
    """All tasks of a run, and who wants what."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.tasks: dict[TaskId, Known] = {}
        self.dependents: dict[TaskId, list[TaskId]] = {}
        #: What a task submits itself, by the name of the client that does so for it.
        self.nests: dict[TaskId, tuple[str, tuple[TaskSpec, ...]]] = {}
        self.resolutions = checkers.Resolutions(world, self)
        self.attempts = checkers.Attempts(world, self)
        self.workers = checkers.Workers(world, self)
        #: Tasks each worker was given and has not answered: worker -> (id, attempt).
        self.given: dict[str, dict[tuple[TaskId, int], None]] = {}
        #: Worker deaths and losses so far, of any kind.
        self.losses = 0
        #: When a task last came nearer to its end.
        self.progress_at = 0.0

    # --- what clients will give --------------------------------------------------------------

    def define(self, spec: TaskSpec, program: Program, options: Options, client: str) -> None:
        first = None
        for place in range(max(1, len(spec.rows))):
            id = spec.id if not place else spec.id + place  # type: ignore[operator]
            known = self.tasks[id] = Known(id, program, client)
            known.options, known.deps = options, spec.dependencies
            known.actor, known.home = spec.actor, spec.home
            first = first or known
            known.bundle = first
            known.rows = max(1, len(spec.rows)) - place
            known.row = spec.rows[place] if spec.rows else None
            known.value = self._value(known)
        for dep in spec.dependencies:
            self.dependents.setdefault(dep, []).append(spec.id)

    def define_data(self, id: TaskId, value: int, nbytes: int, client: str) -> None:
        known = self.tasks[id] = Known(id, None, client)
        known.value = value
        known.submits = 1

    def _value(self, known: Known) -> int | None:
        program = known.program
        assert program is not None
        if program.wobbles:
            return None
        given = [self.tasks[dep].value for dep in known.deps]
        if known.home is not None or None in given:
            given = [value for value in given if value is not None]
            if known.home is None:
                return None
            given = []
        inputs = [value for value in given if value is not None]
        if known.row is not None:
            return programs.row_value(program, known.row, inputs)
        return programs.value_of(program, inputs)

    def rows_of(self, id: TaskId, rows: int) -> list[Known]:
        """The tasks that a message about so many rows is about."""
        if rows == 1:
            return [self.tasks[id]] if id in self.tasks else []
        assert isinstance(id, int)
        return [self.tasks[id + place] for place in range(rows) if id + place in self.tasks]

    # --- the scheduler's door ----------------------------------------------------------------

    def heard(self, peer: str, message: Any) -> None:
        """The scheduler is about to take this message."""
        kind = type(message)
        if kind is wire.Submit:
            for spec in message.tasks:
                for known in self.rows_of(spec.id, max(1, len(spec.rows))):
                    known.submits += 1
                    self.renew(known)
            wants = message.wants
            self.resolutions.want(
                peer,
                tuple(
                    known.id
                    for task in message.tasks
                    if wants is None or task.id in wants
                    for known in self.rows_of(task.id, max(1, len(task.rows)))
                ),
            )
        elif kind is wire.Desire or kind is wire.FireAndForget or kind is wire.Retry:
            if kind is wire.Retry:
                for id in message.ids:
                    self._renew_with_inputs(id)
            if kind is not wire.FireAndForget:
                self.resolutions.want(peer, message.ids, retry=kind is wire.Retry)
        elif kind is wire.Scatter:
            self.resolutions.want(peer, tuple(item.id for item in message.items))
        elif kind is wire.Restart:
            self._restarts()
        elif kind is wire.Release or kind is wire.Linger:
            self.resolutions.release(peer, message.ids)
        elif kind is wire.Cancel:
            for id in message.ids:
                self._cancel(id)
        elif kind is wire.Attach:
            self.resolutions.attach(peer)
        elif kind is wire.Leave:
            self.resolutions.leave(peer)
        elif peer.startswith("worker/"):
            self.attempts.heard(peer[7:], message)

    def said(self, peer: str, message: Any) -> None:
        """The scheduler has said this."""
        if peer.startswith("worker/"):
            self.attempts.said(peer[7:], message)
        else:
            self.resolutions.said(peer, message)

    def shell_says(self, event: Any) -> None:
        """The scheduler is about to be told this by its shell."""
        if type(event) is PeerGone and event.peer.startswith("worker/"):
            self.attempts.worker_gone(event.peer[7:], accuses=event.accuses)
        elif type(event) is LinkLost:
            self.losses += 1
            if event.peer.startswith("worker/"):
                self.doubt(event.peer[7:])
                self.attempts.lost_at[event.peer[7:]] = self.world.now

    def _restarts(self) -> None:
        """All that anybody wants may be cancelled, and what workers have and do is forgotten."""
        self.losses += 1
        self.world.sometimes("all began anew")
        for known in self.tasks.values():
            known.cancel_asked = True
        for worker in self.given:
            self.doubt(worker)
        self.resolutions.restarts()

    def doubt(self, worker: str) -> None:
        """The scheduler may give up what this worker was given to do."""
        for id, attempt in self.given.get(worker, {}):
            self.tasks[id].doubtful.add(attempt)

    def renew(self, known: Known) -> None:
        """It is asked for (again): what it was charged is forgiven."""
        known.failures = known.accusations = 0
        known.cancelled = False
        known.cancel_asked = False

    def _renew_with_inputs(self, id: TaskId) -> None:
        bundle = self.tasks[id].bundle
        seen = {known.id: None for known in self.rows_of(bundle.id, bundle.rows)}
        for one in seen_growing(seen):
            if one in self.tasks:
                self.renew(self.tasks[one])
                for dep in self.tasks[one].deps:
                    seen.setdefault(dep)

    def _cancel(self, id: TaskId) -> None:
        """Somebody asks for the end of this one: it and all that depends on it may be cancelled."""
        seen: dict[TaskId, None] = {}
        for known in self.rows_of(id, self.tasks[id].rows if id in self.tasks else 1):
            seen.setdefault(known.id)
        for one in seen_growing(seen):
            self.tasks[one].cancel_asked = True
            for dependent in self.dependents.get(one, ()):
                seen.setdefault(dependent)

    def runs_once(self, message: Any) -> bool:
        """Whether the message may not be lost: a run, or what is said of an actor and its calls."""
        if isinstance(message, Run | wire.Started):
            return True
        known = self.tasks.get(message.id)
        return known is not None and (known.actor or known.home is not None)

    def is_needed(self, id: TaskId) -> bool:
        """Whether a client wants it, or something that depends on it; or somebody may, unseen."""
        if not {"fire", "publish", "lingers"}.isdisjoint(self.world.swarm.features):
            return True
        seen: dict[TaskId, None] = {id: None}
        for one in seen_growing(seen):
            for wants in self.resolutions.wants.values():
                if one in wants and wants[one].wanted:
                    return True
            for dependent in self.dependents.get(one, ()):
                seen.setdefault(dependent)
        return False

    def lineage(self, id: TaskId) -> dict[TaskId, None]:
        """The task and all it depends on."""
        seen: dict[TaskId, None] = {id: None}
        for one in seen_growing(seen):
            if one in self.tasks:
                for dep in self.tasks[one].deps:
                    seen.setdefault(dep)
        return seen

    # --- what slots really do ----------------------------------------------------------------

    def executed(self, id: TaskId) -> int:
        """A slot has run it through; how often that has been so now."""
        known = self.tasks[id]
        known.executions += 1
        return known.executions

    def slot_begins(self, slot: Slot, run: Run) -> None:
        self.workers.begins(slot, run)

    def slot_ends(self, slot: Slot, *, accuses: bool) -> None:
        if accuses and slot.blame is not None:
            self.tasks[slot.blame.id].deadly.add(slot.blame.attempt)

    def node_ends(self, node: Node, *, accuses: bool) -> None:
        self.losses += 1
        if accuses:
            self.may_accuse(node.name)

    def may_accuse(self, worker: str) -> None:
        """What this worker was given to do may be accused of its death."""
        for id, attempt in self.given.get(worker, {}):
            for known in self.rows_of(id, self.tasks[id].rows):
                if attempt not in known.ended:
                    known.deadly.add(attempt)

    def made(self, run: Run, count: int, first: TaskId) -> None:
        """A slot has written a result (of so many rows)."""
        for known in self.rows_of(first, count):
            known.computed.add(run.attempt)

    def actor_called(self, slot: Slot, run: Run, program: Program) -> None:
        self.workers.called(slot, run, program)


def seen_growing(seen: dict[TaskId, None]) -> Any:
    """Each key of a dictionary that grows meanwhile."""
    place = 0
    keys = list(seen)
    while place < len(keys):
        before = len(seen)
        yield keys[place]
        place += 1
        if len(seen) > before:
            keys = list(seen)
