"""The world of one run: virtual time, a heap of what happens next, and who is in it."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from struct import pack
from typing import Any

import msgspec

from tests.simulation.clients import Client
from tests.simulation.dice import Dice
from tests.simulation.faults import Fault
from tests.simulation.hub import Hub
from tests.simulation.injector import inject
from tests.simulation.model import Model
from tests.simulation.network import Network
from tests.simulation.node import Node
from tests.simulation.swarm import NodePlan, Swarm
from tests.simulation.workload import plan_clients
from treadle import scheduler, wire

#: More events than this, and the run is taken to have no end.
MOST_EVENTS = 300_000
#: The worker that quiet phases add: it can run anything.
HAVEN = NodePlan("haven", "host0", 4, (("gpu", 2.0), ("memory", 64.0)), 0)

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(
    list[wire.FromClient | wire.ToClient | wire.FromWorker | wire.ToWorker | wire.BetweenWorkers]
)


class SimulationFailed(AssertionError):
    """A promise was broken, in this checker's eyes."""

    def __init__(self, checker: str, text: str) -> None:
        super().__init__(f"{checker}: {text}")
        self.checker = checker


class World:
    """One run.

    Args:
        swarm: what the seed has decided.
        faults: what goes wrong.
        check_every: the machines' own invariants are checked after so many events.
    """

    def __init__(self, swarm: Swarm, faults: list[Fault], *, check_every: int = 20) -> None:
        self.swarm = swarm
        self.now = 0.0
        self.events = 0
        self.quiet = False
        self.counts: dict[str, int] = {}
        self.hits: dict[str, int] = {}
        self.struck: dict[str, int] = {}
        #: What worker machines refused, and why.
        self.refused: dict[str, int] = {}
        #: The last things that happened, for who must find out why.
        self.recent: deque[tuple[float, str, str, Any]] = deque(maxlen=80)
        self._heap: list[tuple[float, float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._serial = 0
        self._ties = Dice(swarm.seed, "ties").roll
        self._digest = blake2b(digest_size=16)
        self._check_every = check_every
        self.net = Network(self)
        self.model = Model(self)
        self.hub = Hub(self, scheduler.Scheduler())
        self.nodes: dict[str, Node] = {}
        #: Processes whose name another one has taken.
        self.doubles: list[Node] = []
        self.epochs: dict[str, int] = {}
        self.clients = [Client(self, plan) for plan in plan_clients(swarm, self.model)]
        for node in swarm.nodes:
            self.start_node(node)
        for client in self.clients:
            client.start()
        for fault in faults:
            self.at(fault.at, inject, self, fault)

    # --- time --------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[..., None], *args: Any) -> None:
        """Let this happen then; what happens at the same instant has a random order."""
        self._serial += 1
        heapq.heappush(self._heap, (when, self._ties(), self._serial, action, args))

    def run_until(self, when: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= when:
            due, _, _, action, args = heapq.heappop(heap)
            if due > self.now:
                self.now = due
            action(*args)
        self.now = max(self.now, when)

    # --- what is observed --------------------------------------------------------------------

    def note(self, who: str, source: str, event: Any) -> None:
        """An event reaches a machine."""
        self.events += 1
        if self.events > MOST_EVENTS:
            self.fail("steps", f"more than {MOST_EVENTS} events")
        self.recent.append((self.now, who, source, event))
        self._digest.update(pack("d", self.now))
        self._digest.update(f"{who}<{source}".encode())
        if type(event) is not list:  # messages were digested when they were sent
            self.digest_of(event)

    def digest_of(self, value: Any) -> None:
        self._digest.update(type(value).__name__.encode())
        self._digest.update(_encoder.encode(value))

    def through_wire(self, messages: list[Any]) -> list[Any]:
        """The messages as they come out of the wire: checked, and nobody's but the taker's."""
        data = _encoder.encode(messages)
        self._digest.update(data)
        decoded: list[Any] = _decoder.decode(data)
        return decoded

    def digest(self) -> str:
        return self._digest.hexdigest()

    def time_to_check(self) -> bool:
        return self.events % self._check_every == 0

    def count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    def sometimes(self, name: str) -> None:
        """Something that must happen in some run has happened."""
        self.hits[name] = self.hits.get(name, 0) + 1

    def strikes(self, fault: Fault) -> None:
        self.struck[fault.kind] = self.struck.get(fault.kind, 0) + 1

    def keep_refused(self, node: Node) -> None:
        """Add what a worker's machine has refused in its life."""
        for why, count in node.machine.refused.items():
            self.refused[why] = self.refused.get(why, 0) + count

    def fail(self, checker: str, text: str) -> None:
        raise SimulationFailed(checker, text)

    # --- processes ---------------------------------------------------------------------------

    def start_node(self, plan: NodePlan) -> Node:
        """Start a process of this worker's name, younger than all before it."""
        epoch = self.epochs[plan.id] = self.epochs.get(plan.id, 0) + 1
        before = self.nodes.get(plan.id)
        if before is not None and before.alive:
            self.doubles.append(before)
        node = self.nodes[plan.id] = Node(self, plan, epoch)
        node.start()
        if plan.ends_in_s is not None and not self.quiet:
            self.at(self.now + plan.ends_in_s, self._block_ends, node)
        return node

    def _block_ends(self, node: Node) -> None:
        if node.alive and not self.quiet:
            self.sometimes("a block ended by its walltime")
            node.die(-9, accuses=False, why="its block has ended")

    def kill(self, node: Node, fault: Fault) -> None:
        """End a worker's process; it comes back after a while, or not before the quiet phase."""
        node.die(-9, accuses=True, why="killed")
        if fault.x > 0.15:
            self.at(self.now + fault.lasts_s, self.restart, node)

    def task_kills(self, node: Node) -> None:
        """A task ends its worker's process."""
        node.die(-9, accuses=True, why="a task killed it")
        self.at(self.now + 1.0, self.restart, node)

    def restart(self, node: Node) -> None:
        if self.nodes.get(node.name) is node and not node.alive:
            self.start_node(node.plan)

    # --- the quiet phase ---------------------------------------------------------------------

    def calm(self) -> None:
        """Nothing goes wrong from here on, and there is a healthy worker for everything."""
        self.quiet = True
        self.net.heal()
        self._calm_process(self.hub)
        self.hub.dropping.clear()
        for double in self.doubles:
            double.die(-9, accuses=False, why="its block was started twice")
        for node in list(self.nodes.values()):
            node.armed.clear()
            node.disk_full = node.rotten = 0
            if node.draining or node.plan.ends_in_s is not None:
                node.die(-9, accuses=False, why="its block has ended")
            if node.alive:
                self._calm_process(node)
            else:
                self.start_node(msgspec.structs.replace(node.plan, ends_in_s=None))
        self.start_node(HAVEN)

    def _calm_process(self, process: Any) -> None:
        process.cpu_s = process.late_s = 0.0
        while process.stopped:
            process.resume()
