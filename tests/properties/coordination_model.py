"""Clients that coordinate over links that lose: what their programs see is what was promised.

`Program` is a client as it is: the real books of a session (`Ledger`), and a program that takes
places, puts and takes items, waits for events, listens to topics, and stops waiting when it likes.
`World` carries frames between them and the machine, loses links with what was under way, lets
clients die, and holds the promises. What happens next is picked by the caller.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from treadle import wire
from treadle.cluster._ledger import Ledger
from treadle.scheduler import SHELL, LinkLost, PeerGone, Scheduler, Tick, check

LOCKS = {"one": 1, "two": 2}
QUEUES = {"free": 0, "tight": 2}
EVENT, TOPIC, VARIABLE = "event", "topic", "variable"


class Pick(Protocol):
    """Choose one of several."""

    def __call__(self, options: Sequence[Any], /) -> Any: ...


@dataclass
class Asked:
    """A request of a program's."""

    what: str
    name: str
    #: The item that it puts.
    item: str = ""


@dataclass
class Program:
    """One client and its program."""

    name: str
    session: int
    ledger: Ledger = field(init=False)
    linked: bool = False
    #: Frames under way, each way.
    up: deque[list[wire.Message]] = field(default_factory=deque)
    down: deque[list[wire.Message]] = field(default_factory=deque)
    #: Requests that the program waits for.
    open: dict[int, Asked] = field(default_factory=dict)
    #: Places that it knows to have.
    places: dict[int, str] = field(default_factory=dict)
    heard: list[int] = field(default_factory=list)
    #: Items that it has, and of which the scheduler does not know that, by request.
    unsaid: dict[int, list[str]] = field(default_factory=dict)
    #: What it has heard of the topic, and the number of the last.
    listens: bool = False
    has_begun: bool = False
    subscription: str = ""
    last: int | None = None
    news: list[str] = field(default_factory=list)
    announced: int = 0

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.session, self.name, 1000.0, value=lambda done: None)
        self.ledger.standing = self.standing

    def standing(self) -> list[wire.Message]:
        return [wire.Subscribe(TOPIC, self.last)] if self.has_begun else []

    @property
    def peer(self) -> str:
        return f"client/{self.name}"

    def send(self) -> None:
        messages = self.ledger.take()
        if messages and self.linked:
            self.up.append(messages)

    def ask(self, asked: Asked, make: Callable[[int], wire.Message]) -> None:
        self.open[self.ledger.ask(make)] = asked
        self.send()


