"""The promises, judged from outside the machines by what passes their doors.

`Resolutions`: what clients are told. `Attempts`: what the scheduler orders. `Workers`: what slots
really do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from tests.simulation.programs import Program
from treadle import wire
from treadle.wire import Run, TaskId

if TYPE_CHECKING:
    from tests.simulation.model import Known, Model
    from tests.simulation.slots import Slot
    from tests.simulation.world import World

#: A task is erred by this many deaths.
DEATHS = 3


class Want:
    """What one client was told of one task."""

    __slots__ = ("asked", "asked_by", "failure", "frame", "told", "wanted")

    def __init__(self) -> None:
        self.wanted = True
        #: The event by which it was released: what had been done before in the same frame is told.
        self.frame = -1
        #: 'pending', 'done', 'erred', 'cancelled'.
        self.told = "pending"
        #: How it had failed, when that was last told.
        self.failure: Any = None
        #: How often it was asked for since it was told: so often it may be told again.
        self.asked = 1
        #: The event by which it was asked for last.
        self.asked_by = -1

    def ask(self, event: int) -> None:
        self.asked = self.asked + 1 if self.asked_by == event else 1
        self.asked_by = event

    def answer(self, event: int) -> None:
        self.asked = self.asked - 1 if self.asked_by == event and self.asked else 0


class Resolutions:
    """Each wanted task resolves once for each time it was asked for, and rightly."""

    def __init__(self, world: World, model: Model) -> None:
        self.world = world
        self.model = model
        self.wants: dict[str, dict[TaskId, Want]] = {}

    # --- what clients ask --------------------------------------------------------------------

    def want(self, peer: str, ids: tuple[TaskId, ...], *, retry: bool = False) -> None:
        mine = self.wants.setdefault(peer, {})
        for id in ids:
            if id not in mine and not retry:
                mine[id] = Want()
            # A bundle is answered by parts, whichever of its rows was asked for.
            bundle = self.model.tasks[id].bundle
            for known in self.model.rows_of(bundle.id, bundle.rows):
                if known.id in mine:
                    mine[known.id].ask(self.world.events)
            if id in mine and not retry:
                mine[id].wanted = True

    def release(self, peer: str, ids: tuple[TaskId, ...]) -> None:
        for id in ids:
            want = self.wants.get(peer, {}).get(id)
            if want is not None and want.wanted:
                want.wanted = False
                want.frame = self.world.events

    def attach(self, peer: str) -> None:
        for want in self.wants.get(peer, {}).values():
            want.ask(self.world.events)

    def leave(self, peer: str) -> None:
        self.wants.pop(peer, None)

    def restarts(self) -> None:
        """Whatever was told before, it may be cancelled now."""
        for mine in self.wants.values():
            for want in mine.values():
                want.ask(self.world.events)

    # --- what they are told ------------------------------------------------------------------

    def said(self, peer: str, message: Any) -> None:
        kind = type(message)
        if kind is wire.Done:
            self._each(peer, message, self._done)
        elif kind is wire.Erred:
            self._each(peer, message, self._erred)
        elif kind is wire.Cancelled:
            self._each(peer, message, self._cancelled)
        elif kind is wire.Lost:
            self._each(peer, message, self._lost)
        elif kind is wire.Retried:
            self._each(peer, message, self._retried)
        elif kind is wire.Attached and not message.resumed:
            self.wants[peer] = {}
        elif kind is wire.Refused:
            self.world.sometimes(f"told refused: {message.what}")
            for id in message.ids:
                want = self.wants.get(peer, {}).get(id)
                if want is not None:
                    want.wanted = False

    def _each(self, peer: str, message: Any, check: Any) -> None:
        for place, known in enumerate(self.model.rows_of(message.id, message.rows)):
            want = self.wants.get(peer, {}).get(known.id)
            if want is not None and want.frame == self.world.events:
                continue
            if want is None or not want.wanted:
                self._wrong(peer, message, "of a task that it does not want")
            else:
                check(peer, message, known, want, place)

    def _wrong(self, peer: str, message: Any, why: str) -> None:
        self.world.fail("resolution", f"{peer} is told {message}, {why}")

    def _tells(self, peer: str, message: Any, want: Want, new: str) -> None:
        if want.told == new and not want.asked:
            self._wrong(peer, message, "once more, without having asked again")
        if want.told not in ("pending", new) and not want.asked:
            # What cannot be computed again may be lost after it was done.
            gone = new == "erred" and message.failure.kind in ("lost", "actor")
            if want.told != "done" or not gone:
                self._wrong(peer, message, f"after it was told: {want.told}")
            self.world.sometimes("a result that was done was lost for good")
        if want.told != new:
            self.model.progress_at = self.world.now
        want.told = new
        want.answer(self.world.events)

    def _done(self, peer: str, done: wire.Done, known: Known, want: Want, place: int) -> None:
        self._tells(peer, done, want, "done")
        if not known.accepted:
            self._wrong(peer, done, "of which no newest attempt has finished")
        if not done.holders and not known.actor:
            self._wrong(peer, done, "which nobody holds")
        if done.inline is not None and known.value is not None:
            values = msgspec.msgpack.decode(done.inline)
            if values[place] != known.value:
                self._wrong(peer, done, f"whose value {values} should be {known.value}")

    def _erred(self, peer: str, erred: wire.Erred, known: Known, want: Want, place: int) -> None:
        self._tells(peer, erred, want, "erred")
        model = self.model
        lineage = [model.tasks[id].bundle for id in model.lineage(known.id)]
        if model.tasks[erred.blame].bundle not in lineage:
            self._wrong(peer, erred, "and the blame is on a task it does not depend on")
        blamed = model.tasks[erred.blame]
        # Told again, it may be blamed itself: whom it blamed may have been tried again meanwhile.
        why = "" if want.failure == erred.failure else self._undeserved(blamed, erred)
        want.failure = erred.failure
        if why:
            self._wrong(peer, erred, why)
        self.world.sometimes(f"erred: {erred.failure.kind}")
        if erred.blame != known.id:
            self.world.sometimes("erred for another's fault")

    def _undeserved(self, blamed: Known, erred: wire.Erred) -> str:
        """Why this task does not deserve this failure; empty: it does."""
        kind, program = erred.failure.kind, blamed.program
        if program is None:
            return "" if kind == "lost" and self._lossy() else "of data that was not lost"
        if kind == "exception":
            if not program.raises:
                return "though it never raises"
            failures = blamed.possible_failures
            if failures <= blamed.options.retries and not program.final:
                return f"with {failures} failures and {blamed.options.retries} retries"
        elif kind == "killed":
            unheard = blamed.issued.keys() - blamed.ended
            deadly = blamed.deadly | blamed.doubtful | unheard
            if len(deadly) < DEATHS:
                return f"after deaths in {sorted(deadly)} of {blamed.issued}"
        elif kind == "walltime":
            if blamed.options.walltime_s is None:
                return "though it has no walltime"
        elif kind == "memory":
            if "giants" not in self.world.swarm.features:
                return "though it is small"
        elif kind == "actor":
            if not (blamed.actor or blamed.home):
                return "though it is no actor"
        elif kind == "lost":
            return "" if self._lossy() else "though nothing was lost"
        else:
            return "a failure that must not be"
        return ""

    def _lossy(self) -> bool:
        """Whether anything has happened by which a worker may lose what it has."""
        again = "retries" in self.world.swarm.features  # of what builds on what was released
        return bool(self.model.losses or self.world.struck or again)

    def _cancelled(
        self, peer: str, message: wire.Cancelled, known: Known, want: Want, place: int
    ) -> None:
        self._tells(peer, message, want, "cancelled")
        self.world.sometimes("cancelled")
        known.cancelled = known.cancel_asked
        lost = any(self.model.tasks[id].program is None for id in self.model.lineage(known.id))
        lost = lost or any(
            not self.model.tasks[id].submits or self.model.tasks[id].cancel_asked
            for id in self.model.lineage(known.id)
        )
        if not known.cancel_asked and not lost:
            self._wrong(peer, message, "though nobody asked for it")

    def _lost(self, peer: str, lost: wire.Lost, known: Known, want: Want, place: int) -> None:
        if want.told != "done":
            self._wrong(peer, lost, f"though it was told last: {want.told}")
        if not self._lossy():
            self._wrong(peer, lost, "though nothing was lost")
        want.told = "pending"
        self.world.sometimes("a result told as done was lost")

    def _retried(
        self, peer: str, message: wire.Retried, known: Known, want: Want, place: int
    ) -> None:
        if want.told != "erred" and not want.asked:
            self._wrong(peer, message, f"though it was told last: {want.told}")
        want.told = "pending"
        self.world.sometimes("an erred task was tried again")


class Attempts:
    """What the scheduler orders follows from what it was told."""

    def __init__(self, world: World, model: Model) -> None:
        self.world = world
        self.model = model
        #: The youngest process of each worker that has registered, and how often it has.
        self.epochs: dict[str, tuple[int, int]] = {}
        #: When each link was seen lost.
        self.lost_at: dict[str, float] = {}
        #: Workers that were told to leave: the end of one accuses nobody.
        self.draining: dict[str, None] = {}
        #: When each worker was last heard of.
        self.heard_at: dict[str, float] = {}

    # --- orders ------------------------------------------------------------------------------

    def said(self, worker: str, message: Any) -> None:
        if type(message) is Run:
            for known in self.model.rows_of(message.id, max(1, len(message.rows))):
                self._run(worker, message, known)
            self.model.given.setdefault(worker, {})[message.id, message.attempt] = None
        elif type(message) is wire.Reset:
            self.world.sometimes("a worker was told to reset")
            self.model.doubt(worker)
        elif type(message) is wire.Drain:
            self.draining[worker] = None
        elif type(message) is wire.Stop and message.id in self.model.tasks:
            self.model.tasks[message.id].doubtful.add(message.attempt)

    def _run(self, worker: str, run: Run, known: Known) -> None:
        if run.attempt <= known.newest:
            self._wrong(worker, run, f"after attempt {known.newest}")
        if known.cancelled and not self.model.is_needed(known.id):
            self._wrong(worker, run, "after it was cancelled, and nobody needs it")
        if known.accusations >= DEATHS:
            self._wrong(worker, run, f"after it was accused of {known.accusations} deaths")
        if known.failures > known.options.retries:
            self._wrong(worker, run, f"after {known.failures} failures")
        if run.ahead and known.accusations:
            self._wrong(worker, run, "ahead of its time, though it is suspicious")
        if known.accusations and run.slots:
            for id, attempt in self.model.given.get(worker, {}):
                other = self.model.tasks[id]
                current = other.newest == attempt and attempt not in other.doubtful
                # What takes no slot may be what is waited for, or wait for it.
                current = current and other.options.slots > 0 and attempt not in other.aside
                if other.accusations and current and other.bundle != known.bundle:
                    self._wrong(worker, run, f"beside {id}, though both are suspicious")
        self._inputs(worker, run, known)
        if known.accepted and known.newest in known.accepted:
            self.world.sometimes("a result was computed again")
            known.again_at = self.world.now
            if any(self.model.tasks[id].again_at > known.done_at for id in known.deps):
                self.world.sometimes("a result was computed again, and an input of it before")
        known.newest = run.attempt
        known.issued[run.attempt] = worker

    def _inputs(self, worker: str, run: Run, known: Known) -> None:
        if known.home is not None:
            return
        if {given.id for given in run.inputs} != set(known.deps):
            self._wrong(worker, run, f"but it depends on {known.deps}")
        for given in run.inputs:
            source = self.model.tasks[given.id]
            if given.attempt not in source.accepted:
                self._wrong(worker, run, f"but attempt {given} was never accepted")
            if not given.holders:
                self._wrong(worker, run, f"but {given} is held by nobody")
            if source.newest != given.attempt and source.program is not None:
                self.world.sometimes("an input of an older attempt than the newest")

    def _wrong(self, worker: str, message: Any, why: str) -> None:
        self.world.fail("attempt", f"{worker} is told {message}, {why}")

    # --- reports -----------------------------------------------------------------------------

    def heard(self, worker: str, message: Any) -> None:
        lease_s = self.world.hub.machine.books.policy.lease_s
        if self.world.now - self.heard_at.get(worker, 0.0) > 0.9 * lease_s:
            self.model.doubt(worker)
        self.heard_at[worker] = self.world.now
        kind = type(message)
        if kind is wire.Started:
            for one in message.attempts:
                if one.id in self.model.tasks:
                    self.model.tasks[one.id].started.add(one.attempt)
        elif kind is wire.Aside:
            for one in message.attempts:
                if one.id in self.model.tasks:
                    self.model.tasks[one.id].aside.add(one.attempt)
        elif kind is wire.Beat:
            listed = {(one.id, one.attempt) for one in message.attempts}
            for id, attempt in self.model.given.get(worker, {}):
                if (id, attempt) not in listed:  # perhaps it never arrived
                    self.model.tasks[id].doubtful.add(attempt)
        elif kind is wire.Holding:
            for held in message.objects:
                self._held(worker, held.id, held.attempt, held.rows)
        elif kind is wire.Register:
            self._registers(worker, message)
            for ended in message.ended:
                self._outcome(worker, ended)
            for held in message.holds:
                self._held(worker, held.id, held.attempt, held.rows)
            if message.holds or message.running or message.queued:
                self.world.sometimes("a worker registered with work")
            for one in message.running:
                if one.id in self.model.tasks:
                    self.model.tasks[one.id].started.add(one.attempt)
        elif isinstance(message, wire.Outcome):
            self._outcome(worker, message)

    def _registers(self, worker: str, message: wire.Register) -> None:
        """A process of this name came: an older one may be accused of its own death."""
        self.model.doubt(worker)
        epoch, number = self.epochs.get(worker, (0, 0))
        if (message.epoch, message.number) == (epoch, number):
            self.world.sometimes("a registration came twice")
        elif message.epoch == epoch and worker in self.lost_at:
            lease_s = self.world.hub.machine.books.policy.lease_s
            away_s = self.world.now - self.lost_at.pop(worker)
            when = "within" if away_s < lease_s else "after"
            self.world.sometimes(f"a worker came back {when} its lease")
        self.epochs[worker] = max((message.epoch, message.number), (epoch, number))
        if message.epoch > epoch:
            self.draining.pop(worker, None)
            self.model.may_accuse(worker)
            self.model.given.pop(worker, None)

    def _held(self, worker: str, id: TaskId, attempt: int, rows: int) -> None:
        """A worker has data, or came back with a result: the newest attempt's may be taken."""
        for known in self.model.rows_of(id, rows):
            if known.program is None or (attempt == known.newest and attempt in known.issued):
                known.accepted.add(attempt)

    def _outcome(self, worker: str, outcome: Any) -> None:
        self.model.given.get(worker, {}).pop((outcome.id, outcome.attempt), None)
        for known in self.model.rows_of(outcome.id, outcome.rows):
            if outcome.attempt != known.newest or known.issued.get(outcome.attempt) != worker:
                self.world.sometimes("an outcome of an old attempt")
                continue
            if outcome.attempt in known.ended:
                self.world.sometimes("an outcome came twice")
                continue
            if known.cancel_asked:
                self.world.sometimes("an outcome of a task whose end was asked for")
            known.ended.add(outcome.attempt)
            self._count(known, outcome)

    def _is_sure(self, known: Known, attempt: int) -> bool:
        """Whether the scheduler must take what it is told of this attempt."""
        struck = self.world.struck
        doubt = "disorder" in struck or "drop_run" in struck
        return not doubt and attempt not in known.doubtful

    def _count(self, known: Known, outcome: Any) -> None:
        kind = type(outcome)
        sure = self._is_sure(known, outcome.attempt)
        if kind is wire.Finished:
            if outcome.attempt not in known.computed:
                self.world.fail("made", f"{outcome} was never computed")
            if not known.accepted:
                self.model.progress_at = self.world.now
            known.done_at = self.world.now
            known.accepted.add(outcome.attempt)
            known.accusations = known.failures = 0
        elif kind is wire.Failed:
            self.model.progress_at = self.world.now
            known.failures += sure
            known.possible_failures += 1
            self.world.sometimes(f"failed: {outcome.failure.kind}")
        elif kind is wire.Died:
            known.accusations += sure
            self.world.sometimes("a death was reported")
        else:
            self.world.sometimes(f"returned: {outcome.why}")

    def worker_gone(self, worker: str, *, accuses: bool) -> None:
        self.model.losses += 1
        if accuses:
            self.model.may_accuse(worker)
        for id, attempt in self.model.given.pop(worker, {}):
            known = self.model.tasks[id]
            counts = accuses and attempt == known.newest and attempt not in known.ended
            counts = counts and worker not in self.draining
            if counts and attempt in known.started and known.rows == 1:
                known.accusations += self._is_sure(known, attempt)
            known.doubtful.add(attempt)


