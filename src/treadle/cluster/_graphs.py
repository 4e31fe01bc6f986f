"""Graphs: tasks that are given away at once, of which only some results are wanted. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from treadle import wire

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger
    from treadle.wire import TaskId


def submit_graph(
    b: Ledger,
    tasks: Sequence[wire.TaskSpec],
    options: wire.Options,
    wanted: Mapping[TaskId, str],
    uses: tuple[TaskId, ...],
) -> None:
    """A graph of a client, in one message.

    Args:
        wanted: the results that it wants, and the names of their tasks.
        uses: data that the graph needs: it stays until none of these is wanted.
    """
    parent = None if b.parent is None else b.parent()
    for id, name in wanted.items():
        b.use(id, uses)
        b.wants[id] = name
    b.say(wire.Submit(tuple(tasks), (options,), tuple(wanted), graph=True, parent=parent))
