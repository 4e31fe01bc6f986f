"""A desk to test a worker's agent at: the test plays the scheduler, slots and links are real."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from treadle import wire, worker
from treadle.cluster._agent import Agent
from treadle.cluster._dial import dial
from treadle.cluster._link import this_party
from treadle.cluster._pair import pair
from treadle.cluster._process import new_loop
from treadle.cluster._rundir import RunDirectory
from treadle.cluster._security import Identity
from treadle.cluster._settings import WorkerSettings
from treadle.serialize import CallSpec, dumps, encode_spec, pack, unpack
from treadle.store.mapping import Mapper

T = TypeVar("T")

RUN = "test-run"
OUTCOMES = (wire.Finished, wire.Failed, wire.Died, wire.Returned)


def on_a_loop(test: Callable[[], Any]) -> None:
    """Run a coroutine on a loop of the kind that agents live on."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(test())


async def until(condition: Callable[[], T], what: str = "", seconds: float = 10.0) -> T:
    """Wait until the condition is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, what or "it does not come true"
        await asyncio.sleep(0.002)
    return value


def is_alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def world() -> wire.World:
    """The surroundings of this process."""
    return wire.World(tuple(sys.path), os.getcwd(), 0o22)


class Ear:
    """Hears all, and keeps it."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.chunks: list[tuple[int, int, int, bytes]] = []
        self.why: str | None = None

    def heard(self, link: Any, messages: list[Any]) -> None:
        self.messages += messages

    def chunk(self, link: Any, chunk: wire.Chunk) -> None:
        self.chunks.append((chunk.ask, chunk.index, chunk.offset, bytes(chunk.payload)))

    def lost(self, link: Any, why: str) -> None:
        self.why = why

    def all(self, kind: type[T]) -> list[T]:
        return [message for message in self.messages if isinstance(message, kind)]


class Desk(Ear):
    """The scheduler's side of one worker's link."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self.agent = agent
        self.name = agent.settings.id
        self.outcomes: dict[Any, list[Any]] = {}
        self.attempts = iter(range(1, 1 << 30))
        self.digests = iter(range(1 << 30))
        self.places: dict[str, wire.Place] = {}
        self.exit_code: int | None = None
        agent.on_exit = self._exited
        self.link: Any = None

    def _exited(self, code: int) -> None:
        self.exit_code = code

    def connect(self) -> None:
        """A new link."""
        here, there = pair(
            self.agent.loop, f"scheduler/{RUN}", f"worker/{self.name}", run=RUN, checked=True
        )
        self.link = here
        here.ear = self
        self.agent.connect(there)
        here.send([world()])

    def heard(self, link: Any, messages: list[Any]) -> None:
        super().heard(link, messages)
        for message in messages:
            if isinstance(message, OUTCOMES):
                self.outcomes.setdefault(message.id, []).append(message)
            elif isinstance(message, wire.Register):
                link.send([wire.Registered(0.5, 12.0)])
                for outcome in message.ended:
                    self.outcomes.setdefault(outcome.id, []).append(outcome)
            elif isinstance(message, wire.Beat):
                link.send([wire.Beaten(message.number)])
            elif isinstance(message, wire.Locate):
                nowhere = wire.Place("", "", ())
                found = tuple(self.places.get(name, nowhere) for name in message.workers)
                link.send([wire.Located(message.ask, found)])

    # --- orders ----------------------------------------------------------------------------------

    def code(self, func: Callable[..., Any]) -> bytes:
        """Send a function; its digest."""
        digest = next(self.digests).to_bytes(wire.DIGEST_BYTES, "big")
        self.link.send([wire.Code(digest, func.__name__, dumps(func))])
        return digest

    def run(self, id: Any, func: Any, *args: Any, **options: Any) -> wire.Run:
        """Order a task; `func` may be a digest."""
        run = self.order(id, func, *args, **options)
        self.link.send([run])
        return run

    def order(self, id: Any, func: Any, *args: Any, **options: Any) -> wire.Run:
        """The order that `run` sends."""
        digest = func if isinstance(func, bytes) else self.code(func)
        payload = pack((args, {}), home=False, persistent_id=_reference).to_bytes()
        options.setdefault("attempt", next(self.attempts))
        return wire.Run(id, run_spec=encode_spec(CallSpec(digest, payload)), **options)

    def held(self, id: Any) -> wire.Finished:
        """How a task that has a result ended."""
        (outcome,) = [o for o in self.outcomes[id] if isinstance(o, wire.Finished)]
        return outcome

    def input(self, id: Any, *holders: str) -> wire.Input:
        """The result of a task as an input."""
        outcome = self.held(id)
        return wire.Input(id, outcome.attempt, outcome.nbytes, holders or (self.name,))

    async def outcome(self, id: Any, seconds: float = 10.0) -> Any:
        """The one outcome of a task."""
        outcomes = await until(lambda: self.outcomes.get(id), f"no outcome of {id}", seconds)
        assert len(outcomes) == 1, outcomes
        return outcomes[0]

    async def value(self, id: Any) -> Any:
        """The value of a task with a small result."""
        outcome = await self.outcome(id)
        assert isinstance(outcome, wire.Finished), outcome
        assert outcome.inline is not None
        return unpack(outcome.inline, writable=True)

    async def message(self, kind: type[T], seconds: float = 10.0) -> T:
        """The first message of a kind."""
        return (await until(lambda: self.all(kind), f"no {kind.__name__}", seconds))[0]

    # --- what it sees ----------------------------------------------------------------------------

    @property
    def slot_pids(self) -> dict[int, int]:
        """Processes of the slots that are up, by number."""
        ends = self.agent.slots.ends.values()
        up = [slot for slot in ends if slot.ready and slot.pid and not slot.doomed]
        return {slot.number: slot.pid for slot in up}

    async def slots_up(self, count: int, seconds: float = 10.0) -> dict[int, int]:
        """Wait for so many slots."""
        await until(lambda: len(self.slot_pids) == count, f"{self.slot_pids}", seconds)
        return self.slot_pids

    def place(self) -> wire.Place:
        """Where the worker is reached, as it has said."""
        addresses = self.all(wire.Register)[-1].addresses
        return wire.Place(self.name, self.agent.own_host, addresses)


class Reference:
    """Stands for another task's result among the arguments."""

    def __init__(self, id: Any) -> None:
        self.id = id


