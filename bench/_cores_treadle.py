"""Treadle's scheduler machine under the driver of `_cores`."""

from __future__ import annotations

import time

from _cores import SLOTS, WORKERS, Graph
from treadle import wire
from treadle.scheduler import Scheduler, Send

CLIENT = "client/bench"
#: Tasks in one message of tasks that come one by one.
BATCH = 100
SPEC_BYTES = 100


class Treadle:
    """Tasks come in batches, in the order they would be called; keys are the user's."""

    name = "treadle"

    def __init__(self) -> None:
        self.machine = Scheduler()
        self.keys: list[str] = []
        self.sends: list[Send] = []
        self.machine.handle(wire.Attach(1), source=CLIENT, now=0.0)
        for number in range(WORKERS):
            name = f"w{number}"
            register = wire.Register(name, 1, name, SLOTS)
            self.machine.handle(register, source=f"worker/{name}", now=0.0)

    def admit(self, graph: Graph) -> None:
        first = len(self.keys)
        keys = self.keys
        for start in range(0, len(graph), BATCH):
            specs = []
            for needs in graph[start : start + BATCH]:
                key = f"inc-{len(keys):032x}"
                spec = len(keys).to_bytes(SPEC_BYTES, "big")
                specs.append(wire.TaskSpec(key, "inc", spec, tuple(keys[first + i] for i in needs)))
                keys.append(key)
            self._handle(wire.Submit(tuple(specs)), CLIENT)

    def run(self) -> float:
        took = 0.0
        while self.sends:
            sends, self.sends = self.sends, []
            for send in sends:
                reports = [
                    wire.Finished(m.id, m.attempt, 8, "int", 1e-5)
                    for m in send.messages
                    if type(m) is wire.Run
                ]
                if reports:
                    started = time.process_time()
                    self._handle(reports, send.to)
                    took += time.process_time() - started
        return took

    def release(self) -> None:
        for start in range(0, len(self.keys), BATCH):
            self._handle(wire.Release(tuple(self.keys[start : start + BATCH])), CLIENT)

    def left(self) -> int:
        return len(self.machine.books.tasks)

    def _handle(self, event: object, source: str) -> None:
        self.sends += self.machine.handle(event, source=source, now=1.0)  # type: ignore[arg-type]
