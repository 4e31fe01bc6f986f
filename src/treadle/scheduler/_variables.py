"""Variables: one value each, which is read as often as somebody likes."""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import answer, begin, end
from treadle.scheduler._keepers import let_go, store
from treadle.scheduler._shared import Desk, Stored, Variable, Wait


def assign(books: Books, client: ClientState, desk: Desk, message: wire.Assign) -> None:
    """Set it, which wakes all who wait; or delete it."""
    variables = books.shared.variables
    variable = variables.get(message.name)
    new: Stored | None = None
    if message.item is not None:
        stored = store(books, f"variable/{message.name}", message.item)
        if isinstance(stored, str):
            answer(books, client, message.ask, error=stored)
            return
        new = stored
        if variable is None:
            variable = variables[message.name] = Variable(message.name)
    if variable is not None:
        old, variable.value = variable.value, new
        if old is not None:
            let_go(books, old)
        if new is not None:
            for wait in tuple(variable.line):
                end(books, wait, variable.line)
                _give(books, new, wait.client, wait.ask)
        left(books, variable)
    answer(books, client, message.ask)


def look(books: Books, client: ClientState, desk: Desk, message: wire.Look) -> None:
    """Tell its value, when it has one."""
    variables = books.shared.variables
    variable = variables.get(message.name)
    if variable is not None and variable.value is not None:
        _give(books, variable.value, client, message.ask)
    elif message.timeout_s == 0:
        answer(books, client, message.ask)
    else:
        if variable is None:
            variable = variables[message.name] = Variable(message.name)
        wait = Wait(client, message.ask, variable)
        begin(books, wait, variable.line, message.timeout_s)


def left(books: Books, variable: Variable) -> None:
    """Somebody has left it: if it has no value and nobody is there, it is forgotten."""
    if variable.value is None and not variable.line:
        del books.shared.variables[variable.name]


def _give(books: Books, stored: Stored, client: ClientState, ask: int) -> None:
    answer(books, client, ask, [stored.item.data, stored.item.ids])
