"""A session on the real engine thread, with a scheduler's machine in place of processes."""

from __future__ import annotations

import asyncio
import pickle
import threading
from collections.abc import Callable
from typing import Any

from treadle import wire
from treadle.cluster._link import Ear, Link
from treadle.cluster._pair import pair
from treadle.errors import SchedulerLost
from treadle.scheduler import SHELL, LinkLost, Scheduler
from treadle.wire import Party


class FakeScheduler:
    """The scheduler's end of links: the machine, and a worker that answers at once.

    Args:
        hold: attempts stay unanswered until `answer`.
    """

    def __init__(self, *, hold: bool = False) -> None:
        self.machine = Scheduler()
        self.link: Link | None = None
        self.heard_all: list[Any] = []
        self.hold = hold
        self.held: list[wire.Run] = []
        #: What is done with a frame instead of handling it.
        self.instead: Callable[[list[Any]], None] | None = None
        self._step(wire.Register("w", 1, "host", 2), "worker/w")

    def heard(self, link: Link, messages: list[Any]) -> None:
        self.heard_all += messages
        if self.instead is not None:
            self.instead(messages)
            return
        rest = [m for m in messages if type(m) not in (wire.World, wire.Code)]
        self._step(rest, "client/me")

    def chunk(self, link: Link, chunk: wire.Chunk) -> None:
        pass

    def lost(self, link: Link, why: str) -> None:
        self._step(LinkLost("client/me"), SHELL)

    def _step(self, event: Any, source: str) -> None:
        for send in self.machine.handle(event, source=source, now=0.0):
            if send.to == "client/me":
                if self.link is not None:
                    self.link.send(send.messages)
            else:
                for message in send.messages:
                    if type(message) is wire.Run:
                        self.held.append(message)
                        if not self.hold:
                            self.answer()

    def answer(self) -> None:
        """The worker answers what it was given with 42."""
        runs, self.held = self.held, []
        for run in runs:
            data = pickle.dumps(42, 5)
            self._step(
                wire.Finished(run.id, run.attempt, len(data), "int", 0.0, inline=data), "worker/w"
            )


class FakeHome:
    """Where fake schedulers are. `starts`: how many were asked for."""

    run = "R"
    is_local = True

    def __init__(
        self, *, boldly: bool = True, comes_back: bool = False, refuses: Exception | None = None
    ) -> None:
        self.boldly = boldly
        self.comes_back = comes_back
        self.refuses = refuses
        self.starts = 0
        self.buried = 0
        self.ended = False
        self.hold = False
        self.scheduler: FakeScheduler | None = None
        self.may_bury = threading.Event()
        self.may_bury.set()

    def start(self) -> None:
        if self.refuses is not None and self.starts:
            raise self.refuses
        self.starts += 1
        self.scheduler = FakeScheduler(hold=self.hold)

    async def connect(self, me: Party, ear: Ear) -> Link:
        scheduler = self.scheduler
        if scheduler is None:
            raise ConnectionError("nobody is there")
        theirs, mine = pair(asyncio.get_running_loop(), "scheduler/R", "client/me", run="R")
        scheduler.link = theirs
        theirs.ear = scheduler
        mine.ear = ear
        return mine

    def is_gone(self) -> bool:
        return self.scheduler is None

    def bury(self, why: str) -> SchedulerLost:
        self.may_bury.wait(10)
        self.buried += 1
        self.scheduler = None
        return SchedulerLost("it is gone", -9, "last words")

    def end(self) -> None:
        self.ended = True