def _reference(value: Any) -> Any:
    return value.id if isinstance(value, Reference) else None


class Customer(Ear):
    """A client's link to a worker, for data."""

    def __init__(self, name: str = "user") -> None:
        super().__init__()
        self.name = name
        self.link: Any = None
        self.mapper = Mapper()

    async def dial(self, desk: Desk, identity: Identity | None = None) -> None:
        addresses = desk.place().addresses
        self.link = await dial(
            [a for a in addresses if identity is None or a.startswith("tls:")],
            me=this_party("client", self.name, RUN),
            expect=f"worker/{desk.name}",
            ear=self,
            identity=identity,
        )

    async def value(self, ask: int, desk: Desk, id: Any) -> Any:
        """Get a large result by the place where it stands."""
        self.link.send([wire.GetData(ask, (wire.Attempt(id, desk.held(id).attempt),))])
        (spots,) = await until(lambda: [s for s in self.all(wire.Spots) if s.ask == ask])
        (spot,) = spots.spots
        data = spot if isinstance(spot, bytes) else self.mapper.open(spot)
        value = unpack(data, writable=False)
        self.link.send([wire.Taken(ask)])
        return value

    def close(self) -> None:
        self.link.close()


@asynccontextmanager
async def desk(
    directory: RunDirectory | None = None,
    *,
    limits: worker.Limits | None = None,
    identity: Identity | None = None,
    **settings: Any,
) -> AsyncIterator[Desk]:
    """An agent with two slots, linked, up; and nothing of it left behind."""
    chosen = {"id": "w", "slots": 2, "host": "here", "store_bytes": 1 << 30, **settings}
    agent = Agent(
        WorkerSettings(**chosen),
        run=RUN,
        loop=asyncio.get_running_loop(),
        epoch=time.time_ns(),
        directory=directory,
        identity=identity,
        limits=limits,
    )
    there = Desk(agent)
    await agent.start()
    try:
        there.connect()
        await there.slots_up(chosen["slots"])
        yield there
    finally:
        pids = {slot.pid for slot in agent.slots.ends.values()} - {0}
        await agent.stop()
        there.link.close()
        await until(lambda: not any(map(is_alive, pids)), f"slots of {pids} are left", 5.0)
        await asyncio.sleep(0)


def session_of(pid: int) -> Iterator[int]:
    """All processes of the session that this process leads."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.getsid(int(name)) == pid and is_alive(int(name)):
                    yield int(name)
            except OSError:
                continue
