"""What a client may see of the scheduler's books, as plain values. Nothing here changes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from treadle.scheduler._bundles import owner
from treadle.wire import NUMBER_BITS

if TYPE_CHECKING:
    from treadle.scheduler._books import Books
    from treadle.scheduler._worker import WorkerState
    from treadle.wire import TaskId


def key_of(books: Books, id: TaskId) -> str:
    """A task's key as people see it; of a row of a bundle, the row's own."""
    if isinstance(id, str):
        return id
    ts = owner(books, id)
    name = "task" if ts is None else ts.group.prefix.name
    return f"{name}-{id >> NUMBER_BITS:x}-{id & ((1 << NUMBER_BITS) - 1)}"


def workers_of(books: Books, ids: Iterable[TaskId]) -> list[str]:
    """Where these run."""
    found: dict[str, None] = {}
    for id in ids:
        ts = owner(books, id)
        if ts is not None and ts.processing_on is not None:
            found[ts.processing_on.id] = None
    return list(found)


def info(books: Books, workers: Sequence[str]) -> dict[str, Any]:
    """What there is to know of these workers, by name."""
    return {id: _worker(books.workers[id]) for id in workers}


def _worker(ws: WorkerState) -> dict[str, Any]:
    return {
        "host": ws.host,
        "status": ws.status,
        "nthreads": ws.slots,
        "resources": dict(ws.resources),
        "used_resources": ws.used_resources,
        "memory_limit": ws.memory_bytes,
        "memory": ws.memory_used,
        "spilled": ws.spilled_bytes,
        "nbytes": ws.nbytes,
        "processing": len(ws.processing),
        "executing": len(ws.executing),
        "results": len(ws.has_what),
        "actors": len(ws.actors),
        "block": ws.block,
    }


def sizes(books: Books, ids: Sequence[TaskId], *, summed: bool) -> dict[str, int]:
    """The bytes of these results (none named: of all that are held), by key, or summed by prefix.

    A row has its share of what its bundle takes.
    """
    if ids:
        named = [(id, owner(books, id)) for id in dict.fromkeys(ids)]
        tasks = [(id, ts, ts.rows) for id, ts in named if ts is not None]
    else:
        held = {ts: None for ws in books.workers.values() for ts in ws.has_what}
        tasks = [(ts.id, ts, 1) for ts in held]
    found: dict[str, float] = {}
    for id, ts, rows in tasks:
        if ts.holders is not None:
            name = ts.group.prefix.name if summed else key_of(books, id)
            found[name] = found.get(name, 0) + (ts.nbytes or 0) / rows
    return {name: round(nbytes) for name, nbytes in found.items()}
