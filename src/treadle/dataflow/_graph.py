"""Who waits for whom: the edges between the tasks of one kernel.

An edge is held at its source only, as None, one node, or a list: most tasks have no dependent or
one, and a list costs more than a node. What a task waits for is a count.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from treadle.dataflow._node import Node, Phase
from treadle.dataflow.states import FINAL_FAILURE_STATES


def connect(node: Node, dependencies: Iterable[Node]) -> None:
    """Make the node wait for those that have not ended, and count those that ended badly."""
    for source in dependencies:
        if source.phase is Phase.ended:
            if source.status in FINAL_FAILURE_STATES:
                node.failed_on += 1
            continue
        node.waiting_on += 1
        waiting = source.dependents
        if waiting is None:
            source.dependents = node
        elif type(waiting) is list:
            waiting.append(node)
        else:
            source.dependents = [waiting, node]  # type: ignore[list-item]


def release(source: Node) -> Sequence[Node]:
    """Cut all edges that start at a task that has ended; return who waited, in order."""
    waiting = source.dependents
    if waiting is None:
        return ()
    source.dependents = None
    return waiting if isinstance(waiting, list) else (waiting,)