class Workers:
    """What slots really do."""

    def __init__(self, world: World, model: Model) -> None:
        self.world = world
        self.model = model
        #: Where each actor lives, by its attempt: worker, epoch, slot.
        self.homes: dict[tuple[TaskId, int], tuple[str, int, int]] = {}

    def begins(self, slot: Slot, run: Run) -> None:
        """A slot begins an attempt: its inputs are there, and there is room for it."""
        store = slot.node.store
        if run.home is None:
            for given in run.inputs:
                thing = store.get((given.id, given.attempt))
                if thing is None or thing.on_disk:
                    state = "on disk" if thing else "not in the store"
                    self._wrong(slot, run, f"but {given} is {state}")
                value = store.value((given.id, given.attempt))
                right = self.model.tasks[given.id].value
                if right is not None and value != right:
                    self._wrong(slot, run, f"but the value of {given} is {value}, not {right}")
        self._room(slot, run)

    def _room(self, slot: Slot, run: Run) -> None:
        """An actor has a slot beside the others, but keeps the resources it takes."""
        node, busy = slot.node, {}
        amounts: dict[str, float] = {}
        for other in node.slots.values():
            holder = other.actor or other.run
            if not other.alive or holder is None:
                continue
            for name, amount in holder.resources:
                amounts[name] = amounts.get(name, 0.0) + amount
            if not holder.actor and not other.aside:
                busy[other.number] = (holder.id, holder.slots)
        if sum(slots for _, slots in busy.values()) > node.plan.slots:
            self._wrong(slot, run, f"so more than {node.plan.slots} slots are taken: {busy}")
        for name, amount in node.plan.resources:
            if amounts.get(name, 0.0) > amount + 1e-9:
                self._wrong(slot, run, f"so {amounts[name]} of {amount} {name} are taken")

    def called(self, slot: Slot, run: Run, program: Program) -> None:
        """An actor answers a call: in order, each once, in one process."""
        assert run.home is not None
        if slot.actor is None or slot.actor.id != run.home:
            self._wrong(slot, run, "a call of an actor that does not live there")
            return
        here = (slot.node.name, slot.node.epoch, slot.number)
        actor = (run.home, slot.actor.attempt)
        if self.homes.setdefault(actor, here) != here:
            self._wrong(slot, run, f"but its last call was in {self.homes[actor]}")
        *before, now = slot.calls
        if now in before:
            self._wrong(slot, run, f"its call {now}, once more")
        # A call that is tried again comes when it is asked for again.
        if now < max(before, default=0) and "retries" not in self.world.swarm.features:
            self._wrong(slot, run, f"its call {now}, after its calls {before}")

    def _wrong(self, slot: Slot, run: Run, why: str) -> None:
        self.world.fail(
            "worker", f"slot {slot.number} of {slot.node.name} begins {run.id}.{run.attempt}, {why}"
        )
