"""A simulated client: it does what its plan says, and reacts to what it is told.

What it says is kept until a beat that followed it is acknowledged, and said again on a new link, so
a lost link costs it nothing within its lease. After that all it wanted is gone: it goes on with
what is left of its plan, as far as that does not build on what was lost.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from tests.simulation.dice import Dice
from tests.simulation.network import Frame, Link
from tests.simulation.store import Thing
from tests.simulation.workload import ClientPlan, Todo
from treadle import wire
from treadle.wire import TaskId
from treadle.worker import _events as ev

if TYPE_CHECKING:
    from tests.simulation.world import World

_BEAT_S = 2.0
#: What a client may have been told last of a task it wants.
OPEN, ENDED = ("pending",), ("done", "erred", "cancelled", "refused")


def rows(id: TaskId, count: int) -> tuple[TaskId, ...]:
    """The identifiers of so many rows."""
    return (id,) if count == 1 else tuple(range(id, id + count))  # type: ignore[operator]


class Wish:
    """One task this client wants."""

    __slots__ = ("gathering", "holders", "inline", "nbytes", "part", "retries", "told")

    def __init__(self, part: tuple[TaskId, ...]) -> None:
        self.told = "pending"
        #: Rows that are told and released together with it: all of a bundle, then those it is
        #: told with.
        self.part = part
        self.holders: tuple[str, ...] = ()
        self.nbytes = 0
        self.inline = False
        self.gathering = False
        self.retries = 0


class Client:
    """One client process."""

    role = "client"

    def __init__(self, world: World, plan: ClientPlan) -> None:
        self.world = world
        self.plan = plan
        self.name = plan.name
        self.link: Link | None = None
        self.dice = Dice(world.swarm.seed, f"client/{plan.name}")
        self.wishes: dict[TaskId, Wish] = {}
        #: Tasks that this client can no longer name in a new submit.
        self.gone: dict[TaskId, None] = {}
        #: What was said, each with the number of the beat after it, until that is acknowledged.
        self.unacked: deque[tuple[int, list[Any]]] = deque()
        #: Requests without an answer; of those, scatters with what they may upload.
        self.asks: dict[int, Any] = {}
        self.left = len(plan.todo)
        self.vanished = False
        self.leaving = False
        self.away_s = 0.0
        self._attached = False
        self._acknowledged = False
        self._beat = 1
        self._next_ask = 1_000_000

    def start(self) -> None:
        self.world.at(self.dice.between(0.0, 0.5), self._connect)
        for todo in self.plan.todo:
            self.world.at(todo.at, self._do, todo)

    # --- the link ----------------------------------------------------------------------------

    def _connect(self) -> None:
        if self.vanished or self.link is not None:
            return
        self.link = link = self.world.net.connect(self, self.world.hub)
        if link is None:
            self.world.at(self.world.now + self.dice.between(0.2, 2.0), self._connect)
            return
        self._attached = False
        attach = wire.Attach(self.plan.session, self.name, self.world.swarm.client_lease_s)
        link.send(self, Frame(self.world.through_wire([attach])))
        self.world.at(self.world.now + _BEAT_S, self._beats, link)

    def _beats(self, link: Link) -> None:
        if link is not self.link or self.vanished:
            return
        if self._attached:
            self._send([wire.ClientBeat(self._beat)])
            self._beat += 1
        self.world.at(self.world.now + _BEAT_S, self._beats, link)

    def on_lost(self, link: Link) -> None:
        if link is not self.link:
            return
        self.link, self._attached = None, False
        wait = self.away_s or self.dice.between(0.05, 1.0)
        self.away_s = 0.0
        self.world.at(self.world.now + wait, self._connect)

    def vanish(self, x: float) -> None:
        """The process is gone for good."""
        self.vanished = True
        link, self.link = self.link, None
        if link is not None:
            link.reset(0.0, x, 0.0, 0.1)

    def say(self, *messages: Any) -> None:
        """Say this, now or when there is a link."""
        self.unacked.append((self._beat, list(messages)))
        if self._attached:
            self._send(list(messages))

    def _send(self, messages: list[Any]) -> None:
        if self.link is not None:
            self.link.send(self, Frame(self.world.through_wire(messages)))

    # --- its plan ----------------------------------------------------------------------------

    def _do(self, todo: Todo) -> None:
        self.left -= 1
        if self.vanished or self.leaving:
            return
        getattr(self, f"_{todo.kind}")(todo)

    def _submit(self, todo: Todo) -> None:
        submit = todo.message
        tasks = []
        for task in submit.tasks:
            if any(dep in self.gone for dep in task.dependencies):
                self.gone[task.id] = None  # it builds on what was lost: it is never submitted
            else:
                tasks.append(task)
        if len(tasks) < len(submit.tasks):
            kept = {task.id for task in tasks}
            wants = submit.wants and tuple(id for id in submit.wants if id in kept)
            submit = wire.Submit(tuple(tasks), submit.options, wants, submit.graph)
        if not tasks:
            return
        wanted = submit.wants
        for task in tasks:
            part = rows(task.id, max(1, len(task.rows)))
            for id in part:
                if wanted is None or task.id in wanted:
                    self.wishes[id] = Wish(part)
                else:
                    self.gone[id] = None
        self.say(submit)

    def _scatter(self, todo: Todo) -> None:
        self.asks[todo.message.ask] = todo.message
        for id in todo.ids:
            self.wishes[id] = Wish((id,))
        self.say(todo.message)

    def _cancel(self, todo: Todo) -> None:
        ids = tuple(
            row
            for id in todo.ids
            for row in rows(id, self.world.model.tasks[id].bundle.rows)
            if row in self.wishes or row in self.gone
        )
        if ids:
            self.world.sometimes("a cancel by force" if todo.force else "a cancel")
            self.say(wire.Cancel(ids, todo.force, "tired of it"))

    def _release(self, todo: Todo) -> None:
        self.drop(todo.ids)

    def drop(self, ids: tuple[TaskId, ...]) -> None:
        """Want these no longer, and the rest of what each was told with."""
        parts = dict.fromkeys(
            one for id in ids if id in self.wishes for one in self.wishes[id].part
        )
        mine = tuple(id for id in parts if self.wishes.pop(id, None) is not None)
        for id in mine:
            self.gone[id] = None
        if mine and "lingers" in self.world.swarm.features and self.dice.chance(0.2):
            self.world.sometimes("a result lingered")
            self.say(wire.Linger(mine))
        elif mine:
            self.say(wire.Release(mine))

    def nest(self, parent: TaskId, specs: tuple[wire.TaskSpec, ...]) -> None:
        """The code of a task submits tasks of its own."""
        new = tuple(s for s in specs if s.id not in self.wishes and s.id not in self.gone)
        if new and not self.vanished and not self.leaving:
            self.wishes.update((spec.id, Wish((spec.id,))) for spec in new)
            self.say(wire.Submit(new, parent=parent))

    def is_waiting(self, specs: tuple[wire.TaskSpec, ...]) -> bool:
        """Whether one of these has not ended."""
        if self.vanished or self.leaving:
            return False
        wishes = [self.wishes.get(spec.id) for spec in specs]
        return any(wish is not None and wish.told in OPEN for wish in wishes)

    def _desire(self, todo: Todo) -> None:
        ids = tuple(id for id in todo.ids if id not in self.wishes)
        for id in ids:
            self.wishes[id] = Wish((id,))
        if ids:
            self.world.sometimes("a client wanted another's result")
            self.say(wire.Desire(ids))

    def _fire(self, todo: Todo) -> None:
        self.say(wire.FireAndForget(tuple(id for id in todo.ids if id in self.wishes)))

    def _ask(self, todo: Todo) -> None:
        self.asks[todo.message.ask] = todo.message
        self.say(todo.message)

    # --- what it is told ---------------------------------------------------------------------

    def on_frame(self, link: Link, frame: Frame) -> None:
        if self.vanished or link is not self.link:
            return
        self.world.note(self.name, "scheduler", frame.messages)
        for message in frame.messages:
            getattr(self, f"_on_{type(message).__name__.lower()}")(message)

    def _on_attached(self, message: wire.Attached) -> None:
        if self._attached:
            return
        self._attached = True
        if not message.resumed and self._acknowledged:
            self.world.sometimes("a client came back too late")
            self.gone.update(dict.fromkeys(self.wishes))
            self.wishes.clear()
            self.asks.clear()
            self.unacked.clear()
            self._acknowledged = False
            return
        if message.resumed:
            self.world.sometimes("a client came back within its lease")
        again = [message for _, messages in self.unacked for message in messages]
        asked = {message.ask for message in again if hasattr(message, "ask")}
        again += [
            wire.WhoHas(ask, (what[0],)) if isinstance(what, tuple) else what
            for ask, what in self.asks.items()
            if ask not in asked
        ]
        # How these ended may have been told on the link that was lost, and they be forgotten since.
        said = {spec.id for one in again if type(one) is wire.Submit for spec in one.tasks}
        said.update(id for one in again if type(one) is wire.Desire for id in one.ids)
        open_ = tuple(
            id for id, wish in self.wishes.items() if wish.told in OPEN and wish.part[0] not in said
        )
        if open_ and message.resumed:
            again.append(wire.Desire(open_))
        self.unacked.clear()
        if again:
            self.unacked.append((self._beat, again))
            self._send(again)

    def _on_beaten(self, message: wire.Beaten) -> None:
        self._acknowledged = True
        while self.unacked and self.unacked[0][0] <= message.number:
            self.unacked.popleft()

    def _of(self, id: TaskId, count: int) -> list[tuple[TaskId, Wish]]:
        part = rows(id, count)
        mine = [(name, self.wishes[name]) for name in part if name in self.wishes]
        for _, wish in mine:
            wish.part = part
        return mine

    def _on_done(self, done: wire.Done) -> None:
        for id, wish in self._of(done.id, done.rows):
            wish.told = "done"
            wish.holders, wish.nbytes = done.holders, done.nbytes
            wish.inline = done.inline is not None
            curious = "gathers" in self.world.swarm.features and self.dice.chance(0.4)
            plain = not wish.inline and not self.world.model.tasks[id].actor
            if curious and plain and not wish.gathering:
                wish.gathering = True
                self._gather(id, wish, 0)
            self._think(id, wish)

    def _think(self, id: TaskId, wish: Wish) -> None:
        """Release it some time after it has ended, now and then only at the very end."""
        # An actor holds its worker: one that is to be retired would never go.
        if self.dice.chance(0.8) or self.world.model.tasks[id].actor:
            self.world.at(self.world.now + self.dice.spread(0.01, 30.0), self._enough, id, wish)

    def _enough(self, id: TaskId, wish: Wish) -> None:
        alive = self.wishes.get(id) is wish and not self.vanished and not self.leaving
        if alive and wish.told in ENDED and not wish.gathering and not self._builds_on(id):
            self.drop((id,))

    def _builds_on(self, id: TaskId) -> bool:
        """Whether it may still submit something that depends on this."""
        dependents = self.world.model.dependents.get(id, ())
        return any(not self.world.model.tasks[one].submits for one in dependents) and self.left > 0

    def _on_erred(self, erred: wire.Erred) -> None:
        for id, wish in self._of(erred.id, erred.rows):
            wish.told = "erred"
            if (
                "retries" in self.world.swarm.features
                and wish.retries < 2
                and self.dice.chance(0.3)
            ):
                wish.retries += 1
                wish.told = "pending"
                self.say(wire.Retry((id,)))
            else:
                self._think(id, wish)

    def _on_cancelled(self, cancelled: wire.Cancelled) -> None:
        for id, wish in self._of(cancelled.id, cancelled.rows):
            wish.told = "cancelled"
            self.drop((id,))

    def _on_lost(self, lost: wire.Lost) -> None:
        for _, wish in self._of(lost.id, lost.rows):
            wish.told = "pending"

    def _on_retried(self, retried: wire.Retried) -> None:
        for _, wish in self._of(retried.id, retried.rows):
            wish.told = "pending"

    def _on_refused(self, refused: wire.Refused) -> None:
        for id in refused.ids:
            if id in self.wishes:
                self.wishes[id].told = "refused"

    def _on_reply(self, reply: wire.Reply) -> None:
        ask = self.asks.pop(reply.ask, None)
        if reply.error:
            self.world.sometimes("a request was answered with an error")
            if isinstance(ask, wire.Scatter):
                self.drop(tuple(item.id for item in ask.items))
        if isinstance(ask, tuple):  # where a value is that is being fetched
            id, wish, tries = ask
            holders = reply.value[0] if reply.value else ()
            wish.holders = tuple(holders)
            self.world.at(self.world.now + 0.2 * min(tries, 10), self._gather, id, wish, tries)

    # --- values ------------------------------------------------------------------------------

    def _gather(self, id: TaskId, wish: Wish, tries: int) -> None:
        """Fetch the value from one that should hold it."""
        if self.wishes.get(id) is not wish or wish.told != "done" or self.vanished:
            wish.gathering = False
            return
        if not wish.holders:
            self._find(id, wish, tries + 1)
            return
        name = wish.holders[tries % len(wish.holders)]
        delay = 3 * self.world.swarm.latency_s + wish.nbytes / self.world.swarm.bandwidth
        self.world.at(self.world.now + delay, self._got, id, wish, name, tries)

    def _got(self, id: TaskId, wish: Wish, name: str, tries: int) -> None:
        world = self.world
        node = world.nodes.get(name)
        blocked = world.net.is_blocked(self.name, name) or world.net.is_blocked(name, self.name)
        key = None
        if node is not None and node.alive and not node.stopped and not blocked:
            key = node.store.has_id(id)
        if key is None:
            self._find(id, wish, tries + 1)
            return
        value, right = node.store.value(key), world.model.tasks[id].value  # type: ignore[union-attr]
        if right is not None and value != right:
            world.fail("value", f"{self.name} got {value} for {id} from {name}, not {right}")
        world.sometimes("a value was fetched")
        if tries:
            world.sometimes("a value was fetched at the second try")
        wish.gathering = False
        self._think(id, wish)

    def _find(self, id: TaskId, wish: Wish, tries: int) -> None:
        """It is not there: ask where it is now."""
        if self.wishes.get(id) is not wish or wish.told != "done":
            wish.gathering = False
            return
        self._next_ask += 1
        self.asks[self._next_ask] = (id, wish, tries)
        self.say(wire.WhoHas(self._next_ask, (id,)))

    def _on_upload(self, upload: wire.Upload) -> None:
        self.asks.pop(upload.ask, None)
        for id, attempt, workers in upload.items:
            for name in workers:
                self._upload(id, attempt, name, 0)

    def _upload(self, id: TaskId, attempt: int, name: str, tries: int) -> None:
        known = self.world.model.tasks[id]
        if self.vanished or known.value is None or tries > 500:
            return
        world = self.world
        node = world.nodes.get(name)
        blocked = world.net.is_blocked(self.name, name) or world.net.is_blocked(name, self.name)
        if node is None or not node.alive or node.stopped or blocked:
            world.at(world.now + 1.0, self._upload, id, attempt, name, tries + 1)
            return
        nbytes = 1000
        stored = ev.Stored(id, attempt, nbytes, "int")
        delay = world.swarm.latency_s + nbytes / world.swarm.bandwidth
        world.at(world.now + delay, node.give, stored, Thing((known.value,), nbytes))

    # --- the end -----------------------------------------------------------------------------

    def open_ends(self) -> list[TaskId | str]:
        """What it still waits for."""
        if self.vanished:
            return []
        ends: list[TaskId | str] = [
            id for id, wish in self.wishes.items() if wish.told in OPEN or wish.gathering
        ]
        # A worker that is retired goes when nothing holds it: an actor that somebody wants does.
        asks = [ask for ask in self.asks.values() if not isinstance(ask, wire.Retire)]
        ends += [f"the answer to {ask!r}" for ask in asks]
        if self.left:
            ends.append("its plan")
        if not self._attached:
            ends.append("a link")
        return ends

    def leave(self) -> None:
        """Want nothing any longer, half by half: some is released, the rest goes with it."""
        self.leaving = True
        if self.vanished:
            return
        if self is self.world.clients[0]:  # it never vanishes: it clears up after all
            self._unpublish()
        self.drop(tuple(self.dice.some(list(self.wishes), 0.5)))
        self.wishes.clear()
        self.say(wire.Leave())
        self.world.at(self.world.now + 5.0, self.vanish, 1.0)

    def _unpublish(self) -> None:
        for client in self.world.clients:
            for todo in client.plan.todo:
                if isinstance(todo.message, wire.Publish):
                    self._next_ask += 1
                    self.say(wire.Unpublish(self._next_ask, todo.message.name))
