"""What must be true of the kernel's machine between any two events.

`check` re-derives the books from the nodes. Tests call it after every step; `TREADLE_VALIDATE=1`
calls it in production too, at a price that grows with the number of open tasks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from treadle.dataflow._node import Node, Phase
from treadle.dataflow._transitions import tell
from treadle.dataflow.states import FINAL_STATES, States
from treadle.errors import InternalError

if TYPE_CHECKING:
    from treadle.dataflow._machine import Machine

#: The phases in which a task of a state may be.
PHASES: dict[States, tuple[Phase, ...]] = {
    States.pending: (
        Phase.waiting,
        Phase.preparing,
        Phase.looking_up,
        Phase.twin,
        Phase.launching,
        # A failure to launch is judged and recorded before the task has left `pending`.
        Phase.judging,
        Phase.recording,
    ),
    States.launched: (
        # Marked as launched by `update_task_state`, which orders nothing.
        Phase.waiting,
        Phase.launching,
        Phase.running,
        Phase.judging,
        Phase.watching,
        Phase.recording,
    ),
    States.joining: (Phase.joining, Phase.recording),
}

#: The phases of a task that was handed to its executor early.
EARLY_PHASES = (Phase.waiting, Phase.running)


def check(machine: Machine) -> None:
    """Raise `InternalError` naming the first task whose books do not balance."""
    counted: Counter[States] = Counter()
    for node in machine.open.values():
        counted[node.status] += node.rows
    waited_for = _waited_for(machine)
    for number, node in machine.open.items():
        _check_node(machine, number, node)
        if node.phase is Phase.waiting and waited_for[id(node)] > node.waiting_on:
            _fail(node, f"{waited_for[id(node)]} tasks lead to it, it counts {node.waiting_on}")
    for state, counter in machine.counts.items():
        if state not in FINAL_STATES and counter != counted[state]:
            raise InternalError(f"{counter} tasks {state.name}, found {counted[state]}")
    _check_leaders(machine)


def _check_leaders(machine: Machine) -> None:
    led: Counter[int] = Counter()
    for key, leader in machine.leaders.items():
        if machine.open.get(leader.id) is not leader or machine.led_keys.get(leader.id) != key:
            _fail(leader, f"leads the key {key!r} but has ended or has another key")
        led.update(id(twin) for twin in leader.twins or ())
    if len(machine.led_keys) != len(machine.leaders):
        raise InternalError(f"{len(machine.led_keys)} lead, of {len(machine.leaders)} keys")
    for node in machine.open.values():
        if led[id(node)] != (node.phase is Phase.twin):
            _fail(node, f"is a twin of {led[id(node)]} tasks in the phase {node.phase.name}")
        if node.twins is not None and node.id not in machine.led_keys:
            _fail(node, "has twins and leads no key")


def _check_node(machine: Machine, number: int, node: Node) -> None:
    if node.id != number:
        _fail(node, f"is filed under {number}")
    if node.phase is Phase.ended or node.status in FINAL_STATES:
        _fail(node, "has ended and is still open")
    if node.phase not in PHASES.get(node.status, ()):
        _fail(node, f"is {node.status.name} and in the phase {node.phase.name}")
    if node.waiting_on < 0 or node.failed_on < 0:
        _fail(node, "counts fewer than no dependencies")
    if node.rows < 1:
        _fail(node, f"is open with {node.rows} rows")
    if node.early and (node.memoize or node.join or node.phase not in EARLY_PHASES):
        _fail(node, f"is at its executor early, and {node.phase.name}")
    if not node.early and any(dependent.early for dependent in _dependents(node)):
        _fail(node, "is not at its executor, where a task that waits for it is")
    if bool(node.waiting_on) != (node.phase in (Phase.waiting, Phase.joining)):
        _fail(node, f"is {node.phase.name} with {node.waiting_on} dependencies open")


def _waited_for(machine: Machine) -> Counter[int]:
    edges: Counter[int] = Counter()
    for node in machine.open.values():
        edges.update(map(id, _dependents(node)))
    return edges


def _dependents(node: Node) -> Sequence[Node]:
    dependents = node.dependents
    if isinstance(dependents, Node):
        return (dependents,)
    return () if dependents is None else dependents


def _fail(node: Node, what: str) -> None:
    raise InternalError(f"task {node.id} {what}; {tell(node)}")
