"""Questions of clients that the machine knows nothing of: the scheduler's shell answers them, or
passes them on to workers, and gathers what they say into one reply.

Nobody waits for ever: who has not answered in time, or whose link is lost, has an error in place of
an answer.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from treadle import wire
from treadle.cluster import _log_tail, _server_views
from treadle.cluster._versions import versions_here

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from treadle.cluster._server_peers import Peer
    from treadle.scheduler import Scheduler

#: So long a worker may take.
PATIENCE_S: Final = 10.0
#: More are not under way at once.
_MOST: Final = 1_000
_MOST_TEXT: Final = 2_000
#: What the scheduler is called among those who answer.
_SCHEDULER: Final = "scheduler"

#: What is asked of workers, and what the books tell.
_OF_WORKERS: Final = frozenset({"call_stack", "logs", "output", "versions"})
_OF_BOOKS: Final = frozenset({"info", "nbytes", "nbytes_by_name"})


class Server(Protocol):
    """Whose shell this is."""

    machine: Scheduler
    peers: dict[str, Peer]


class Inquest:
    """A client's question, and what has been answered to it."""

    __slots__ = ("answers", "ask", "client", "errors", "open", "timer", "what")

    def __init__(self, client: str, message: wire.Inquire) -> None:
        self.client = client
        self.ask = message.ask
        self.what = message.what
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, str] = {}
        #: Who has not answered.
        self.open: dict[str, None] = {}
        self.timer: asyncio.TimerHandle | None = None


class Relay:
    """All questions that are under way."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._under_way: dict[int, Inquest] = {}
        self._number = 0

    def inquire(self, peer: Peer, message: wire.Inquire) -> None:
        """A client asks."""
        if not peer.current:
            return  # it has gone, or asks again by another link
        try:
            names = self._names(message)
        except ValueError as error:
            peer.tell([wire.Reply(message.ask, error=str(error)[:_MOST_TEXT])])
            return
        if message.what in _OF_BOOKS:
            peer.tell([wire.Reply(message.ask, self._of_books(message, names))])
            return
        inquest = Inquest(peer.name, message)
        self._number += 1
        number = self._number
        self._under_way[number] = inquest
        inquest.open = dict.fromkeys(names)
        if message.scheduler:
            inquest.open[_SCHEDULER] = None
        inquest.timer = self._loop.call_later(PATIENCE_S, self._late, number)
        inquiry = wire.Inquiry(number, message.what, message.ids, message.most)
        for name in names:
            worker = self._server.peers.get(f"worker/{name}")
            if worker is None:
                self._settle(number, name, error="there is no link to it just now")
            else:
                worker.tell([inquiry])
        if message.scheduler:
            self._own(number, message)
        self._close(number)

    def answer(self, peer: Peer, message: wire.Answer) -> None:
        """A worker answers."""
        inquest = self._under_way.get(message.ask)
        name = peer.name.partition("/")[2]
        if inquest is None or name not in inquest.open:
            return
        value, error = message.value, message.error
        if inquest.what == "call_stack" and not error:
            try:
                value = [[id, self._key(id), list(frames)] for id, frames in value]
            except (TypeError, ValueError):
                value, error = None, "it says what cannot be read"
        self._settle(message.ask, name, value, error)
        self._close(message.ask)

    def lost(self, peer: Peer) -> None:
        """A worker's link is lost: what was asked by it may never be answered."""
        name = peer.name.partition("/")[2]
        for number, inquest in list(self._under_way.items()):
            if name in inquest.open:
                self._settle(number, name, error="the link to it was lost")
                self._close(number)

    def close(self) -> None:
        """The scheduler ends."""
        for inquest in self._under_way.values():
            if inquest.timer is not None:
                inquest.timer.cancel()
        self._under_way.clear()

    # --- details -----------------------------------------------------------------------------

    def _names(self, message: wire.Inquire) -> Sequence[str]:
        """Which workers are meant.

        Raises:
            ValueError: one is not known, or nobody knows what is asked.
        """
        what, books = message.what, self._server.machine.books
        if what not in _OF_WORKERS and what not in _OF_BOOKS:
            known = ", ".join(sorted(_OF_WORKERS | _OF_BOOKS))
            raise ValueError(f"nobody can be asked for {what!r}; there are: {known}")
        if len(self._under_way) >= _MOST:
            raise ValueError("too many questions are under way; try again in a moment")
        strange = [name for name in message.workers if name not in books.workers]
        if strange:
            there = ", ".join(sorted(books.workers)[:10]) or "none"
            raise ValueError(f"no such worker: {', '.join(strange[:10])}; there are: {there}")
        if message.workers:
            return list(dict.fromkeys(message.workers))
        if what == "call_stack" and message.ids:
            return _server_views.workers_of(books, message.ids)
        if message.scheduler and what == "logs":
            return []
        return sorted(name for name, ws in books.workers.items() if ws.linked or what == "info")

    def _of_books(self, message: wire.Inquire, names: Sequence[str]) -> Any:
        books = self._server.machine.books
        if message.what == "info":
            return _server_views.info(books, names)
        summed = message.what == "nbytes_by_name"
        return _server_views.sizes(books, message.ids, summed=summed)

    def _key(self, id: Any) -> str:
        if not isinstance(id, int | str):
            raise TypeError(id)
        return _server_views.key_of(self._server.machine.books, id)

    def _own(self, number: int, message: wire.Inquire) -> None:
        """The scheduler's own answer."""
        if message.what == "logs":
            lines = _log_tail.newest(message.most, of_worker=False)
            self._settle(number, _SCHEDULER, lines)
        elif message.what == "versions":
            packages = [name for name in message.ids if isinstance(name, str)]
            finding = self._loop.run_in_executor(None, versions_here, packages)
            finding.add_done_callback(partial(self._found, number))
        else:
            self._settle(number, _SCHEDULER, error="it runs no tasks")

    def _found(self, number: int, finding: asyncio.Future[Any]) -> None:
        if finding.cancelled():
            return
        error = finding.exception()
        if error is None:
            self._settle(number, _SCHEDULER, finding.result())
        else:
            self._settle(number, _SCHEDULER, error=f"{type(error).__name__}: {error}")
        self._close(number)

    def _settle(self, number: int, name: str, value: Any = None, error: str = "") -> None:
        inquest = self._under_way.get(number)
        if inquest is None:
            return
        inquest.open.pop(name, None)
        if error:
            inquest.errors[name] = error[:_MOST_TEXT]
        else:
            inquest.answers[name] = value

    def _late(self, number: int) -> None:
        inquest = self._under_way.get(number)
        if inquest is not None:
            for name in list(inquest.open):
                self._settle(number, name, error=f"it has not answered in {PATIENCE_S:g} s")
            self._close(number)

    def _close(self, number: int) -> None:
        """Reply, if all have answered."""
        inquest = self._under_way.get(number)
        if inquest is None or inquest.open:
            return
        del self._under_way[number]
        if inquest.timer is not None:
            inquest.timer.cancel()
        client = self._server.peers.get(inquest.client)
        if client is not None:
            client.tell([wire.Reply(inquest.ask, [inquest.answers, inquest.errors])])