class World:
    """A scheduler and its programs."""

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        self.now = 0.0
        self.programs: dict[str, Program] = {}
        self.sessions = 0
        self.items = 0
        self.subscriptions = 0
        #: Items that were put for sure; perhaps put (their putter has died, or stopped waiting).
        self.put: dict[str, str] = {}
        self.maybe: dict[str, str] = {}
        #: Items that programs have.
        self.taken: dict[str, str] = {}
        self.said: list[str] = []

    # --- links -------------------------------------------------------------------------------

    def step(self, event: Any, source: str) -> None:
        self.now += 1e-6
        sends = self.scheduler.handle(event, source=source, now=self.now)
        check(self.scheduler)
        for send in sends:
            program = self.programs.get(send.to.partition("/")[2])
            if program is not None and program.linked:
                program.down.append(send.messages)

    def born(self, name: str) -> None:
        self.sessions += 1
        self.programs[name] = Program(name, self.sessions)
        self.connect(self.programs[name])

    def connect(self, program: Program) -> None:
        program.linked = True
        program.up.append(program.ledger.link_up(boldly=False))

    def lose(self, program: Program) -> None:
        """The link is lost, with what is under way."""
        program.linked = program.ledger.attached = False
        program.up.clear()
        program.down.clear()
        self.step(LinkLost(program.peer), SHELL)

    def die(self, program: Program) -> None:
        for asked in program.open.values():
            if asked.what == "put":
                self.maybe[asked.item] = asked.name
        for items in program.unsaid.values():
            for item in items:  # the dead had it, and it goes to somebody else
                del self.taken[item]
        del self.programs[program.name]
        self.step(LinkLost(program.peer), SHELL)
        self.step(PeerGone(program.peer), SHELL)

    def carry_up(self, program: Program) -> None:
        if program.up:
            messages = program.up.popleft()
            for message in messages:
                for ask in message.asks if type(message) is wire.Heard else ():
                    program.unsaid.pop(ask, None)
            self.step(messages, program.peer)

    def carry_down(self, program: Program) -> None:
        if program.down:
            self.hear(program, program.down.popleft())

    def beat(self, program: Program) -> None:
        if program.linked and program.ledger.attached:
            program.up.append([program.ledger.beat()])

    def tick(self, dt: float) -> None:
        self.now += dt
        for program in self.programs.values():
            if program.linked:
                self.step([wire.Release(())], program.peer)
        self.step(Tick(), SHELL)

    # --- what a program hears ----------------------------------------------------------------

    def hear(self, program: Program, messages: list[wire.Message]) -> None:
        ledger = program.ledger
        ledger.handle(messages)
        news, ledger.news = ledger.news, []
        assert not ledger.forgotten
        for message in news:
            if isinstance(message, wire.Reply):
                self.answered(program, message)
            elif isinstance(message, wire.Announced):
                self.announced(program, message)
        program.send()

    def answered(self, program: Program, reply: wire.Reply) -> None:
        asked = program.open.pop(reply.ask, None)
        if asked is None:
            return  # it was withdrawn
        assert not reply.error, reply
        program.heard.append(reply.ask)
        value = reply.value
        if asked.what == "acquire" and value is not None:
            held = [
                t for p in self.programs.values() for t, n in p.places.items() if n == asked.name
            ]
            assert len(held) < LOCKS[asked.name], "somebody has the place"
            assert len(held) == 0 or LOCKS[asked.name] > 1 or value > max(held)
            program.places[value] = asked.name
        elif asked.what == "subscribe" and program.listens:
            if asked.item == program.subscription and not program.has_begun:
                program.has_begun, program.last = True, value
        elif asked.what == "put":
            (self.put if value else {})[asked.item] = asked.name
        elif asked.what == "take":
            for data, _ in value or ():
                item = data.decode()
                assert item not in self.taken, "an item came twice"
                self.taken[item] = asked.name
                program.unsaid.setdefault(reply.ask, []).append(item)
            program.ledger.say(wire.Heard((reply.ask,)))
            program.heard.remove(reply.ask)

    def announced(self, program: Program, message: wire.Announced) -> None:
        if not program.has_begun or (program.last is not None and message.number <= program.last):
            return
        assert program.last is None or message.number == program.last + 1, "something was missed"
        program.last = message.number
        program.news.append(message.data.decode())

    # --- what a program does -----------------------------------------------------------------

    def acquire(self, program: Program, pick: Pick) -> None:
        name = pick(list(LOCKS))
        timeout = pick([None, None, 0.0, 1.0])
        places = LOCKS[name]
        program.ask(Asked("acquire", name), lambda n: wire.Acquire(n, name, places, timeout))

    def give_back(self, program: Program, pick: Pick) -> None:
        if program.places:
            token = pick(list(program.places))
            name = program.places.pop(token)
            program.ask(Asked("give back", name), lambda n: wire.GiveBack(n, name, token))

    def put_one(self, program: Program, pick: Pick) -> None:
        name = pick(list(QUEUES))
        timeout = pick([None, 1.0])
        self.items += 1
        text = f"{self.items:06}"
        item = wire.Item(text.encode())
        asked = Asked("put", name, text)
        program.ask(asked, lambda n: wire.Put(n, name, item, QUEUES[name], timeout))

    def take_some(self, program: Program, pick: Pick) -> None:
        name = pick(list(QUEUES))
        least = pick([0, 1, 1, 2])
        most = max(1, least) + pick([0, 1])
        timeout = pick([None, 1.0])
        program.ask(Asked("take", name), lambda n: wire.Take(n, name, least, most, 0, timeout))

    def event(self, program: Program, pick: Pick) -> None:
        what = pick(["set", "clear", "wait"])
        if what == "wait":
            program.ask(Asked(what, EVENT), lambda n: wire.AwaitEvent(n, EVENT, pick([None, 1.0])))
        else:
            program.ask(Asked(what, EVENT), lambda n: wire.SetEvent(n, EVENT, what == "set"))

    def variable(self, program: Program, pick: Pick) -> None:
        what = pick(["assign", "delete", "look"])
        if what == "look":
            program.ask(Asked(what, VARIABLE), lambda n: wire.Look(n, VARIABLE, pick([None, 1.0])))
        else:
            item = wire.Item(b"x") if what == "assign" else None
            program.ask(Asked(what, VARIABLE), lambda n: wire.Assign(n, VARIABLE, item))

    def topic(self, program: Program, pick: Pick) -> None:
        if pick([True, True, False]):
            program.announced += 1
            text = f"{program.session}-{program.announced}"
            program.ledger.say(wire.Announce(TOPIC, text.encode(), program.announced))
        elif program.listens:
            program.listens = program.has_begun = False
            program.ledger.ask(lambda n: wire.Unsubscribe(TOPIC, n))
        else:
            program.listens, program.last = True, None
            self.subscriptions += 1
            asked = Asked("subscribe", TOPIC, str(self.subscriptions))
            program.subscription = asked.item
            program.ask(asked, lambda n: wire.Subscribe(TOPIC, None, n))
        program.send()

    def withdraw(self, program: Program, pick: Pick) -> None:
        """The program waits no longer."""
        if program.open:
            ask = pick(list(program.open))
            if program.open[ask].what == "subscribe":
                return
            asked = program.open.pop(ask)
            if asked.what == "put":
                self.maybe[asked.item] = asked.name
            program.ledger.say(wire.Withdraw(ask))
            program.send()

    def say_heard(self, program: Program, pick: Pick) -> None:
        if program.heard:
            program.ledger.say(wire.Heard(tuple(program.heard)))
            program.heard.clear()
            program.send()

    # --- the end -----------------------------------------------------------------------------

    def settle(self) -> None:
        """All links work, and all that is under way arrives."""
        for program in self.programs.values():
            if not program.linked:
                self.connect(program)
        while any(p.up or p.down for p in self.programs.values()):
            for program in self.programs.values():
                while program.up:
                    self.carry_up(program)
                while program.down:
                    self.carry_down(program)

    def finish(self) -> None:
        """Everybody lets go of what he has; then nothing is there, and nothing was lost."""
        self.settle()
        for program in self.programs.values():
            while program.open:
                self.withdraw(program, first)
            self.settle()
        for program in self.programs.values():
            while program.places:
                self.give_back(program, first)
            self.settle()
        left = self.drain()
        for item in self.put:
            assert (item in self.taken) != (item in left), f"{item} was lost, or came twice"
        assert self.put.keys() | self.maybe.keys() >= self.taken.keys() | left.keys()
        self.hears_all()
        for program in self.programs.values():
            self.say_heard(program, first)
        self.settle()
        shared = self.scheduler.books.shared
        assert not shared.semaphores
        assert not shared.queues
        assert not shared.clock.heap
        for client in self.scheduler.books.clients.values():
            assert client.desk is None or not (client.desk.kept or client.desk.waits)

    def drain(self) -> dict[str, str]:
        """What is still in the queues."""
        before = dict(self.taken)
        self.born("last")
        last = self.programs["last"]
        self.settle()
        for name in QUEUES:
            last.ask(Asked("take", name), lambda n, name=name: wire.Take(n, name, 0, 10_000))  # type: ignore[misc]
        self.settle()
        left = {item: name for item, name in self.taken.items() if item not in before}
        assert list(left) == sorted(left, key=lambda item: (list(QUEUES).index(left[item]), 0))
        self.taken = before
        return left

    def hears_all(self) -> None:
        """Who listens has heard the last that was said."""
        self.programs["last"].ledger.say(wire.Announce(TOPIC, b"end", 1))
        self.programs["last"].send()
        self.settle()
        for program in self.programs.values():
            if program.listens:
                assert program.news[-1] == "end"


