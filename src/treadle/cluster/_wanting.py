"""What a client wants, and no longer wants, of others' results and of single rows. Pure.

The books know a task by its identifier, and the rows of a map by their bundle. A row is wanted for
as long as somebody here has a future of it; a part of a bundle, which is one object to all others,
for as long as one of its rows is.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import TYPE_CHECKING

from treadle import wire

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger
    from treadle.wire import TaskId


def want(b: Ledger, id: TaskId, name: str) -> None:
    """Want a result that others have asked for, or that was wanted here before."""
    if type(b.wants.get(id)) is not str:
        b.wants[id] = name
        b.say(wire.Desire((id,)))


def forget(b: Ledger, ids: Iterable[TaskId], lingering: Container[TaskId]) -> None:
    """Nobody here has a future of these any longer; of some of them one was pickled."""
    gone: list[TaskId] = []
    linger: list[TaskId] = []
    for id in ids:
        if b.wants.pop(id, None) is not None:
            b.let_go(id)
            (linger if id in lingering else gone).append(id)
        elif b.past:
            b.past.pop(id, None)
    if linger:
        b.say(wire.Linger(tuple(linger)))
    if gone:
        b.say(wire.Release(tuple(gone)))
