"""A machine whose books are checked after every step, and tasks brought to any phase."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from treadle.dataflow import _events as ev
from treadle.dataflow._invariants import check
from treadle.dataflow._machine import Machine
from treadle.dataflow._node import Node, Phase
from treadle.dataflow.states import FINAL_STATES

KEY = "the same call"

OK, FAILED = ev.Ended.succeeded, ev.Ended.failed


class Bench:
    """One machine under test; every step through it is checked."""

    def __init__(self, *, retries: float = 0, judged: bool = False) -> None:
        self.machine = Machine(retries=retries, judged=judged)
        self.nodes: list[Node] = []
        self.verdicts: dict[int, ev.Verdict] = {}
        #: What the machine ordered when a task was submitted, where a test looks at it.
        self.orders: list[ev.Command] = []

    def feed(self, event: ev.Event) -> list[ev.Command]:
        """Give the machine an event; return its commands when what holds for all has been seen."""
        commands = self.machine.handle(event)
        check(self.machine)
        kinds = [isinstance(command, ev.Settle) for command in commands]
        assert kinds == sorted(kinds, reverse=True), "all is settled before anything is ordered"
        for command in commands:
            if isinstance(command, ev.Settle):
                assert command.node.id not in self.verdicts, "a future is settled once"
                assert command.node.status in FINAL_STATES
                self.verdicts[command.node.id] = command.verdict
            else:
                assert command.node.id not in self.verdicts, "nothing is ordered for what has ended"
        return commands

    def node(self, *, memoize: bool = False, join: bool = False) -> Node:
        """A task that the machine does not know yet."""
        node = Node(len(self.nodes), memoize=memoize, join=join)
        self.nodes.append(node)
        return node

    def submit(self, *dependencies: Node, others: int = 0, **options: bool) -> Node:
        """A new task, submitted."""
        node = self.node(**options)
        self.feed(ev.Submitted(node, dependencies, others))
        return node

    def run(self, *dependencies: Node, **options: bool) -> Node:
        """A new task whose attempt runs."""
        node = self.submit(*dependencies, **options)
        if node.memoize:
            self.feed(ev.Prepared(node, f"key of {node.id}"))
            self.feed(ev.LookedUp(node, hit=False))
        assert self.feed(ev.Launched(node, node.try_id)) == []
        assert node.phase is Phase.running
        return node

    def end(self, node: Node, how: ev.Ended = OK) -> list[ev.Command]:
        """Its current attempt ends."""
        return self.feed(ev.AttemptEnded(node, node.try_id, how))

    def lead(self, *, key: str = KEY) -> Node:
        """A new task that leads its key and whose attempt runs."""
        leader = self.submit(memoize=True)
        assert self.feed(ev.Prepared(leader, key)) == [ev.LookUp(leader)]
        assert self.feed(ev.LookedUp(leader, hit=False)) == [ev.Launch(leader, 0)]
        assert self.feed(ev.Launched(leader, 0)) == []
        return leader

    def twin(self, *, key: str = KEY) -> Node:
        """A new task whose key is led by another."""
        twin = self.submit(memoize=True)
        assert self.feed(ev.Prepared(twin, key)) == []
        assert twin.phase is Phase.twin
        return twin

    def end_and_record(self, node: Node, how: ev.Ended = OK) -> list[ev.Command]:
        """Its attempt ends for good, and the memo table has been told."""
        assert self.end(node, how) == [ev.Record(node, how is OK)]
        return self.feed(ev.Recorded(node))

    def books(self) -> Any:
        """All there is to know of the machine and its tasks, as a value."""
        machine = self.machine
        return (
            list(machine.open),
            {state: count for state, count in machine.counts.items() if count},
            {key: node.id for key, node in machine.leaders.items()},
            dict(machine.led_keys),
            machine.closed,
            [{slot: _plain(getattr(node, slot)) for slot in Node.__slots__} for node in self.nodes],
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Node):
        return value.id
    return [n.id for n in value] if isinstance(value, list | deque) else value


def settled(nodes: Iterable[Node], verdict: ev.Verdict) -> list[ev.Settle]:
    """The commands that end these tasks so."""
    return [ev.Settle(node, verdict) for node in nodes]


def _pending_twin(bench: Bench) -> Node:
    bench.lead()
    return bench.twin()


def _preparing(bench: Bench) -> Node:
    return bench.submit(memoize=True)


def _looking_up(bench: Bench) -> Node:
    node = _preparing(bench)
    bench.feed(ev.Prepared(node, KEY))
    return node


def _judging(bench: Bench) -> Node:
    node = bench.run()
    assert bench.end(node, FAILED) == [ev.Judge(node, 0)]
    return node


def _watching(bench: Bench) -> Node:
    node = bench.run(join=True)
    assert bench.end(node) == [ev.Watch(node)]
    return node


def _joining(bench: Bench) -> Node:
    node = _watching(bench)
    assert bench.feed(ev.Joined(node, 2)) == []
    return node


def _recording(bench: Bench) -> Node:
    node = bench.run(memoize=True)
    assert bench.end(node) == [ev.Record(node, True)]
    return node


def _ended(bench: Bench) -> Node:
    node = bench.run()
    bench.end(node)
    return node


_WAYS: dict[Phase, Callable[[Bench], Node]] = {
    Phase.waiting: lambda bench: bench.submit(others=2),
    Phase.preparing: _preparing,
    Phase.looking_up: _looking_up,
    Phase.twin: _pending_twin,
    Phase.launching: lambda bench: bench.submit(),
    Phase.running: lambda bench: bench.run(),
    Phase.judging: _judging,
    Phase.watching: _watching,
    Phase.joining: _joining,
    Phase.recording: _recording,
    Phase.ended: _ended,
}


def placed(phase: Phase) -> tuple[Bench, Node]:
    """A machine that would try twice and asks what failures cost, with a task in the phase."""
    bench = Bench(retries=1, judged=True)
    node = _WAYS[phase](bench)
    assert node.phase is phase
    return bench, node