def first(options: Sequence[Any], /) -> Any:
    return options[0]


#: What can happen, the more often it stands here the more often.
ACTIONS: list[Callable[[World, Program, Pick], None]] = [
    World.acquire,
    World.acquire,
    World.give_back,
    World.give_back,
    World.put_one,
    World.put_one,
    World.take_some,
    World.take_some,
    World.event,
    World.variable,
    World.topic,
    World.topic,
    World.withdraw,
    World.say_heard,
    lambda world, program, pick: world.beat(program),
    lambda world, program, pick: world.tick(pick([0.5, 2.0])),
    lambda world, program, pick: world.lose(program) if program.linked else world.connect(program),
    lambda world, program, pick: None if program.linked else world.connect(program),
    *[lambda world, program, pick: world.carry_up(program)] * 8,
    *[lambda world, program, pick: world.carry_down(program)] * 8,
]
NAMES = ("ann", "bob", "cid")


def act(world: World, pick: Pick) -> None:
    """Something happens."""
    name = pick(NAMES)
    program = world.programs.get(name)
    if program is None:
        world.born(name)
    else:
        pick(ACTIONS)(world, program, pick)


def die(world: World, pick: Pick) -> None:
    """A client dies."""
    program = world.programs.get(pick(NAMES))
    if program is not None:
        world.die(program)
