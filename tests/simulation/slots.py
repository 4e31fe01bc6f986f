"""A slot: the process that runs one attempt at a time, in small steps, any of which may be its last.

read a packet - write the blame word - run - ask for room - write - tell the outcome - clear the
blame word. What it tells its agent goes through a pipe, first in, first out; the blame word is
memory that the agent sees at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tests.simulation import programs
from tests.simulation.dice import Dice
from tests.simulation.programs import Program
from tests.simulation.store import Thing
from treadle.wire import Attempt, Failure, Run, TaskId, TaskSpec
from treadle.worker import _events as ev

if TYPE_CHECKING:
    from tests.simulation.clients import Client
    from tests.simulation.node import Node

#: How fast a slot writes into the store.
_WRITE_BANDWIDTH = 2e9


class Slot:
    """One slot process of a node."""

    def __init__(self, node: Node, number: int) -> None:
        self.node = node
        self.world = node.world
        self.number = number
        self.alive = True
        #: Packets nobody has read.
        self.socket: deque[Run] = deque()
        #: What it runs, from the reading of the packet to the last outcome.
        self.run: Run | None = None
        self.blame: Attempt | None = None
        #: It waits for other tasks, or for its turn after that.
        self.aside = False
        #: Rows of it that have ended.
        self.done = 0
        #: The actor that lives in it, and how many calls it has answered.
        self.actor: Run | None = None
        self.calls: list[int] = []
        self._last_word = 0.0
        self._granted: Any = None
        self._dice: Dice = node.slot_dice

    def say(self, event: Any, more_s: float = 0.0, thing: Thing | None = None) -> None:
        """Tell the agent, after all that was told before; with a result, if there is one."""
        due = self.world.now + more_s + self._dice.between(10e-6, 300e-6)
        self._last_word = max(self._last_word + 1e-7, due)
        self.world.at(self._last_word, self.node.from_slot, event, thing)

    def later(self, seconds: float, step: Any, *args: Any) -> None:
        self.world.at(self.world.now + seconds, self._step, step, args)

    def _step(self, step: Any, args: tuple[Any, ...]) -> None:
        if self.alive:
            step(*args)

    # --- its life ----------------------------------------------------------------------------

    def feed(self, run: Run) -> None:
        self.socket.append(run)
        if self.run is None:
            self.later(self._dice.between(20e-6, 100e-6), self._read)

    def take_back(self, id: Any, attempt: int) -> bool:
        """Read a packet out of its socket, if it is still there."""
        for run in self.socket:
            if run.id == id and run.attempt == attempt:
                self.socket.remove(run)
                return True
        return False

    def die(self, exit_code: int, *, ours: bool) -> None:
        if not self.alive:
            return
        self.alive = False
        self.world.model.slot_ends(self, accuses=not ours)
        self.say(ev.SlotDown(self.number, self.blame, exit_code, ours), more_s=1e-3)

    def _read(self) -> None:
        if self.run is not None or not self.socket:
            return
        self.run = run = self.socket.popleft()
        self.done = 0
        if self.node.point("read", self):
            return
        self.blame = Attempt(run.id, run.attempt)
        self.world.model.slot_begins(self, run)
        self.say(ev.Began(self.number, run.id, run.attempt))
        program = programs.decode(run.run_spec)
        half = program.seconds * self._dice.between(0.7, 1.3) / 2
        self.later(half, self._middle, run, program, half)

    def _middle(self, run: Run, program: Program, half: float) -> None:
        if self.node.point("blamed", self):
            return
        if program.hangs:
            return
        nest = self.world.model.nests.get(run.id)
        if nest is None:
            self.later(half, self._compute, run, program, half * 2)
            return
        name, specs = nest
        client = next(one for one in self.world.clients if one.name == name)
        client.nest(run.id, specs)
        self.world.sometimes("a task submitted tasks")
        self.aside = True
        self.say(ev.WentAside(self.number, run.id, run.attempt))
        self.later(0.01, self._wait, run, client, specs)

    def _wait(self, run: Run, client: Client, specs: tuple[TaskSpec, ...]) -> None:
        """Look whether the tasks that this one has submitted have ended."""
        if client.is_waiting(specs):
            self.later(self._dice.between(0.05, 0.2), self._wait, run, client, specs)
        else:
            self.say(ev.WantsTurn(self.number, run.id, run.attempt))

    def turn(self, attempt: int) -> None:
        """It is its turn again."""
        run = self.run
        if not self.aside or run is None or run.attempt != attempt:
            self.world.fail(
                "turn", f"slot {self.number} of {self.node.name} did not want {attempt}"
            )
            return
        self.aside = False
        self.world.sometimes("a task that had waited went on")
        program = programs.decode(run.run_spec)
        self.later(program.seconds / 2, self._compute, run, program, program.seconds)

    def _compute(self, run: Run, program: Program, took: float) -> None:
        """Do the next rows of a bundle, or the one task there is."""
        start, count = self.done, max(1, len(run.rows))
        if program.moves and not run.rows and self._moves(run, program, took):
            return
        id = run.id + start if start else run.id  # type: ignore[operator]
        rows = 1
        if self._is_bad(run, program, start):
            if self._misbehaves(run, program, took, id, start + 1 == count):
                return
        else:
            most = self._dice.whole(1, count)
            while (
                rows < most
                and start + rows < count
                and not self._is_bad(run, program, start + rows)
            ):
                rows += 1
        values = self._values(run, program, start, rows)
        nbytes = program.nbytes * rows
        last = start + rows == count
        small = nbytes <= self.world.swarm.inline_max
        inline = programs.inline_of(values) if small else None
        ended = ev.Ended(self.number, id, run.attempt, nbytes, "int", took, 0, inline, rows, last)
        thing = None if run.actor else Thing(values, nbytes)
        if small and self._dice.chance(0.5):
            self._write(run, program, ended, thing)
            return
        self._granted = (run, program, ended, thing)
        self.say(ev.GrantAsked(self.number, run.id, run.attempt, nbytes))

    def _moves(self, run: Run, program: Program, took: float) -> bool:
        """Ask to be run elsewhere, if it still does that."""
        known = self.world.model.tasks[run.id]
        known.moves += 1
        if known.moves > program.moves:
            return False
        failure = Failure("rescheduled", "Reschedule", "")
        raised = ev.Raised(self.number, run.id, run.attempt, failure, took, False, 1, True)
        self._tell(run, program, raised, None)
        return True

    def _is_bad(self, run: Run, program: Program, place: int) -> bool:
        """Whether it is a row that raises or kills; of a task that is one row, it is."""
        if not program.raises and not program.deaths:
            return False
        return not run.rows or run.rows[place][0] % 4 == 0

    def _misbehaves(self, run: Run, program: Program, took: float, id: TaskId, last: bool) -> bool:
        """Die or raise, if it still does that; else it has become good."""
        count = self.world.model.executed(id)
        if self.blame is not None:
            self.blame = Attempt(id, run.attempt)
        if count <= program.kills_worker:
            self.world.sometimes("a task killed its worker")
            self.world.task_kills(self.node)
            return True
        if count <= program.deaths:
            self.world.sometimes("a task killed its slot")
            self.die(-11, ours=False)
            return True
        if count - program.deaths > program.raises:
            return False
        failure = Failure("exception", "ValueError", f"time {count}")
        raised = ev.Raised(self.number, id, run.attempt, failure, took, program.final, 1, last)
        self._tell(run, program, raised, None)
        return True

    def _values(self, run: Run, program: Program, start: int, rows: int) -> tuple[int, ...]:
        given = [self.node.store.value((i.id, i.attempt)) or 0 for i in run.inputs]
        if run.actor:
            self.actor = run
        if run.home is not None:
            given = []
            self.calls.append(program.call)
            self.world.model.actor_called(self, run, program)
        if not run.rows:
            return (programs.value_of(program, given, run.attempt),)
        mine = run.rows[start : start + rows]
        return tuple(programs.row_value(program, row, given, run.attempt) for row in mine)

    def granted(self, id: TaskId, attempt: int) -> None:
        if self._granted is None or self._granted[0].id != id:
            return
        run, program, ended, thing = self._granted
        self._granted = None
        if self.node.point("granted", self):
            return
        self.later(ended.nbytes / _WRITE_BANDWIDTH, self._write, run, program, ended, thing)

    def denied(self, id: TaskId, attempt: int, why: str) -> None:
        if self._granted is None or self._granted[0].id != id:
            return
        run, program, ended, _ = self._granted
        self._granted = None
        self.world.sometimes("a result was denied room")
        failure = Failure("memory", "MemoryError", why)
        raised = ev.Raised(
            self.number, ended.id, attempt, failure, 0.1, False, ended.rows, ended.last
        )
        self._tell(run, program, raised, None)

    def _write(self, run: Run, program: Program, ended: ev.Ended, thing: Thing | None) -> None:
        self.world.model.made(run, ended.rows, ended.id)
        self._tell(run, program, ended, thing)

    def _tell(self, run: Run, program: Program, outcome: Any, thing: Thing | None) -> None:
        """Tell an outcome; then clear the blame word, or go on with the bundle."""
        self.say(outcome, thing=thing)
        if outcome.last:
            self.world.model.slot_ends(self, accuses=False)
        if self.node.point("ended", self):
            return
        if not outcome.last:
            self.done += outcome.rows
            self.later(program.seconds, self._compute, run, program, program.seconds)
            return
        self.blame = None
        self.run = None
        if self.socket:
            self.later(5e-6, self._read)
