"""A client's books against the real scheduler's machine: no sockets, no clock, one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from treadle import wire
from treadle.cluster._ledger import Ledger
from treadle.dataflow._sink import SinkOutcome, SinkTask
from treadle.scheduler import SHELL, LinkLost, PeerGone, Scheduler, check

OOPS = wire.Failure("exception", "ValueError", "oops")

Rule = Callable[[wire.Run], list[wire.Message]]


class FakeValue:
    """What stands for a result here."""

    def __init__(self, done: wire.Done, *, listed: bool = False) -> None:
        self.id = done.id
        self.rows = done.rows
        self.listed = listed
        self.inline = done.inline
        self.story: list[str] = []
        self.error: BaseException | None = None

    def found(self, done: wire.Done) -> None:
        self.story.append(f"found {done.rows}")

    def lost(self) -> None:
        self.story.append("lost")

    def gone(self, error: Callable[[], BaseException]) -> None:
        self.story.append("gone")
        self.error = error()


def finish(run: wire.Run) -> list[wire.Message]:
    """A rule: the attempt has a result."""
    rows = max(1, len(run.rows))
    return [wire.Finished(run.id, run.attempt, 10, "int", 0.0001, inline=b"i", rows=rows)]


def fail(run: wire.Run) -> list[wire.Message]:
    """A rule: it raises."""
    return [wire.Failed(run.id, run.attempt, OOPS, 0.0001, rows=max(1, len(run.rows)))]


def in_parts(*sizes: int) -> Rule:
    """A rule: the rows of a bundle end so many at a time."""

    def rule(run: wire.Run) -> list[wire.Message]:
        told: list[wire.Message] = []
        at, left = run.id, max(1, len(run.rows))
        assert isinstance(at, int)
        for size in (*sizes, left):
            size = min(size, left)
            if size:
                told.append(wire.Finished(at, run.attempt, 10, "int", 0.0001, rows=size))
                at, left = at + size, left - size
        return told

    return rule


class Bench:
    """One client's books, one scheduler, one worker.

    Args:
        twice: each frame of the scheduler's arrives twice.
    """

    def __init__(self, *, boldly: bool = True, workers: int = 1, twice: bool = False) -> None:
        self.now = 0.0
        self.scheduler = Scheduler()
        self.ledger = Ledger(5, "ann", 30.0, FakeValue)
        self.boldly = boldly
        self.twice = twice
        #: What the scheduler has said and the client has not read; what the client has said.
        self.inbox: list[list[Any]] = []
        self.said: list[Any] = []
        self.linked = False
        #: Attempts that the worker was given and has not answered.
        self.runs: dict[tuple[Any, int], wire.Run] = {}
        self.stopped: list[Any] = []
        for number in range(workers):
            self.worker(wire.Register(f"w{number}", 1, "host", 2), name=f"w{number}")

    # --- the link ----------------------------------------------------------------------------

    def connect(self) -> None:
        """A link is made, and all that is due is said and heard."""
        self.linked = True
        self.say(self.ledger.link_up(boldly=self.boldly))
        self.settle()

    def cut(self, *, forget: bool = False) -> None:
        """The link is lost, with all that was on its way; the client may be forgotten for it."""
        self.linked = False
        self.inbox.clear()
        self.ledger.attached = False
        event = PeerGone("client/ann") if forget else LinkLost("client/ann")
        self.step(event, SHELL)

    def flush(self) -> None:
        """The client sends what is to be sent."""
        if self.linked:
            self.say(self.ledger.take())

    def lose_said(self) -> None:
        """The client sends, and it never arrives."""
        self.ledger.take()

    def say(self, messages: Iterable[Any]) -> None:
        """Messages of the client arrive."""
        frame = list(messages)
        self.said += frame
        if frame:
            wire.verify(frame, wire.Role.client, wire.Role.scheduler)
            self.step([m for m in frame if type(m) not in (wire.World, wire.Code)], "client/ann")

    def read(self) -> None:
        """The client reads what has come."""
        while self.inbox:
            frame = self.inbox.pop(0)
            self.ledger.handle(frame)
            if self.twice:
                self.ledger.handle(frame)

    def settle(self) -> None:
        """Until nobody has anything to say."""
        while True:
            self.read()
            before = len(self.said)
            self.flush()
            if not self.inbox and len(self.said) == before:
                return

    def beat(self) -> None:
        """A beat goes, and comes back."""
        self.say([self.ledger.beat()])
        self.settle()

    # --- the scheduler and its worker ------------------------------------------------------------

    def step(self, event: Any, source: str) -> None:
        """One step of the scheduler's; its books must balance."""
        for send in self.scheduler.handle(event, source=source, now=self.now):
            if send.to == "client/ann":
                if self.linked:
                    self.inbox.append(list(send.messages))
                continue
            for message in send.messages:
                if type(message) is wire.Run:
                    self.runs[message.id, message.attempt] = message
                elif type(message) is wire.Stop:
                    self.stopped.append(message.id)
                    self.runs.pop((message.id, message.attempt), None)
        check(self.scheduler)

    def worker(self, *messages: Any, name: str = "w0") -> None:
        """The worker says this."""
        if messages:
            self.step(list(messages), f"worker/{name}")

    def work(self, rule: Rule = finish) -> None:
        """The worker answers all it was given, until there is no more."""
        self.settle()
        while self.runs:
            runs, self.runs = self.runs, {}
            for run in runs.values():
                self.worker(*rule(run))
            self.settle()

    # --- the client ------------------------------------------------------------------------------

    def admit(self, *tasks: SinkTask) -> None:
        """Tasks come from the kernel."""
        self.ledger.admit(tasks)
        self.settle()

    def told(self) -> list[SinkOutcome]:
        """What the kernel was told since the last question."""
        told, self.ledger.told = self.ledger.told, []
        return told

    def id(self, number: int) -> int:
        """A task's identifier."""
        return self.ledger.base + number

    @property
    def known(self) -> int:
        """How many tasks the scheduler knows."""
        return len(self.scheduler.books.tasks)


def task(number: int, *needs: int, name: str = "f", **more: Any) -> SinkTask:
    """A task of a kernel's."""
    return SinkTask(number, name, f"call {number}".encode(), needs, **more)


def bundle(number: int, count: int, name: str = "f") -> SinkTask:
    """A map of a kernel's."""
    return SinkTask(number, name, b"call", rows=[b"%d" % row for row in range(count)])
