"""What must be true of the kernel's machine between any two events.

`check` re-derives the books from the nodes. Tests call it after every step; `TREADLE_VALIDATE=1`
calls it in production too, at a price that grows with the number of open tasks.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from treadle.dataflow._node import Node, Phase
from treadle.dataflow._transitions import tell
from treadle.dataflow.states import FINAL_STATES, States
from treadle.errors import InternalError

if TYPE_CHECKING:
    from treadle.dataflow._machine import Machine

_PENDING = (Phase.waiting, Phase.preparing, Phase.looking_up, Phase.twin, Phase.launching)
_LAUNCHED = (Phase.running, Phase.judging, Phase.recording)


def check(machine: Machine) -> None:
    """Raise `InternalError` naming the first task whose books do not balance."""
    counted = Counter(node.status for node in machine.open.values())
    waited_for = _waited_for(machine)
    for number, node in machine.open.items():
        _check_node(machine, number, node)
        if node.phase is Phase.waiting and waited_for[id(node)] > node.waiting_on:
            _fail(node, f"{waited_for[id(node)]} tasks lead to it, it counts {node.waiting_on}")
    for state, expected in counted.items():
        if machine.counts[state] != expected:
            raise InternalError(f"{machine.counts[state]} tasks {state.name}, found {expected}")
    for key, leader in machine.leaders.items():
        if leader.phase is Phase.ended or leader.hashsum != key:
            _fail(leader, f"leads the key {key!r} but has ended or has another key")
        for twin in leader.twins or ():
            if twin.phase not in (Phase.twin, Phase.ended):
                _fail(twin, f"is listed as a twin of task {leader.id} and is not")


def _check_node(machine: Machine, number: int, node: Node) -> None:
    if node.id != number:
        _fail(node, f"is filed under {number}")
    if node.phase is Phase.ended or node.status in FINAL_STATES:
        _fail(node, "has ended and is still open")
    phases = {
        States.pending: _PENDING,
        States.launched: (*_LAUNCHED, Phase.judging),
        States.joining: (Phase.joining, Phase.recording),
    }.get(node.status, ())
    if node.phase not in phases and not (
        # A failure to launch is judged and recorded before the task has left `pending`.
        node.status is States.pending and node.phase in (Phase.judging, Phase.recording)
    ):
        _fail(node, f"is {node.status.name} and in the phase {node.phase.name}")
    if node.waiting_on < 0 or node.failed_on < 0:
        _fail(node, "counts fewer than no dependencies")
    if node.waiting_on and node.phase not in (Phase.waiting, Phase.joining):
        _fail(node, f"goes on ({node.phase.name}) with open dependencies")
    if node.phase is Phase.twin and (node.hashsum is None or node.hashsum not in machine.leaders):
        _fail(node, "is a twin of nobody")


def _waited_for(machine: Machine) -> Counter[int]:
    edges: Counter[int] = Counter()
    for node in machine.open.values():
        dependents = node.dependents
        if isinstance(dependents, Node):
            edges[id(dependents)] += 1
        elif dependents is not None:
            edges.update(map(id, dependents))
    return edges


def _fail(node: Node, what: str) -> None:
    raise InternalError(f"task {node.id} {what}; {tell(node)}")
