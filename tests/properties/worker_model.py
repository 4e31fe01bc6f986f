"""A world round the worker's machine: slots, a disk, peers and a scheduler that do as they like.

`World` keeps books of its own, from what it told the machine and what the machine ordered, and
never looks at the machine's to decide what is right. What it does next is picked by the caller:
by Hypothesis, which shrinks, or by dice, which are fast.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treadle import wire
from treadle import worker as w
from treadle.worker import SCHEDULER, SHELL, Limits, Worker, check


class Pick(Protocol):
    """Choose one of several."""

    def __call__(self, options: Sequence[Any], /) -> Any: ...


Key = tuple[Any, int]
PEERS = ("p1", "p2", "p3")
FAILURE = wire.Failure("exception", "ValueError", "no")
RESCHEDULED = wire.Failure("rescheduled", "Reschedule", "")
OUTCOMES = (wire.Finished, wire.Failed, wire.Died, wire.Returned)
SIZES = (0, 1, 10, 30, 60)
BUDGET = 100


@dataclass
class Process:
    """One slot's process, and what it has said that the machine has not heard."""

    number: int
    socket: deque[wire.Run] = field(default_factory=deque)
    run: wire.Run | None = None
    row: int = 0
    asked: bool = False
    granted: bool = False
    dead: bool = False
    #: The machine has ordered its end.
    killed: bool = False
    #: What it runs waits for others; it would go on; and whether the machine has heard that it
    #: takes no slot.
    aside: bool = False
    wants: bool = False
    gave: bool = False
    #: It may read what is being taken back, though it has no slot.
    over: bool = False
    #: Is or was an actor's, which keeps what it takes.
    actor: wire.Run | None = None
    said: deque[Any] = field(default_factory=deque)
    #: What it may read, until the machine has heard that it is over.
    reads: list[wire.Run] = field(default_factory=list)


@dataclass
class Order:
    """A Run that was sent."""

    run: wire.Run
    #: Its outcome must come: it was the newest attempt when it was sent.
    due: bool = True
    #: Rows whose outcome the scheduler has heard, and which.
    heard: dict[int, type] = field(default_factory=dict)
    #: Of these, the rows that are not told again.
    sure: set[int] = field(default_factory=set)

    @property
    def rows(self) -> int:
        return len(self.run.rows) or 1


