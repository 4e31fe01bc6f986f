"""What clients may ask. Each question is answered once, by a `Reply` with its number."""

from __future__ import annotations

from typing import Any

from treadle import wire
from treadle.scheduler import _explain
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._client import ClientState
from treadle.scheduler._relations import each
from treadle.scheduler._words import named
from treadle.wire import TaskId


def who_has(books: Books, client: ClientState, message: wire.WhoHas) -> None:
    """Where are these results? One sorted list of workers for each."""
    if _unknown(books, client, message.ask, message.ids):
        return
    tasks = [owner(books, id) for id in message.ids]
    answer = [sorted(ws.id for ws in each(ts and ts.holders)) for ts in tasks]
    _reply(books, client, message.ask, answer)


def has_what(books: Books, client: ClientState, message: wire.HasWhat) -> None:
    """What do these workers (none named: all) hold? The shown keys by worker, in order."""
    unknown = [id for id in message.workers if id not in books.workers]
    if unknown:
        _refuse(books, client, message.ask, f"not known: {named(unknown, 'worker')}")
        return
    ids = message.workers or sorted(books.workers)
    answer = {id: sorted(ts.key for ts in books.workers[id].has_what) for id in ids}
    _reply(books, client, message.ask, answer)


def processing(books: Books, client: ClientState, message: wire.Processing) -> None:
    """What have these workers (none named: all) been given? The shown keys by worker, in order."""
    unknown = [id for id in message.workers if id not in books.workers]
    if unknown:
        _refuse(books, client, message.ask, f"not known: {named(unknown, 'worker')}")
        return
    ids = message.workers or sorted(books.workers)
    answer = {id: [ts.key for ts in books.workers[id].processing] for id in ids}
    _reply(books, client, message.ask, answer)


def explain(books: Books, client: ClientState, message: wire.Explain) -> None:
    """Why is this task where it is? One sentence."""
    if not _unknown(books, client, message.ask, (message.id,)):
        _reply(books, client, message.ask, _explain.explain(books, message.id, books.now))


def story(books: Books, client: ClientState, message: wire.Story) -> None:
    """What has happened to this task? Lines, oldest first."""
    if not _unknown(books, client, message.ask, (message.id,)):
        _reply(books, client, message.ask, _explain.story(books, message.id))


def _unknown(books: Books, client: ClientState, ask: int, ids: tuple[TaskId, ...]) -> bool:
    """Answer with an error if a task is not known; whether that was so."""
    unknown = [repr(id) for id in ids if owner(books, id) is None]
    if not unknown:
        return False
    text = f"not known, or forgotten because nobody needed it: {named(unknown, 'task')}"
    _refuse(books, client, ask, text)
    return True


def _reply(books: Books, client: ClientState, ask: int, value: Any) -> None:
    books.send(client, wire.Reply(ask, value))


def _refuse(books: Books, client: ClientState, ask: int, error: str) -> None:
    books.refuse("question about what is not known")
    books.send(client, wire.Reply(ask, None, error))
