"""Tasks that no worker could ever run, where no other worker can come: they fail.

Elsewhere they wait, and can say for what: the next block may bring a worker that fits.
"""

from __future__ import annotations

from treadle.scheduler._books import Books
from treadle.scheduler._clauses import misfits
from treadle.scheduler._end import err
from treadle.scheduler._transitions import NO_WORKER
from treadle.scheduler._words import count
from treadle.wire import Failure


def settle(books: Books) -> None:
    """End the tasks of demands that nobody fits, if a worker is there to be judged by."""
    queues = books.queues
    if not books.policy.closed:
        queues.unfit.clear()
        return
    # A worker that drains takes nothing more, whatever it could: it says nothing of what fits.
    if all(ws.draining for ws in books.workers.values()):
        return
    unfit, queues.unfit = queues.unfit, {}
    for demand in unfit:
        if demand.code != NO_WORKER:
            continue
        for ts in list(demand.each()):
            all_ = count(len(books.workers), "worker")
            text = f"no worker can ever run it: of {all_}, {misfits(books, ts, books.now)}"
            books.note(ts, text)
            err(books, ts, Failure("unfit", "TaskUnfit", text))
