"""What stands in a client's books, for who asks. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.cluster._numbers import CALLS
from treadle.cluster._rows import ENDED

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger
    from treadle.wire import TaskId


def results(b: Ledger) -> dict[TaskId, Any]:
    """What stands for the results that are wanted and there; of a map, for each part of it."""
    found = {id: was for id, was in b.wants.items() if type(was) is not str and was is not ENDED}
    for bundle in b.bundles:
        found.update({id: part for id, part in bundle.parts.items() if part is not ENDED})
    return found


def is_open(b: Ledger, id: TaskId) -> bool:
    """Whether a task, or a bundle, has not ended."""
    bundle = b.bundles.find(id)
    return type(b.wants.get(id)) is str or (bundle is not None and bundle.left > 0)


def is_of_kernel(b: Ledger, id: TaskId) -> bool:
    """Whether it is told as a kernel's task; else it is told as a call."""
    return isinstance(id, int) and 0 <= id - b.base < CALLS