class World:
    """One worker's machine, its shell, its scheduler and its peers."""

    def __init__(self, *, slots: int, budget: int, depth: int = 2, beside: int = 1000) -> None:
        limits = Limits(
            depth=depth, asks=2, batch_bytes=40, incoming_bytes=80, serves=2, beside=beside
        )
        self.resources = {"gpu": 2.0, "licence": 1.0}
        self.slot_count = slots
        self.budget = budget
        self.worker = Worker(
            "me",
            1,
            host="here",
            slots=slots,
            resources=tuple(self.resources.items()),
            memory_bytes=budget,
            limits=limits,
        )
        self.now = 0.0
        self.processes: dict[int, Process] = {}
        self.numbers = 0
        #: Who has been heard to want a turn, in that order.
        self.wanting: list[Process] = []
        #: Slot processes that have been ordered.
        self.ordered = 0
        #: Bytes of objects, and where they are: memory, spilling, disk, restoring.
        self.sizes: dict[Key, int] = {}
        self.places: dict[Key, str] = {}
        self.types: dict[Key, int] = {}
        #: Requests that peers have, late ones too; transfers to peers that go on.
        self.requests: list[tuple[str, wire.GetData]] = []
        self.transfers: dict[tuple[str, int], list[Key]] = {}
        self.ends_by: dict[tuple[str, int], float] = {}
        self.asks = 0
        self.linked = False
        self.orders: dict[Key, Order] = {}
        self.newest: dict[int, int] = {}
        self.actors: list[int] = []
        #: What the scheduler was told since the last beat it has answered: lost with the link.
        self.frames: list[list[Any]] = []
        self.beat = 0
        #: Orders of the scheduler, to be said again.
        self.said: list[Any] = []
        self.drained = False
        self.repeating = False
        self.sound = True

    # --- one step ------------------------------------------------------------------------------

    def tell(self, event: Any, source: str = SHELL) -> None:
        """Tell the machine something, and hold what it orders against the promises."""
        self.sound = False
        commands = self.worker.handle(event, source=source, now=self.now)
        sends = [c.to for c in commands if isinstance(c, w.Send)]
        assert len(sends) == len(set(sends)), "one frame for each peer"
        kinds = [isinstance(c, w.Send) for c in commands]
        assert kinds == sorted(kinds), "what is said goes out last"
        for command in commands:
            DEEDS[type(command)](self, command)
        check(self.worker)
        self.balance()
        self.sound = True

    def balance(self) -> None:
        """Slots and resources are not given twice."""
        slots, taken = 0, dict.fromkeys(self.resources, 0.0)
        for process in self.processes.values():
            run = process.actor or (process.reads[0] if process.reads else None)
            if run is None:
                continue
            if process.actor is None and not (process.gave or process.over):
                slots += run.slots
            for name, amount in run.resources:
                taken[name] += amount
        assert slots <= self.slot_count
        for name, amount in taken.items():
            assert amount <= self.resources[name] + 1e-6

    # --- what the machine orders ---------------------------------------------------------------

    def start_slot(self, command: w.StartSlot) -> None:
        self.ordered += 1

    def process_of(self, command: Any) -> Process:
        """The process that is meant; it may have ended in the same step."""
        return self.processes.get(command.slot) or Process(command.slot, dead=True)

    def kill_slot(self, command: w.KillSlot) -> None:
        process = self.process_of(command)
        process.killed = True
        if not process.dead:
            process.dead = True
            process.said.append(w.SlotDown(process.number, None, -9, ours=True))
        if process in self.wanting:
            self.wanting.remove(process)

    def feed(self, command: w.Feed) -> None:
        process = self.processes[command.slot]
        run = command.run
        key = (run.id, run.attempt)
        assert key in self.orders
        assert run.home is not None or not self.drained, "nothing but calls is begun any longer"
        assert run.ahead or not process.reads, "only what is short is fed ahead"
        assert not process.gave, "nothing is put behind who waits"
        if not run.slots:
            assert not process.reads, "it has a process of its own"
        elif run.home is None and not run.actor:
            assert not self.wanting, "who wants a turn goes before what is new"
        if run.home is not None:
            assert process.actor is not None
            assert process.actor.id == run.home
        else:
            assert process.actor is None
        if run.actor:
            process.actor = run
        process.reads.append(run)
        process.socket.append(run)
        self.inputs_are_there(run)

    def inputs_are_there(self, run: wire.Run) -> None:
        for each in run.inputs:
            assert self.places.get((each.id, each.attempt)) == "memory", f"{each} is not there"

    def take_back(self, command: w.TakeBack) -> None:
        process = self.process_of(command)
        for run in process.socket:
            if (run.id, run.attempt) == (command.id, command.attempt) and not process.dead:
                process.socket.remove(run)
                process.said.append(w.TakenBack(process.number, run.id, run.attempt))
                return

    def give_turn(self, command: w.GiveTurn) -> None:
        process = self.process_of(command)
        if process in self.wanting:
            assert process is self.wanting.pop(0), "the first first"
        if not process.dead:
            assert process.wants, "nobody has asked for it"
            assert process.run is not None
            assert process.run.attempt == command.attempt
            process.aside = process.wants = process.gave = False

    def grant(self, command: w.Grant) -> None:
        process = self.processes[command.slot]
        if not process.dead:
            assert process.asked
            process.granted = True

    def deny(self, command: w.Deny) -> None:
        process = self.process_of(command)
        if not process.dead:
            assert process.asked
            self.ends(process, raises=True)

    def is_used(self, key: Key) -> bool:
        if any(key in keys for keys in self.transfers.values()):
            return True
        reading = [run for process in self.processes.values() for run in process.reads]
        return any((e.id, e.attempt) == key for run in reading for e in run.inputs)

    def spill(self, command: w.Spill) -> None:
        key = (command.id, command.attempt)
        assert self.places.get(key) == "memory"
        assert not self.is_used(key), "what is used stays in memory"
        self.places[key] = "spilling"

    def restore(self, command: w.Restore) -> None:
        key = (command.id, command.attempt)
        assert self.places.get(key) == "disk"
        self.places[key] = "restoring"

    def discard(self, command: w.Discard) -> None:
        key = (command.id, command.attempt)
        said = [event for process in self.processes.values() for event in process.said]
        if any(isinstance(e, w.Ended) and (e.id, e.attempt) == key for e in said):
            return  # a copy of it came too late; the one that was made here stays
        place = self.places.pop(key, None)
        assert place not in ("spilling", "restoring") or place is None
        assert not self.is_used(key), "what is used is not forgotten"

    def exit(self, command: w.Exit) -> None:
        raise AssertionError("nobody has said that the worker may go")

    def send(self, command: w.Send) -> None:
        if command.to == SCHEDULER:
            assert self.linked, "there is no link"
            self.frames.append(command.messages)
            for message in command.messages:
                self.hear(message)
            return
        for message in command.messages:
            if isinstance(message, wire.GetData):
                asked = [ask for peer, ask in self.requests if peer == command.to]
                assert message.ask not in [ask.ask for ask in asked]
                self.requests.append((command.to, message))
            elif isinstance(message, wire.Data) and message.objects:
                keys = [(held.id, held.attempt) for held in message.objects]
                for key in keys:
                    assert self.places.get(key) == "memory", "what is sent is in memory"
                self.transfers[command.to, message.ask] = keys
                self.ends_by[command.to, message.ask] = self.now + 30

    # --- what the scheduler hears --------------------------------------------------------------

    def hear(self, message: Any) -> None:
        if isinstance(message, OUTCOMES):
            self.outcome(message)
        elif isinstance(message, wire.Register):
            for outcome in message.ended:
                self.outcome(outcome, again=True)
            known = {(a.id, a.attempt) for a in (*message.running, *message.queued)}
            for key, order in self.orders.items():
                told = len(order.heard) == order.rows
                newer = self.newest[key[0]] > key[1]
                assert told or newer or not order.due or key in known, f"{key} is forgotten"
        elif isinstance(message, wire.Started):
            for each in message.attempts:
                assert (each.id, each.attempt) in self.orders
        elif isinstance(message, wire.Beat):
            self.beat = message.number

    def outcome(self, message: Any, *, again: bool = False) -> None:
        """Each row of each attempt ends once."""
        key = (message.id, message.attempt)
        rows = [0]
        order = self.orders.get(key)
        if isinstance(message.id, int) and order is None:
            for other in self.orders.values():
                same = other.run.attempt == message.attempt
                if same and other.run.id <= message.id < other.run.id + other.rows:
                    order = other
        if order is None or (isinstance(message, wire.Returned) and message.why == "unknown"):
            return
        assert isinstance(order.run.id, int)
        first = message.id - order.run.id
        rows = list(range(first, first + message.rows))
        assert rows[-1] < order.rows
        again = again or self.repeating
        for row in rows:
            old = order.heard.get(row)
            assert old is None or again, f"{message} comes after {old}"
            order.heard[row] = type(message)

    # --- what slots do -------------------------------------------------------------------------

    def slot_comes_up(self, pick: Pick) -> None:
        if self.ordered:
            self.ordered -= 1
            self.numbers += 1
            if pick([True] * 9 + [False]):
                self.processes[self.numbers] = Process(self.numbers)
                self.tell(w.SlotUp(self.numbers))
            else:
                self.tell(w.SlotDown(self.numbers, None, 1))

    def slot_acts(self, pick: Pick) -> None:
        """A process reads, asks for room, or ends a row of what it runs."""
        able = [p for p in self.processes.values() if self.is_able(p)]
        if not able:
            return
        process = pick(able)
        if process.run is None:
            run = process.run = process.socket.popleft()
            process.row, process.asked, process.granted = 0, False, False
            process.said.append(w.Began(process.number, run.id, run.attempt))
        elif process.aside and pick([True, True, False]):
            process.wants = True
            process.said.append(w.WantsTurn(process.number, process.run.id, process.run.attempt))
        elif not (process.aside or process.asked) and pick([False, True]):
            process.aside = True
            process.said.append(w.WentAside(process.number, process.run.id, process.run.attempt))
        elif not process.asked and pick([False, True]):
            process.asked = True
            nbytes = pick([*SIZES, BUDGET, BUDGET + 1])
            run = process.run
            process.said.append(
                w.GrantAsked(process.number, run.id + process.row, run.attempt, nbytes)
            )
        else:
            self.ends(process, raises=pick([False] * 4 + [True]), nbytes=pick(SIZES), pick=pick)

    def is_able(self, process: Process) -> bool:
        """Whether it can do something without being told anything."""
        if process.dead or process.wants:
            return False
        if process.run is None:
            return bool(process.socket)
        return not process.asked or process.granted

    def ends(
        self, process: Process, *, raises: bool, nbytes: int = 1, pick: Pick | None = None
    ) -> None:
        run = process.run
        assert run is not None
        left = (len(run.rows) or 1) - process.row
        rows = 1 if raises or pick is None else pick(range(1, left + 1))
        last = rows == left
        id, number = run.id + process.row, process.number
        if raises:
            failure = FAILURE if pick is None else pick([FAILURE, FAILURE, RESCHEDULED])
            event: Any = w.Raised(number, id, run.attempt, failure, 0.1, rows=rows, last=last)
        else:
            key = (id, run.attempt)
            if not run.actor:
                self.places.setdefault(key, "memory")
                self.sizes.setdefault(key, nbytes)
            event = w.Ended(number, id, run.attempt, nbytes, "int", 0.1, rows=rows, last=last)
        process.said.append(event)
        process.row += rows
        process.asked = process.granted = False
        if last:
            process.run = None
            process.aside = False

    def slot_dies(self, pick: Pick) -> None:
        living = [p for p in self.processes.values() if not p.dead]
        if not living:
            return
        process = pick(living)
        process.dead = True
        accused = None
        if process.run is not None:
            accused = wire.Attempt(process.run.id + process.row, process.run.attempt)
            if process.said and isinstance(process.said[-1], w.Began) and pick([True, False]):
                process.said.pop()  # it died before that was said
        ours = pick([False, False, True])
        process.said.append(w.SlotDown(process.number, accused, -11, ours=ours))

    def hear_slot(self, pick: Pick) -> None:
        """The machine hears what a slot has said."""
        saying = [p for p in self.processes.values() if p.said]
        if not saying:
            return
        process = pick(saying)
        events = []
        for _ in range(pick([1, 1, 2, 4])):
            if process.said:
                events.append(event := process.said.popleft())
                self.over(process, event)
        self.tell(events[0] if len(events) == 1 else events)

    def over(self, process: Process, event: Any) -> None:
        """What a process no longer reads, as soon as the machine hears the event."""
        if isinstance(event, w.SlotDown):
            del self.processes[process.number]
            if process in self.wanting:
                self.wanting.remove(process)
            return
        takes = bool(process.reads) and process.reads[0].slots and process.actor is None
        if isinstance(event, w.WentAside) and takes and not process.killed:
            process.gave = True
        if isinstance(event, w.WantsTurn) and process.gave and not process.killed:
            self.wanting.append(process)
        if isinstance(event, w.TakenBack) or (isinstance(event, w.Ended | w.Raised) and event.last):
            for run in process.reads:
                ids = range(run.id, run.id + (len(run.rows) or 1))
                if run.attempt == event.attempt and event.id in ids:
                    process.reads.remove(run)
                    if run.actor and not isinstance(event, w.Ended):
                        process.actor = None
                    break
            if not isinstance(event, w.TakenBack):
                process.over, process.gave = process.over or process.gave, False
            process.over = process.over and bool(process.reads)

    # --- disk, peers ---------------------------------------------------------------------------

    def disk_answers(self, pick: Pick) -> None:
        moving = [key for key, place in self.places.items() if place in ("spilling", "restoring")]
        if not moving:
            return
        key, good = pick(moving), pick([True] * 5 + [False])
        if self.places[key] == "spilling":
            self.places[key] = "disk" if good else "memory"
            self.tell(w.Spilled(*key) if good else w.NotSpilled(*key, "no room"))
        elif good:
            self.places[key] = "memory"
            self.tell(w.Restored(*key))
        else:
            del self.places[key]
            self.tell(w.NotRestored(*key, "no such file"))

    def peer_answers(self, pick: Pick) -> None:
        if not self.requests:
            return
        peer, asked = pick(self.requests)
        how = pick(["data", "data", "data", "some", "busy", "lost", "again"])
        if how != "again":
            self.requests.remove((peer, asked))
        if how == "busy":
            self.tell(wire.Busy(asked.ask), peer)
        elif how == "lost":
            self.peer_goes(peer)
        else:
            self.peer_sends(
                peer, asked, [a for a in asked.objects if how != "some" or pick([0, 1])]
            )

    def peer_sends(self, peer: str, asked: wire.GetData, found: list[wire.Attempt]) -> None:
        held = []
        for each in found:
            key = (each.id, each.attempt)
            self.places.setdefault(key, "memory")
            held.append(wire.Held(each.id, each.attempt, self.sizes.setdefault(key, 10)))
        missing = tuple(each.id for each in asked.objects if each not in found)
        self.tell(wire.Data(asked.ask, tuple(held), missing), peer)

    def peer_asks(self, pick: Pick) -> None:
        self.asks += 1
        keys = [pick(self.keys) for _ in range(pick([1, 2]))] if self.keys else [(1, 1)]
        objects = tuple(wire.Attempt(*key) for key in keys)
        self.tell(wire.GetData(self.asks, objects), pick(PEERS))

    def transfer_ends(self, pick: Pick) -> None:
        if self.transfers:
            peer, ask = pick(list(self.transfers))
            if pick([True, True, False]):
                del self.transfers[peer, ask]
                self.tell(w.Sent(peer, ask))
            else:
                self.peer_goes(peer)

    def peer_goes(self, peer: str) -> None:
        for key in [key for key in self.transfers if key[0] == peer]:
            del self.transfers[key]
        self.tell(w.LinkDown(peer))

    # --- the scheduler -------------------------------------------------------------------------

    @property
    def keys(self) -> list[Key]:
        return list(self.sizes)

    def order(self, message: Any) -> None:
        if self.linked:
            self.said.append(message)
            self.tell(message, SCHEDULER)

    def run(self, pick: Pick) -> None:
        """The scheduler orders a new task, or a new attempt."""
        if not self.linked:
            return
        if self.newest and pick([0, 0, 0, 1]):
            id = pick(list(self.newest))
        else:
            id = 1000 * (len(self.newest) + 1)
        attempt = self.newest[id] = self.newest.get(id, 0) + 1
        kind = pick(
            ["plain"] * 6
            + ["wide", "gpu", "both", "timed", "actor", "bundle", "beside"]
            + ["call"] * 2
        )
        options: dict[str, Any] = {"ahead": kind == "plain" and pick([True, True, False])}
        if kind == "wide":
            options["slots"] = pick([1, self.slot_count])
        if kind == "beside":
            options["slots"] = 0
            options["ahead"] = pick([True, False])
            options["resources"] = pick([(), (), (("gpu", 1.0),)])
        if kind in ("gpu", "both"):
            options["resources"] = (("gpu", pick([0.5, 1.0, 2.0])),)
        if kind == "both":
            options["resources"] += (("licence", 1.0),)
        if kind == "timed":
            options["walltime_s"] = 1.0
        if kind == "actor":
            options["actor"] = True
            options["resources"] = pick([(), (("gpu", 1.0),)])
            self.actors.append(id)
        if kind == "call" and self.actors:
            options["home"] = pick(self.actors)
        if kind == "bundle":
            options["rows"] = tuple(b"row" for _ in range(pick([2, 3, 5])))
        inputs = {key: self.an_input(key, pick) for key in self.some_keys(pick)}
        rank = (float(pick([0, 0, 1, 2])), pick([0, 1]))
        run = wire.Run(id, attempt, b"", tuple(inputs.values()), rank, **options)
        self.orders[id, attempt] = Order(run)
        self.order(run)

    def some_keys(self, pick: Pick) -> list[Key]:
        keys: list[Key] = []
        for _ in range(pick([0, 0, 0, 1, 1, 2])):
            if self.keys and pick([True, False]):
                keys.append(pick(self.keys))
            else:
                key = (500 + len(self.sizes), 1)
                self.sizes[key] = pick(SIZES)
                keys.append(key)
        return keys

    def an_input(self, key: Key, pick: Pick) -> wire.Input:
        holders = tuple(pick(PEERS) for _ in range(pick([1, 1, 2, 3])))
        return wire.Input(*key, self.sizes[key], tuple(dict.fromkeys(holders)))

    def stop(self, pick: Pick) -> None:
        if self.orders:
            self.repeat_of(wire.Stop(*pick(list(self.orders))))

    def repeat_of(self, message: Any) -> None:
        self.repeating = True
        self.order(message)
        self.repeating = False

    def repeat(self, pick: Pick) -> None:
        """An order comes a second time, late."""
        if self.said:
            message = pick(self.said[-20:])
            if isinstance(message, wire.Run):
                order = self.orders[message.id, message.attempt]
                if len(order.heard) == order.rows:
                    # It may have been forgotten here and run again: a second outcome is no fault.
                    order.heard = {}
                    order.due = False
            self.repeat_of(message)

    def free(self, pick: Pick) -> None:
        if self.keys or self.orders:
            self.order(wire.Free(*pick([*self.keys, *self.orders])))

    def fetch(self, pick: Pick) -> None:
        for key in self.some_keys(pick):
            each = self.an_input(key, pick)
            self.order(wire.Fetch(each.id, each.attempt, each.nbytes, each.holders))

    def give(self, pick: Pick) -> None:
        """A client gives data."""
        key = (700 + len(self.sizes), 0)
        self.sizes[key] = pick(SIZES)
        self.places[key] = "memory"
        self.tell(w.Stored(*key, self.sizes[key]))

    def link(self, pick: Pick) -> None:
        """The link is lost, with some of what was said last; or is there again."""
        if not self.linked:
            self.linked = True
            self.tell(w.LinkUp())
            self.tell(wire.Registered(1.0, 10.0), SCHEDULER)
            return
        kept = pick(range(len(self.frames) + 1))
        for frame in self.frames[kept:]:
            for message in frame:
                if isinstance(message, wire.Register):
                    for outcome in message.ended:
                        self.unhear(outcome)
                elif isinstance(message, OUTCOMES):
                    self.unhear(message)
        self.frames = []
        self.linked = False
        self.tell(w.LinkDown(SCHEDULER))

    def unhear(self, outcome: Any) -> None:
        for order in self.orders.values():
            first = outcome.id - order.run.id
            if order.run.attempt == outcome.attempt and 0 <= first < order.rows:
                # What is newer makes it needless.
                order.due = order.due and self.newest[order.run.id] == order.run.attempt
                for row in range(first, min(first + outcome.rows, order.rows)):
                    if row not in order.sure:
                        order.heard.pop(row, None)

    def answer_beat(self, pick: Pick) -> None:
        beats = [m.number for frame in self.frames for m in frame if isinstance(m, wire.Beat)]
        if beats and self.linked:
            self.frames = []
            for order in self.orders.values():
                order.sure |= order.heard.keys()
            self.tell(wire.Beaten(max(beats)), SCHEDULER)

    def drain(self, pick: Pick) -> None:
        if pick([True, False]):
            self.drained = self.linked or self.drained
            self.order(wire.Drain())
        else:
            self.drained = True
            self.tell(w.DrainAsked("the block ends", pick([0.0, 1.0, 100.0])))

    def reset(self, pick: Pick) -> None:
        if not self.linked:
            return
        for order in self.orders.values():
            order.due = False
            for row in range(order.rows):
                order.heard.setdefault(row, wire.Returned)
        if "leaving" not in self.__dict__ and self.worker.books.leaving is None:
            self.drained = False
        self.frames = []
        self.said = []
        self.tell(wire.Reset("you were gone for long"), SCHEDULER)
        self.tell(wire.Registered(1.0, 10.0), SCHEDULER)

    def time_passes(self, pick: Pick) -> None:
        wake = self.worker.wake_at
        self.now += pick([0.001, 0.01, 1.0])
        if wake is not None and pick([True, False]):
            self.now = max(self.now, wake)
        for key in list(self.transfers):
            if self.now >= self.ends_by[key]:  # nobody believes in it any longer
                del self.transfers[key]
        self.tell(w.Tick())

    def rubbish(self, pick: Pick) -> None:
        """Somebody says what is not so, or what he may not say."""
        slot = pick([0, 1, 2, 99])
        id, attempt = pick([*self.orders, (7, 7)])
        event = pick(
            [
                w.Began(slot, 7, 7),
                w.TakenBack(slot, id, 99),
                w.GrantAsked(99, id, attempt, 5),
                w.WentAside(slot, 7, 7),
                w.WantsTurn(slot, id, 99),
                w.Spilled(7, 7),
                w.NotSpilled(7, 7, ""),
                w.Restored(7, 7),
                w.NotRestored(7, 7, ""),
                w.Sent("p1", 10**6),
                w.SlotDown(99, None, 1) if not self.ordered else w.Tick(),
                wire.Run(1, 1, b""),
            ]
        )
        self.tell(event)
        self.tell(wire.Run(1, 1, b""), "p1")
        self.tell([wire.Data(10**6, ()), wire.Busy(10**6)], pick(PEERS))
        if self.linked:
            self.tell([wire.Beaten(10**6), wire.GetData(1, ())], SCHEDULER)

    # --- the end -------------------------------------------------------------------------------

    def quiet_down(self, pick: Pick) -> None:
        """Faults end and all that is owed is answered: then every row has ended, once."""

        def first(options: Sequence[Any], /) -> Any:
            return options[0]

        if not self.linked:
            self.link(first)
        for _ in range(3_000):
            if self.ordered and not self.drained:
                self.slot_comes_up(first)
            elif any(p.said for p in self.processes.values()):
                self.hear_slot(pick)
            elif any(place in ("spilling", "restoring") for place in self.places.values()):
                self.disk_answers(first)
            elif self.requests:
                peer, asked = self.requests.pop(0)
                self.peer_sends(peer, asked, list(asked.objects))
            elif self.transfers:
                peer, ask = next(iter(self.transfers))
                del self.transfers[peer, ask]
                self.tell(w.Sent(peer, ask))
            elif any(self.is_able(p) for p in self.processes.values()):
                self.slot_acts(first)
            elif self.busy() and self.worker.books.actors:
                # What an actor keeps for life may be what the others wait for.
                for id, actor in list(self.worker.books.actors.items()):
                    end = wire.Stop if actor.slot is None else wire.Free
                    self.tell(end(id, actor.attempt), SCHEDULER)
            elif self.busy():
                wake = self.worker.wake_at
                assert wake is not None, "something is still to be done, and nothing comes of it"
                self.now = max(self.now, wake)
                self.tell(w.Tick())
            else:
                break
        else:
            raise AssertionError("it goes on for ever")
        for order in self.orders.values():
            assert not order.due or len(order.heard) == order.rows, f"{order} has not ended"
        self.all_is_freed()

    def busy(self) -> bool:
        return any(o.due and len(o.heard) < o.rows for o in self.orders.values()) or bool(
            self.worker.books.jobs or self.worker.books.transfers
        )

    def all_is_freed(self) -> None:
        """Nothing is left of it when the scheduler needs nothing any longer."""
        for key in [*self.worker.books.store, *self.places]:
            self.tell(wire.Free(*key), SCHEDULER)
        while any(place in ("spilling", "restoring") for place in self.places.values()):
            self.disk_answers(lambda options: options[0])
        while any(process.said for process in self.processes.values()):
            self.hear_slot(lambda options: options[0])
        books = self.worker.books
        assert self.places == {}, self.places
        assert (books.store, books.newest, books.jobs, books.actors) == ({}, {}, {}, {})
        assert (books.used, books.disk_bytes, books.free) == (0, 0, self.resources)
        assert books.free_slots == self.slot_count
        assert (books.aside, books.turns) == ({}, {})
        self.now += 10
        self.tell(w.Tick())
        self.tell(wire.Beaten(books.beats), SCHEDULER)
        assert books.told == {}


DEEDS: dict[type, Callable[[World, Any], None]] = {
    w.Send: World.send,
    w.StartSlot: World.start_slot,
    w.KillSlot: World.kill_slot,
    w.Feed: World.feed,
    w.TakeBack: World.take_back,
    w.GiveTurn: World.give_turn,
    w.Grant: World.grant,
    w.Deny: World.deny,
    w.Spill: World.spill,
    w.Restore: World.restore,
    w.Discard: World.discard,
    w.Exit: World.exit,
}
