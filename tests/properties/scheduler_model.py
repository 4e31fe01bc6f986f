"""A world round the scheduler's machine: rude clients, workers that die, links that lose.

`World` knows how each task would end (its *plan*), never looks at the machine's books to decide
what is right, and holds the promises: everybody is told how what he wants has ended, as planned;
nothing is told twice; and when nobody wants anything any longer, nothing is kept, neither by the
scheduler nor by a worker. What it does next is picked by the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treadle import wire
from treadle.scheduler import SHELL, LinkLost, PeerGone, Policy, Scheduler, Tick
from treadle.scheduler._invariants import check
from treadle.wire import task_id

HOSTS = ("attic", "cellar")
CLIENTS = ("ann", "bob", "cid")
WORKERS = ("u", "v", "w", "x")
OOPS = wire.Failure("exception", "ValueError", "oops")


def rows_of(id: wire.TaskId, rows: int) -> list[wire.TaskId]:
    """The identifiers of so many rows."""
    return [id] if rows == 1 or isinstance(id, str) else [id + i for i in range(rows)]


class Pick(Protocol):
    """Choose one of several."""

    def __call__(self, options: Sequence[Any], /) -> Any: ...


@dataclass
class Plan:
    """What a task does when it runs."""

    id: wire.TaskId
    deps: tuple[wire.TaskId, ...] = ()
    #: Attempts that raise before one that does not; None: all. Likewise for deaths of the slot.
    raises: int | None = 0
    deaths: int | None = 0
    retries: int = 0
    #: Deaths it may have been involved in, as far as the scheduler can know.
    accused: int = 0
    #: It is data that a client gives, and cannot be computed again.
    data: bool = False
    #: It is a row of the bundle with this identifier, which has so many.
    bundle: wire.TaskId | None = None
    rows: int = 1

    @property
    def unit(self) -> list[wire.TaskId]:
        """All rows of its bundle; itself, if it is none."""
        return [self.id] if self.bundle is None else rows_of(self.bundle, self.rows)

    @property
    def own(self) -> set[str]:
        """How it may end if its inputs are there."""
        if self.data:
            return {"done", "lost"}
        if self.deaths is None:
            return {"killed"}
        ends = {"done"}
        if self.raises is None:
            ends = {"exception"}
        if self.accused >= Policy().deaths:
            ends.add("killed")
        return ends


@dataclass
class Wish:
    """What a client was told about a task that it wants."""

    told: str = ""
    #: Answers that may come a second time, as they were asked for again.
    again: int = 0


@dataclass
class ClientSim:
    name: str
    session: int
    wishes: dict[wire.TaskId, Wish] = field(default_factory=dict)
    inbox: deque[wire.Message] = field(default_factory=deque)
    attached: bool = False
    linked: bool = False
    numbers: int = 0
    #: Data that it gave, by the number of its request.
    given: dict[int, wire.TaskId] = field(default_factory=dict)
    #: Its lease was over once: what it wanted before is forgotten.
    forgotten: bool = False

    @property
    def peer(self) -> str:
        return f"client/{self.name}"


@dataclass
class WorkerSim:
    name: str
    epoch: int
    slots: int
    host: str
    gpu: int
    starts: bool
    linked: bool = True
    inbox: deque[wire.Message] = field(default_factory=deque)
    outbox: deque[wire.Message] = field(default_factory=deque)
    given: dict[tuple[wire.TaskId, int], wire.Run] = field(default_factory=dict)
    begun: dict[tuple[wire.TaskId, int], None] = field(default_factory=dict)
    #: Of these, the ones that wait for others.
    aside: dict[tuple[wire.TaskId, int], None] = field(default_factory=dict)
    #: Rows of each object.
    holds: dict[tuple[wire.TaskId, int], int] = field(default_factory=dict)
    #: Outcomes that may not have arrived.
    ended: list[Any] = field(default_factory=list)
    beats: int = 0
    #: Of these, the ones that had arrived before each beat.
    arrived: dict[int, list[Any]] = field(default_factory=dict)
    #: Attempts that the scheduler may think it has, and how many rows they have.
    sent: dict[tuple[wire.TaskId, int], int] = field(default_factory=dict)
    #: Rows of a bundle that have ended, of what it was given.
    ended_rows: dict[tuple[wire.TaskId, int], int] = field(default_factory=dict)
    gone: bool = False
    draining: bool = False

    @property
    def peer(self) -> str:
        return f"worker/{self.name}"


class World:
    """One scheduler, and all who talk to it."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(Policy(aside=1))
        self.now = 0.0
        self.plans: dict[wire.TaskId, Plan] = {}
        self.clients: dict[str, ClientSim] = {}
        self.workers: dict[str, WorkerSim] = {}
        self.epochs = 0
        self.asks = 0
        #: Reports that were made, to be made again.
        self.old: list[tuple[str, wire.Message]] = []
        #: What somebody has cancelled.
        self.stopped: dict[wire.TaskId, None] = {}

    # --- the wire --------------------------------------------------------------------------

    def step(self, event: Any, source: str) -> None:
        sends = self.scheduler.handle(event, source=source, now=self.now)
        check(self.scheduler)
        for send in sends:
            role, _, name = send.to.partition("/")
            peer: Any = self.workers.get(name) if role == "worker" else self.clients.get(name)
            if peer is None or not peer.linked:
                # A stranger is answered, and somebody whose link is lost hears nothing.
                assert all(type(m) in (wire.Reset, wire.Depart) for m in send.messages), send
                continue
            peer.inbox.extend(send.messages)
            if any(type(m) is wire.Attached and not m.resumed for m in send.messages):
                peer.forgotten = True
            if role == "worker":
                for message in send.messages:
                    if type(message) is wire.Run:
                        assert (message.id, message.attempt) not in peer.sent
                        peer.sent[message.id, message.attempt] = max(1, len(message.rows))

    def say(self, client: ClientSim, *messages: wire.Message) -> None:
        self.step([*messages], client.peer)

    def tick(self, dt: float) -> None:
        """Time passes; who can, beats."""
        beats = max(1, round(dt / 4))
        for _ in range(beats):
            self.now += dt / beats
            for worker in list(self.workers.values()):
                if worker.linked:
                    if worker.beats % 2:
                        self.obey(worker)
                    self.flush(worker)
                    self.beat(worker)
            for client in self.clients.values():
                if client.linked:
                    self.say(client, wire.ClientBeat(1))
            self.step(Tick(), SHELL)
            self._reap()

    def _reap(self) -> None:
        """Who was given up is accused of what he had, as far as can be known."""
        for worker in self.workers.values():
            if not worker.linked and worker.name not in self.scheduler.books.workers:
                self._accuse(worker)
                worker.sent.clear()

    def _accuse(self, worker: WorkerSim) -> None:
        for (id, _), rows in worker.sent.items():
            for row in rows_of(id, rows):
                self.plans[row].accused += 1

    # --- clients -----------------------------------------------------------------------------

    def attach(self, name: str) -> None:
        client = self.clients.get(name)
        if client is None:
            client = self.clients[name] = ClientSim(name, CLIENTS.index(name) + 1)
        client.attached = client.linked = True
        for wish in client.wishes.values():
            wish.again += 1
        self.say(client, wire.Attach(client.session, name, 20.0))

    def lose_client(self, client: ClientSim, pick: Pick) -> None:
        """Its link is lost, and the last of what was sent with it."""
        for _ in range(pick(range(len(client.inbox) + 1))):
            client.inbox.pop()
        self.read(client)
        client.linked = False
        self.step(LinkLost(client.peer), SHELL)

    def leave(self, client: ClientSim) -> None:
        self.read(client)
        self.say(client, wire.Leave())
        del self.clients[client.name]
        old = client.numbers
        self.clients[client.name] = client = ClientSim(client.name, client.session)
        client.numbers = old

    def submit(self, client: ClientSim, pick: Pick) -> None:
        """A graph of a few tasks, on each other and on what the client wants already."""
        self.read(client)
        table = tuple(dict.fromkeys(self._options(pick) for _ in range(2)))
        known = [id for id, wish in client.wishes.items() if wish.told != "lost"]
        new: list[wire.TaskId] = []
        units: list[wire.TaskId] = []
        specs = []
        for _ in range(pick(range(1, 6))):
            near = (*known[-4:], *new[-4:])
            deps = tuple(
                dict.fromkeys(pick(near) for _ in range(pick((0, 1, 1, 2)))) if near else ()
            )
            option = pick(range(len(table)))
            rows = pick((1,) * 7 + (2, 3, 8))
            id: wire.TaskId = task_id(client.session, client.numbers + 1)
            client.numbers += rows
            if rows == 1 and pick((False, False, True)):
                id = f"{client.name}-{client.numbers}"
            for row in rows_of(id, rows):
                self.plans[row] = self._plan(row, deps, table[option].retries, pick)
                if rows > 1:
                    self.plans[row].bundle, self.plans[row].rows = id, rows
                new.append(row)
            units.append(id)
            blobs = tuple(bytes([i]) for i in range(rows)) if rows > 1 else ()
            specs.append(wire.TaskSpec(id, pick(("f", "g")), b"do", deps, option, rows=blobs))
        wants = None if pick((True, False)) else tuple(dict.fromkeys((pick(units), units[-1])))
        for id in units if wants is None else wants:
            for row in self.plans[id].unit:
                client.wishes[row] = Wish()
        parent = pick((None, pick(list(self.plans))))
        graph = pick((True, False))
        self.say(client, wire.Submit(tuple(specs), table, wants, graph, parent))

    def _plan(self, id: wire.TaskId, deps: Any, retries: int, pick: Pick) -> Plan:
        plan = Plan(id, deps, retries=retries)
        how = pick(("good",) * 8 + ("raises", "raises", "dies", "bad", "killer"))
        if how == "raises":
            plan.raises = pick(range(retries + 1))
        elif how == "dies":
            plan.deaths = pick((1, 2))
        elif how == "bad":
            plan.raises = None
        elif how == "killer":
            plan.deaths = None
        return plan

    def scatter(self, client: ClientSim, pick: Pick) -> None:
        """A client gives data, or that again which it gave before."""
        self.read(client)
        old = [id for id in client.given.values() if id in client.wishes]
        old = [id for id in old if client.wishes[id].told != "lost"]
        id: wire.TaskId
        if old and pick((False, False, True)):
            id = pick(old)
        else:
            client.numbers += 1
            id = pick((task_id(client.session, client.numbers), f"{client.name}-{client.numbers}"))
            self.plans[id] = Plan(id, data=True)
            client.wishes[id] = Wish()
        self.asks += 1
        client.given[self.asks] = id
        copies = pick((1, 1, 2))
        self.say(client, wire.Scatter(self.asks, (wire.DataSpec(id, "data", 8),), (), copies))

    def _upload(self, client: ClientSim, message: wire.Upload) -> None:
        """The client gives data to the workers it is told, whoever of them has a link to whom."""
        for id, attempt, names in message.items:
            for name in names:
                worker = self.workers.get(name)
                if worker is not None and not worker.gone:
                    worker.holds[id, attempt] = 1
                    if worker.linked:
                        worker.outbox.append(wire.Holding((wire.Held(id, attempt, 8, "int"),)))

    def _options(self, pick: Pick) -> wire.Options:
        hosts = pick(((), (), (), (pick(HOSTS),)))
        gpu = pick((0, 0, 0, 1, 2))
        return wire.Options(
            priority=pick((0.0, 0.0, -1.0)),
            retries=pick((0, 1, 2)),
            slots=pick((1, 1, 1, 2, 0)),
            resources=(("gpu", float(gpu)),) if gpu else (),
            hosts=hosts,
            loose=pick((False, False, True)),
        )

    def release(self, client: ClientSim, pick: Pick) -> None:
        unit = self.plans[pick(list(client.wishes))].unit
        self.read(client)
        for id in unit:
            client.wishes.pop(id, None)
        self.say(client, wire.Release(tuple(unit)))

    def rows(self, client: ClientSim, pick: Pick) -> None:
        """Rows of a bundle of its own are wanted no longer, or stopped, and others stay."""
        self.read(client)
        own = [
            (plan.bundle, plan.rows)
            for id in client.wishes
            if isinstance((plan := self.plans[id]).bundle, int)
            and wire.session_of(plan.bundle) == client.session
        ]
        if not own:
            return
        bundle, rows = pick(own)
        assert isinstance(bundle, int)
        first = pick(range(rows))
        span = (bundle + first, pick(range(1, rows - first + 1)))
        named = rows_of(*span)
        if pick((True, False)):
            for id in named:
                client.wishes.pop(id, None)
            self.say(client, wire.ReleaseRows((span,)))
        else:
            self.stopped.update(dict.fromkeys(named))
            self.say(client, wire.CancelRows((span,), pick((True, False))))

    def linger(self, client: ClientSim, pick: Pick) -> None:
        """As `release`, but somebody else may be about to want it."""
        unit = self.plans[pick(list(client.wishes))].unit
        self.read(client)
        for id in unit:
            client.wishes.pop(id, None)
        self.say(client, wire.Linger(tuple(unit)))

    def restart(self, client: ClientSim) -> None:
        """All begins anew: whatever anybody wants is cancelled."""
        self.asks += 1
        self.stopped.update(dict.fromkeys(self.plans))
        self.say(client, wire.Restart(self.asks, 5.0))
        assert not self.scheduler.books.tasks
        assert not [ts for c in self.scheduler.books.clients.values() for ts in c.wants_what]

    def cancel(self, client: ClientSim, pick: Pick, *, force: bool) -> None:
        unit = self.plans[pick(list(client.wishes))].unit
        self.stopped.update(dict.fromkeys(unit))
        self.say(client, wire.Cancel(tuple(unit), force, waiting=pick((False, False, True))))

    def desire(self, client: ClientSim, other: ClientSim, pick: Pick) -> None:
        """A client wants what another wants, or that again which it wants already."""
        self.read(client)
        self.read(other)
        good = [id for id, wish in other.wishes.items() if wish.told != "lost"]
        if good:
            id = pick(good)
            client.wishes.setdefault(id, Wish())
            for row in self.plans[id].unit:  # all of the part that has it is told of
                if row in client.wishes:
                    client.wishes[row].again += 1
            self.say(client, wire.Desire((id,)))

    def retry(self, client: ClientSim, pick: Pick) -> None:
        self.read(client)
        ids = [id for id, w in client.wishes.items() if w.told not in ("", "done", "lost")]
        if ids:
            self.say(client, wire.Retry((pick(ids),)))

    def fire_and_forget(self, client: ClientSim, pick: Pick) -> None:
        self.read(client)
        good = [id for id, wish in client.wishes.items() if wish.told != "lost"]
        if good:
            self.say(client, wire.FireAndForget((pick(good),)))

    def publish(self, client: ClientSim, pick: Pick) -> None:
        self.read(client)
        good = [id for id, wish in client.wishes.items() if wish.told == "done"]
        if good:
            self.asks += 1
            self.say(
                client, wire.Publish(self.asks, pick(("n", "m")), (pick(good),), override=True)
            )

    def read(self, client: ClientSim) -> None:
        """The client reads what it was sent."""
        while client.inbox:
            self._hear(client, client.inbox.popleft())

    def _hear(self, client: ClientSim, message: Any) -> None:
        kind = type(message)
        if kind is wire.Attached:
            if not message.resumed:
                client.wishes.clear()  # all it wanted is forgotten with it
            if client.wishes:
                # What was cancelled while it was away is not known any longer.
                for wish in client.wishes.values():
                    wish.again += 1
                self.say(client, wire.Desire(tuple(client.wishes)))
            return
        if kind is wire.Refused:
            self._refused(client, message)
            return
        if kind is wire.Upload:
            self._upload(client, message)
            return
        if kind is wire.Reply and message.ask in client.given:
            assert "no worker can take data" in message.error, message
            wish = client.wishes.get(client.given[message.ask])
            if wish is not None and not wish.told:
                del client.wishes[client.given[message.ask]]
            return
        if kind in (wire.Reply, wire.Beaten):
            assert not getattr(message, "error", ""), message
            return
        for id in rows_of(message.id, message.rows):
            wish = client.wishes.get(id)
            if wish is not None:  # else it was let go while the message was on its way
                self._tell(client, id, wish, message)

    def _refused(self, client: ClientSim, message: wire.Refused) -> None:
        assert message.what == "desire", f"{client.name} asked for nothing wrong: {message}"
        for id in message.ids:
            client.wishes.pop(id, None)
            needs = self.needs(id)
            stopped = any(other in self.stopped or self.plans[other].data for other in needs)
            assert client.forgotten or stopped, message

    def _tell(self, client: ClientSim, id: wire.TaskId, wish: Wish, message: Any) -> None:
        kind, was = type(message), wish.told
        if kind is wire.Cancelled:
            del client.wishes[id]
            return
        if kind is wire.Done:
            new, before = "done", ("",)
        elif kind is wire.Erred:
            new, before = message.failure.kind, ("", "done")
            self._blame(id, message)
        elif kind is wire.Lost:
            new, before = "", ("done",)
        else:
            assert kind is wire.Retried, message
            new, before = "", ("exception", "killed")
        if was not in before:
            assert wish.again > 0, f"{client.name} was told {was!r} and then {message}"
            # Whoever asks for some rows is told of the part that has them, again and again.
            wish.again -= self.plans[id].bundle is None
        wish.told = new

    def _blame(self, id: wire.TaskId, message: wire.Erred) -> None:
        """The task that is blamed can fail that way, and the blamed one is needed by this one."""
        kind, needs = message.failure.kind, self.needs(id)
        if message.blame == message.id:
            blamed = [id]
        else:  # of a bundle, the part with the row that is needed
            blamed = [row for row in self.plans[message.blame].unit if row in needs]
        assert blamed, message
        if kind == "lost":
            assert any(self.plans[other].data for other in needs), message
        else:
            assert any(kind in self.plans[row].own for row in blamed), message

    def needs(self, id: wire.TaskId) -> dict[wire.TaskId, None]:
        """The task, and all it depends on."""
        found: dict[wire.TaskId, None] = {id: None}
        stack = [id]
        while stack:
            for dep in self.plans[stack.pop()].deps:
                if dep not in found:
                    found[dep] = None
                    stack.append(dep)
        return found

    def ends(self, id: wire.TaskId) -> set[str]:
        """All the ways in which a task may end."""
        possible: set[str] = set()
        never = False
        for other in self.needs(id):
            own = self.plans[other].own
            possible |= own - {"done"}
            never = never or "done" not in own
        return possible if never else possible | {"done"}

    # --- workers -----------------------------------------------------------------------------

    def join(self, pick: Pick, name: str | None = None, **more: Any) -> None:
        """A worker comes; if there is one of this name, it is a new process."""
        name = name or pick(WORKERS)
        old = self.workers.get(name)
        if old is not None:
            self._accuse(old)
        self.epochs += 1
        worker = WorkerSim(
            name, self.epochs, pick((1, 2, 3)), pick(HOSTS), pick((0, 0, 1, 2)), pick((True, False))
        )
        for key, value in more.items():
            setattr(worker, key, value)
        self.workers[name] = worker
        self._register(worker)

    def _register(self, worker: WorkerSim) -> None:
        worker.linked = True
        begun = [k for k in worker.given if k in worker.begun]
        queued = [k for k in worker.given if k not in worker.begun]
        message = wire.Register(
            worker.name,
            worker.epoch,
            worker.host,
            worker.slots,
            (("gpu", float(worker.gpu)),) if worker.gpu else (),
            starts=worker.starts,
            holds=tuple(
                wire.Held(id, attempt, 8, "int", rows)
                for (id, attempt), rows in worker.holds.items()
            ),
            running=tuple(wire.Attempt(*k) for k in begun),
            queued=tuple(wire.Attempt(*k) for k in queued),
            ended=tuple(worker.ended),
        )
        worker.ended = []
        frame: list[wire.Message] = [message]
        if worker.aside:
            frame.append(wire.Aside(tuple(wire.Attempt(*key) for key in worker.aside)))
        self.step(frame, worker.peer)

    def lose_worker(self, worker: WorkerSim, pick: Pick) -> None:
        """Its link is lost, with the last of what was sent each way."""
        for _ in range(pick(range(len(worker.outbox) + 1))):
            worker.outbox.pop()
        self.flush(worker)
        for _ in range(pick(range(len(worker.inbox) + 1))):
            worker.inbox.pop()
        self.obey(worker)
        worker.outbox.clear()
        worker.linked = False
        self.step(LinkLost(worker.peer), SHELL)

    def relink(self, worker: WorkerSim) -> None:
        worker.inbox.clear()
        worker.outbox.clear()
        self._register(worker)

    def kill(self, worker: WorkerSim, *, accuses: bool) -> None:
        if accuses:
            self._accuse(worker)
        del self.workers[worker.name]
        self.step(PeerGone(worker.peer, -9, accuses, ""), SHELL)

    def flush(self, worker: WorkerSim, most: int = 10_000) -> None:
        """What a worker has said arrives."""
        frame = []
        while worker.outbox and len(frame) < most:
            frame.append(worker.outbox.popleft())
        if frame:
            self.old += [(worker.peer, m) for m in frame]
            del self.old[:-50]
            self.step(frame, worker.peer)

    def obey(self, worker: WorkerSim, most: int = 10_000) -> None:
        """What a worker was told arrives."""
        while worker.inbox and most:
            most -= 1
            self._obey(worker, worker.inbox.popleft())

    def _obey(self, worker: WorkerSim, message: Any) -> None:
        kind = type(message)
        if kind is wire.Run:
            key = (message.id, message.attempt)
            assert key not in worker.given
            for each in message.inputs:
                assert each.holders, message
            if worker.draining:
                worker.given[key] = message
                self._return(worker, key, "drained")
            else:
                worker.given[key] = message
        elif kind is wire.Stop:
            for key in [key for key in worker.given if key[1] == message.attempt]:
                self._return(worker, key, "stopped")
        elif kind is wire.Free:
            worker.holds.pop((message.id, message.attempt), None)
        elif kind is wire.Beaten:
            arrived = worker.arrived.pop(message.number, [])
            worker.ended = [r for r in worker.ended if not any(r is a for a in arrived)]
        elif kind is wire.Reset:
            for store in (worker.given, worker.begun, worker.aside, worker.ended_rows):
                store.clear()
            worker.holds.clear()
            worker.sent.clear()
            worker.ended = []
            worker.outbox.clear()
            worker.inbox.clear()
            self._register(worker)
        elif kind is wire.Drain:
            worker.draining = True
            for key in list(worker.given):
                if key not in worker.begun:
                    self._return(worker, key, "drained")
        elif kind is wire.Depart:
            worker.gone = True
            self.workers.pop(worker.name, None)
        elif kind is wire.Fetch:
            key = (message.id, message.attempt)
            rows = next((w.holds[key] for w in self.workers.values() if key in w.holds), 1)
            worker.holds[key] = rows
            held = wire.Held(*key, 8, "int", rows)
            worker.outbox.append(wire.Holding((held,)))
        else:
            assert kind is wire.Registered, message

    def begin(self, worker: WorkerSim, pick: Pick) -> None:
        key = pick([k for k in worker.given if k not in worker.begun])
        worker.begun[key] = None
        if worker.starts:
            worker.outbox.append(wire.Started((wire.Attempt(*key),)))

    def turn(self, worker: WorkerSim, pick: Pick) -> None:
        """An attempt waits for others, or goes on."""
        key = pick(list(worker.begun))
        if key in worker.aside:
            del worker.aside[key]
            worker.outbox.append(wire.Back((wire.Attempt(*key),)))
        elif worker.given[key].slots:
            worker.aside[key] = None
            worker.outbox.append(wire.Aside((wire.Attempt(*key),)))

    def move(self, worker: WorkerSim, pick: Pick) -> None:
        """An attempt asks to be run elsewhere."""
        self._return(worker, pick(list(worker.begun)), "rescheduled")

    def end(self, worker: WorkerSim, pick: Pick) -> None:
        """An attempt ends as its plan says; of a bundle, some of its rows."""
        key = pick(list(worker.given))
        run = worker.given[key]
        before = worker.ended_rows.get(key, 0)
        left = rows_of(run.id, max(1, len(run.rows)))[before:]
        first, plan = left[0], self.plans[left[0]]
        at = (first, run.attempt)
        report: Any
        if plan.deaths is None or plan.deaths > 0:
            plan.deaths = None if plan.deaths is None else plan.deaths - 1
            plan.accused += 1
            report = wire.Died(*at, -11)
        elif plan.raises is None or plan.raises > 0:
            plan.raises = None if plan.raises is None else plan.raises - 1
            report = wire.Failed(*at, OOPS, 0.1)
        else:
            good = 1
            while good < len(left) and self._is_good(left[good]):
                good += 1
            rows = pick(range(1, good + 1))
            worker.holds[at] = rows
            report = wire.Finished(*at, 8, "int", pick((0.0001, 0.1, 2.0)), rows=rows)
        self._report(worker, report)
        worker.ended_rows[key] = before + report.rows
        if report.rows == len(left):
            self._over(worker, key)
        elif type(report) is wire.Died:
            self._return(worker, key, "slot")

    def _is_good(self, id: wire.TaskId) -> bool:
        plan = self.plans[id]
        return plan.deaths == 0 and plan.raises == 0

    def _over(self, worker: WorkerSim, key: tuple[wire.TaskId, int]) -> None:
        del worker.given[key]
        worker.begun.pop(key, None)
        worker.aside.pop(key, None)
        worker.ended_rows.pop(key, None)

    def _report(self, worker: WorkerSim, report: Any) -> None:
        worker.ended.append(report)
        worker.outbox.append(report)

    def _return(
        self, worker: WorkerSim, key: tuple[wire.TaskId, int], why: str, missing: Any = ()
    ) -> None:
        """An attempt, or what is left of it, does not run."""
        run = worker.given[key]
        left = rows_of(run.id, max(1, len(run.rows)))[worker.ended_rows.get(key, 0) :]
        self._over(worker, key)
        self._report(worker, wire.Returned(left[0], key[1], why, missing, len(left)))

    def give_back(self, worker: WorkerSim, pick: Pick) -> None:
        """An attempt does not run; perhaps because an input could not be had."""
        key = pick(list(worker.given))
        missing = []
        for each in worker.given[key].inputs:
            if pick((False, True)):
                missing.append((each.id, pick(each.holders)))
        self._return(worker, key, "inputs", tuple(missing))

    def drop(self, worker: WorkerSim, pick: Pick) -> None:
        """A worker has lost an object."""
        key = pick(list(worker.holds))
        del worker.holds[key]
        worker.outbox.append(wire.Dropped((wire.Attempt(*key),), "disk"))

    def beat(self, worker: WorkerSim) -> None:
        if not worker.linked or worker.gone:
            return
        worker.beats += 1
        waiting = [id(report) for report in worker.outbox]
        worker.arrived[worker.beats] = [r for r in worker.ended if id(r) not in waiting]
        listed = tuple(wire.Attempt(*key) for key in worker.given)
        self.step(wire.Beat(worker.beats, listed), worker.peer)

    def status(self, worker: WorkerSim, *, paused: bool) -> None:
        self.step(wire.Status(8 * len(worker.holds), 0, paused), worker.peer)

    def again(self, pick: Pick) -> None:
        """An old report arrives once more, or only now."""
        peer, message = pick(self.old)
        worker = self.workers.get(peer[7:])
        repeats = type(message) in (wire.Finished, wire.Failed, wire.Died, wire.Returned)
        if worker is not None and worker.linked and repeats:
            self.step(message, peer)

    # --- the end -----------------------------------------------------------------------------

    def settle(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        """All links hold, every kind of worker is there, and everybody answers, until all rest."""
        for client in self.clients.values():
            if not client.linked and client.attached:
                self.attach(client.name)
        for worker in list(self.workers.values()):
            if not worker.linked:
                self.relink(worker)
            self.status(worker, paused=False)
        for i, host in enumerate(HOSTS):
            self.join(pick, f"last-{i}", host=host, slots=2, gpu=2)
        calm = 0
        for _ in range(1000):
            before = self._signs()
            while self._turn(pick):
                pass
            self.tick(4.0)
            calm = calm + 1 if self._signs() == before else 0
            if calm == 2:
                return
        raise AssertionError(f"there is no end of it: {list(self.scheduler.books.tasks.values())}")

    def _signs(self) -> object:
        """What is still changing while something goes on."""
        books = self.scheduler.books
        told = [wish.told for client in self.clients.values() for wish in client.wishes.values()]
        return (books.attempts, len(books.tasks), len(books.workers), told)

    def _turn(self, pick: Callable[[Sequence[Any]], Any]) -> bool:
        """Everybody does what there is to do; whether there was anything."""
        busy = False
        for worker in list(self.workers.values()):
            while worker.inbox or worker.given or worker.outbox:
                busy = True
                self.obey(worker)
                while worker.given:
                    self.end(worker, pick)
                self.flush(worker)
                if worker.gone:
                    break
        for client in self.clients.values():
            busy = busy or bool(client.inbox)
            self.read(client)
        return busy

    def hold_promises(self) -> None:
        """Everybody was told how what he wants has ended."""
        for client in self.clients.values():
            for id, wish in client.wishes.items():
                assert wish.told in self.ends(id), (client.name, self.plans[id], wish)

    def empty(self, pick: Callable[[Sequence[Any]], Any]) -> None:
        """Nobody wants anything any longer: nothing is kept."""
        for client in list(self.clients.values()):
            if client.attached:
                self.say(client, wire.Leave())
                client.attached = client.linked = False
                client.inbox.clear()
        self.clients["end"] = ClientSim("end", 99)
        self.attach("end")
        for name in ("n", "m"):
            if f"published/{name}" in self.scheduler.books.clients:
                self.say(self.clients["end"], wire.Unpublish(1, name))
        while self._turn(pick):
            pass
        books = self.scheduler.books
        for _ in range(8):  # what lingers does so for a while
            self.tick(books.policy.linger_s / 8)
            while self._turn(pick):
                pass
        assert not books.lingering
        assert not books.watch.musters
        assert not books.tasks, list(books.tasks.values())
        assert not books.groups
        for ws in books.workers.values():
            assert not ws.processing
            assert not ws.has_what
            assert not ws.slots_taken
            assert ws.free == ws.resources
        for worker in self.workers.values():
            assert not worker.holds, f"{worker.name} holds what nobody needs"
