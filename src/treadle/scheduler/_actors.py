"""Actors: one home, ordered calls, and their loss is an error.

An actor is a task whose result is a process that lives on. It is in memory on one worker, its home,
takes its resources there for life, and dies with its slot or its worker. Its state cannot be
computed again, so nothing is: the actor errs, and with it every call that has not ended. Results of
calls that have ended stay, as long as there is a copy.

While it is being made it is a task like any other: a death accuses it, and it is made again.
"""

from __future__ import annotations

from treadle.scheduler import _queues as queues
from treadle.scheduler._books import Books
from treadle.scheduler._end import err, err_by
from treadle.scheduler._exits import died_of
from treadle.scheduler._occupancy import leave
from treadle.scheduler._relations import each, has
from treadle.scheduler._release import drop_replica, inputs_unneeded
from treadle.scheduler._task import TaskState
from treadle.scheduler._transitions import ERRED, MEMORY, PROCESSING, RELEASED, advance
from treadle.wire import Failure, Free, Stop


def gone(books: Books, actor: TaskState, why: str) -> None:
    """The process of an actor is gone, and its replica dropped: it errs with all its open calls."""
    sent = [ts for ts in each(actor.dependers) if ts.home is actor and ts.processing_on is not None]
    rare = actor.rarely()
    rare.calls = None
    text = f"actor {actor.key} is gone, and its state with it: {why}"
    books.note(actor, text)
    err(books, actor, Failure("actor", "ActorLost", text))
    for call in sent:
        if call.code == PROCESSING:
            _end(books, call, actor)


def _end(books: Books, call: TaskState, actor: TaskState) -> None:
    """A call that was sent has no result: whatever its worker still says of it is refused."""
    ws = call.processing_on
    assert ws is not None
    leave(ws, call)
    books.send(ws, Stop(call.id, call.attempt))
    queues.has_room(books, ws)
    advance(call, RELEASED)
    inputs_unneeded(books, call)
    err_by(books, call, actor)


def call_died(books: Books, call: TaskState, exit_code: int | None) -> None:
    """The process of an actor died in this call."""
    actor, ws = call.home, call.processing_on
    assert actor is not None
    assert ws is not None
    call.group.prefix.deaths += 1
    why = f"its process on worker {ws.id} died {died_of(exit_code)} in call {call.key}"
    if actor.code == MEMORY and has(actor.holders, ws):
        drop_replica(actor, ws)
        books.send(ws, Free(actor.id, actor.attempt))
        gone(books, actor, why)
        queues.has_room(books, ws)
        return
    # Its actor has been made anew in between, or is lost: this call is all that is left of it.
    leave(ws, call)
    queues.has_room(books, ws)
    err(books, call, Failure("actor", "ActorLost", f"actor {actor.key} is gone: {why}"))


def set_apart(actor: TaskState, retried: dict[TaskState, None]) -> None:
    """An actor that is lost is about to be made anew: what failed by it and is not tried again has
    failed by itself from now on."""
    failure = actor.failure
    assert failure is not None
    stack = [(ts, ts) for ts in each(actor.dependers)]
    while stack:
        ts, blame = stack.pop()
        if ts.code != ERRED or ts.exception_blame is not actor or ts in retried:
            continue
        if ts is blame:
            ts.failure = failure
        ts.exception_blame = blame
        stack += [(other, blame) for other in each(ts.dependers)]
