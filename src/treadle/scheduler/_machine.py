"""The scheduler's machine: it decides where and when tasks run, and does nothing itself.

Two rules. *One door*: everything that happens is an event, `handle` takes it with its source and
the time, and returns what is to be sent, in order. *No act*: no clock, dice, lock, thread, logging
or pickle; the scheduler never looks into what it passes on.

The theory. A task is handed out in numbered attempts; what is said of any but its newest changes
nothing, so late, doubled and reordered messages are harmless. What a peer may say depends on its
role, and what it may not say is refused and counted. A message that cannot be carried out is
refused in words; it never ends the link it came by. At the end of each step, what is no longer
needed is released, and what is ready is placed: once for all messages of one frame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from treadle import wire
from treadle.scheduler import (
    _clients,
    _coordination,
    _data,
    _lingering,
    _muster,
    _outcomes,
    _questions,
    _queues,
    _row_orders,
    _unfit,
    _workers,
)
from treadle.scheduler._admission import submit
from treadle.scheduler._books import Books
from treadle.scheduler._events import SHELL, LinkLost, PeerGone, Send, Tick
from treadle.scheduler._policy import Policy
from treadle.scheduler._release import relax

_FROM_CLIENT: dict[type, Callable[..., None]] = {
    wire.Submit: submit,
    wire.Desire: _clients.desire,
    wire.Release: _clients.release,
    wire.Linger: _lingering.let_linger,
    wire.Cancel: _clients.cancel,
    wire.ReleaseRows: _row_orders.release_rows,
    wire.CancelRows: _row_orders.cancel_rows,
    wire.Retry: _clients.retry,
    wire.FireAndForget: _clients.fire_and_forget,
    wire.ClientBeat: _clients.beat,
    wire.Leave: _clients.leave,
    wire.Scatter: _data.scatter,
    wire.Replicate: _data.replicate,
    wire.Rebalance: _data.rebalance,
    wire.Publish: _clients.publish,
    wire.Unpublish: _clients.unpublish,
    wire.GetPublished: _clients.get_published,
    wire.ListPublished: _clients.list_published,
    wire.Retire: _workers.retire,
    wire.WhoHas: _questions.who_has,
    wire.HasWhat: _questions.has_what,
    wire.Explain: _questions.explain,
    wire.Story: _questions.story,
    **_coordination.HANDLERS,
    wire.Processing: _questions.processing,
    wire.Muster: _muster.muster,
    wire.Restart: _muster.restart,
}

_FROM_WORKER: dict[type, Callable[..., None]] = {
    wire.Finished: _outcomes.finished,
    wire.Failed: _outcomes.failed,
    wire.Died: _outcomes.died,
    wire.Returned: _outcomes.returned,
    wire.Started: _outcomes.started,
    wire.Aside: _outcomes.aside,
    wire.Back: _outcomes.back,
    wire.Holding: _data.holding,
    wire.Dropped: _data.dropped,
    wire.NotFetched: _data.not_fetched,
    wire.Status: _workers.status,
    wire.Leaving: _workers.leaving,
    wire.Beat: _workers.beat,
}


class Scheduler:
    """All tasks, workers and clients of one cluster.

    Args:
        policy: what may be chosen about its decisions.
    """

    def __init__(self, policy: Policy | None = None) -> None:
        self.books = Books(policy or Policy(), _queues.Queues())

    def handle(self, event: Struct | list[Any], *, source: str, now: float) -> list[Send]:
        """Take one event, or all messages of one frame; return what is to be sent, in order.

        Args:
            event: a message of `treadle.wire`, a list of them, or an event of the shell's.
            source: the peer it came from, as the shell has authenticated it; or `SHELL`.
            now: seconds of a clock that never goes back.
        """
        books = self.books
        books.now = now
        messages = event if type(event) is list else (event,)
        if source.startswith("worker/"):
            self._from_worker(messages, source)
        elif source.startswith("client/"):
            self._from_client(messages, source)
        elif source == SHELL:
            for fact in messages:
                self._from_shell(fact)
        else:
            books.refuse("message of an unknown role")
        self._settle()
        return books.flush()

    @property
    def wake_at(self) -> float | None:
        """When a `Tick` is wanted at the latest; None: not without another event."""
        books = self.books
        at = _queues.wake_at(books)
        look_at = _workers.next_deadline(books)
        if look_at is not None and (at is None or look_at < at):
            at = look_at
        if books.shared.clock.heap:
            look_at = books.shared.clock.heap[0][0]
            if at is None or look_at < at:
                at = look_at
        if books.lingering:
            look_at = _lingering.wake_at(books)
            if look_at is not None and (at is None or look_at < at):
                at = look_at
        if books.watch.musters:
            look_at = _muster.wake_at(books)
            if look_at is not None and (at is None or look_at < at):
                at = look_at
        return at

    def _settle(self) -> None:
        """Release what nobody needs and place what is ready, until neither leads to more."""
        books = self.books
        while True:
            if books.moves.bereft:
                _data.give_again(books)
            if books.slack:
                relax(books)
            _queues.assign(books)
            if books.queues.unfit:
                _unfit.settle(books)
            if not books.slack:
                return

    def _from_worker(self, messages: Iterable[Any], source: str) -> None:
        books = self.books
        id = source.removeprefix("worker/")
        for message in messages:
            ws = books.workers.get(id)
            handler = _FROM_WORKER.get(type(message))
            if type(message) is wire.Register:
                _workers.register(books, message, source)
            elif handler is None:
                books.refuse(f"{type(message).__name__} from a worker")
            elif ws is None:
                _workers.unknown(books, source)
            else:
                ws.last_seen = books.now
                handler(books, ws, message)

    def _from_client(self, messages: Iterable[Any], source: str) -> None:
        books = self.books
        for message in messages:
            client = books.clients.get(source)
            handler = _FROM_CLIENT.get(type(message))
            if type(message) is wire.Attach:
                _clients.attach(books, message, source)
            elif handler is None:
                books.refuse(f"{type(message).__name__} from a client")
            elif client is None:
                _clients.unknown(books, source)
            else:
                client.last_seen = books.now
                handler(books, client, message)

    def _from_shell(self, event: Any) -> None:
        books = self.books
        if type(event) is Tick:
            _workers.tick(books)
            _clients.tick(books)
        elif type(event) is LinkLost:
            role = _workers if event.peer.startswith("worker/") else _clients
            role.link_lost(books, event.peer)
        elif type(event) is PeerGone:
            if event.peer.startswith("worker/"):
                _workers.peer_gone(books, event)
            else:
                _clients.peer_gone(books, event)
        else:
            books.refuse(f"{type(event).__name__} from the shell")
