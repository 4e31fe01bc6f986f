"""Tasks are stopped, or tried again, because somebody asked for it."""

from __future__ import annotations

from treadle.scheduler._actors import set_apart
from treadle.scheduler._books import LINGERING, Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._need import need
from treadle.scheduler._relations import each
from treadle.scheduler._release import unwant
from treadle.scheduler._task import ACTIVE, TaskState
from treadle.scheduler._transitions import ERRED, PROCESSING, RELEASED, advance
from treadle.wire import Cancelled, Retried


def cancel(
    books: Books,
    client: ClientState,
    named: list[TaskState],
    reason: str,
    *,
    force: bool,
    waiting: bool = False,
) -> None:
    """Stop tasks that have not ended and what waits for them, as far as nobody else wants them.

    `force`: whoever wants them. `waiting`: only those that no worker has been given yet. What a
    client named it wants no longer, even if others do. What is then needed by nobody is stopped at
    the end of this step.
    """
    if waiting:
        named = [ts for ts in named if ts.code != PROCESSING]
    reach = _waiting_for(named)
    lingering = books.clients[LINGERING]
    go_on = {} if force else _wanted_by_others(reach, client, lingering)
    chosen = dict.fromkeys(named)
    for ts in reach:
        if ts in go_on and ts not in chosen:
            continue
        message = Cancelled(ts.id, reason, ts.rows)
        for other in tuple(each(ts.wanters)):
            if other is client or force or other is lingering:
                if other.real:
                    books.send(other, message)
                unwant(books, ts, other)


def _waiting_for(named: list[TaskState]) -> dict[TaskState, None]:
    """The tasks of these that are active, and all that waits for them."""
    reach = {ts: None for ts in named if ts.code in ACTIVE or ts.code == RELEASED}
    stack = list(reach)
    while stack:
        for other in each(stack.pop().dependers):
            if other.code in ACTIVE and other not in reach:
                reach[other] = None
                stack.append(other)
    return reach


def _wanted_by_others(reach: dict[TaskState, None], *mine: ClientState) -> dict[TaskState, None]:
    """Of these, what others want, and what that needs."""
    go_on = {ts: None for ts in reach if any(other not in mine for other in each(ts.wanters))}
    stack = list(go_on)
    while stack:
        for dep in each(stack.pop().deps):
            if dep in reach and dep not in go_on:
                go_on[dep] = None
                stack.append(dep)
    return go_on


def retry(books: Books, named: list[TaskState]) -> None:
    """Try erred tasks again from the first that failed, with all that failed by these."""
    again = _erred_with(named)
    for ts in again:
        if ts.actor and ts.failure is not None:
            set_apart(ts, again)
    for ts in again:
        ts.failure = ts.exception_blame = None
        ts.retries = 0 if ts.home is not None else ts.options.retries
        if ts.rare is not None:
            ts.rare.suspicious = 0
            ts.rare.earlier = ()  # told with the error
        advance(ts, RELEASED)
        books.note(ts, "tried again, because a client asked for it")
        for client in each(ts.wanters):
            if client.real:
                books.send(client, Retried(ts.id, ts.rows))
    for ts in again:
        if ts.code == RELEASED and ts.needed:
            need(books, ts)
    books.slack += [ts for ts in again if ts.code == RELEASED and not ts.needed]


def _erred_with(named: list[TaskState]) -> dict[TaskState, None]:
    """The erred tasks among these, those they failed by, and what else failed by those.

    But no call of an actor that is neither named nor needed: with a new actor it is another call.
    """
    found = {ts: None for ts in named if ts.code == ERRED}
    stack = list(found)
    while stack:
        for dep in each(stack.pop().deps):
            if dep.code == ERRED and dep not in found:
                found[dep] = None
                stack.append(dep)
    stack = list(found)  # also of what was named itself, for it stands between others and a root
    while stack:
        for other in each(stack.pop().dependers):
            if other.code != ERRED or other in found or other.home is not None:
                continue
            if other.exception_blame in found:
                found[other] = None
                stack.append(other)
    return found
