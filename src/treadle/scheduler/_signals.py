"""Events: set or not, and who waits until they are."""

from __future__ import annotations

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import answer, begin, end
from treadle.scheduler._shared import Desk, Signal, Wait


def set_event(books: Books, client: ClientState, desk: Desk, message: wire.SetEvent) -> None:
    """Set it, which wakes all who wait; or clear it."""
    signals = books.shared.signals
    signal = signals.get(message.name)
    if message.is_set:
        if signal is None:
            signal = signals[message.name] = Signal(message.name)
        signal.is_set = True
        for wait in tuple(signal.line):
            end(books, wait, signal.line)
            answer(books, wait.client, wait.ask, True)
    elif signal is not None:
        signal.is_set = False
        left(books, signal)
    answer(books, client, message.ask)


def await_event(books: Books, client: ClientState, desk: Desk, message: wire.AwaitEvent) -> None:
    """Tell when it is set."""
    signals = books.shared.signals
    signal = signals.get(message.name)
    if signal is not None and signal.is_set:
        answer(books, client, message.ask, True)
    elif message.timeout_s == 0:
        answer(books, client, message.ask, False)
    else:
        if signal is None:
            signal = signals[message.name] = Signal(message.name)
        wait = Wait(client, message.ask, signal, late=False)
        begin(books, wait, signal.line, message.timeout_s)


def left(books: Books, signal: Signal) -> None:
    """Somebody has left it: if it says nothing and nobody is there, it is forgotten."""
    if not signal.is_set and not signal.line:
        del books.shared.signals[signal.name]
