"""What a client says of single rows of its bundles: they are wanted no longer, or to be stopped.

Rows that wait are cut out of their bundle. Rows that a worker has been given are one attempt with
others: who wants them no longer is told of them with the others, and who has them stopped has the
attempt stopped, and its other rows begin again.
"""

from __future__ import annotations

from collections.abc import Iterable

from treadle.scheduler import _cancel
from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import parts_of
from treadle.scheduler._client import ClientState
from treadle.scheduler._need import need
from treadle.scheduler._parts import cut
from treadle.scheduler._release import inputs_unneeded, stop, unwant
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import (
    ERRED,
    NO_WORKER,
    PROCESSING,
    RELEASED,
    WAITING,
    advance,
)
from treadle.wire import NUMBER_BITS, CancelRows, ReleaseRows

#: In these a part waits, or has failed: it is cut as one likes.
_AT_REST = (RELEASED, WAITING, NO_WORKER, ERRED)


def release_rows(books: Books, client: ClientState, message: ReleaseRows) -> None:
    """The client wants these rows no longer."""
    for ts in _exactly(books, client, message.spans, stopping=False):
        if ts in client.wants_what:
            unwant(books, ts, client)


def cancel_rows(books: Books, client: ClientState, message: CancelRows) -> None:
    """The client wants these rows stopped, and what waits for them."""
    named = list(_exactly(books, client, message.spans, stopping=True))
    reason = message.reason or "cancelled by its client"
    _cancel.cancel(books, client, named, reason, force=message.force)


def _exactly(
    books: Books, client: ClientState, spans: Iterable[tuple[int, int]], *, stopping: bool
) -> Iterable[TaskState]:
    """The tasks for these rows and no others, cut where that can be done.

    `stopping`: also out of what is processed, which begins again.
    """
    found: list[TaskState] = []
    for first, count in spans:
        if first >> NUMBER_BITS != client.session or not count:
            books.refuse("rows of another client, or none")
            continue
        for ts in tuple(parts_of(books, first, count)):
            part = _inside(books, ts, first, first + count, stopping=stopping)
            if part is not None:
                found.append(part)
    return found


def _inside(
    books: Books, ts: TaskState, first: int, end: int, *, stopping: bool
) -> TaskState | None:
    """The task for the rows of a part from `first` to before `end`; None: it cannot be cut."""
    id, rows = ts.id, ts.rows
    assert isinstance(id, int)
    first, end = max(first, id), min(end, id + rows)
    if end - first == rows:
        return ts
    if ts.code == PROCESSING and stopping:
        stop(books, ts)
        books.note(ts, "taken back, since rows beside it were stopped")
        advance(ts, RELEASED)
        inputs_unneeded(books, ts)
        pieces = _pieces(books, ts, first - id, end - id)
        for piece in pieces:
            if piece.needed:
                need(books, piece)
    elif ts.code in _AT_REST:
        ready = ts.code == NO_WORKER or (ts.code == WAITING and not ts.n_waiting_on)
        if ready:
            queues.withdraw(books, ts)
            if ts.code == NO_WORKER:
                advance(ts, WAITING)
        pieces = _pieces(books, ts, first - id, end - id)
        if ready:
            for piece in pieces:
                queues.ready(books, piece)
    else:
        return None
    return pieces[first > id]


def _pieces(books: Books, ts: TaskState, first: int, end: int) -> list[TaskState]:
    """Cut a part before row `first` and before row `end` of it, as far as there are others."""
    pieces = [ts]
    if first:
        pieces.append(cut(books, ts, first))
    if pieces[-1].rows > end - first:
        pieces.append(cut(books, pieces[-1], end - first))
    return pieces
