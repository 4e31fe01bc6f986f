"""Opening links: to an address, or over a socket that was inherited.

Of several addresses all are tried at once, but only one at a time is said hello to: who listens
there never sees two links of which one ends at once.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from treadle.cluster._addresses import host_and_port, keep_alive
from treadle.cluster._greeting import Greeting
from treadle.cluster._link import Ear, Link, Tally
from treadle.cluster._security import own_process, peer_user
from treadle.cluster._stream import words
from treadle.errors import HandshakeRefused
from treadle.wire import HANDSHAKE_S, Party

if TYPE_CHECKING:
    import ssl

    from treadle.cluster._security import Identity

#: A listener whose queue is full is asked again so soon: the system does not tell when it is not.
_AGAIN_S = 0.01


async def dial(
    addresses: Sequence[str],
    *,
    me: Party,
    expect: str | None,
    ear: Ear,
    identity: Identity | None = None,
    timeout_s: float = HANDSHAKE_S,
    tally: Tally | None = None,
) -> Link:
    """A link to who listens at one of these addresses.

    Its ear may hear from it as soon as who awaits this has been given the link.

    Args:
        addresses: 'unix:PATH' or 'tls://HOST:PORT'.
        expect: who must be there, as 'role/ID'.
        identity: this side's credential; nothing is reached on a network without one.

    Raises:
        HandshakeRefused: the other side does not want this one; the text has its reason.
        ConnectionError: nobody was reached; the text names each address, and why.
    """
    if not addresses:
        raise ConnectionError(f"there is no address of {expect or 'the other side'}")
    attempt = _Attempt(me, expect, ear, identity, timeout_s, tally or Tally())
    try:
        async with asyncio.timeout(timeout_s):
            link = await attempt.first_of(addresses)
    except TimeoutError:
        link = None
    finally:
        attempt.drop_others()
    if link is not None:
        return link
    raise attempt.error(addresses)


def adopt(
    sock: socket.socket,
    *,
    me: Party,
    opens: bool,
    expect: str | None,
    ear_for: Callable[[Link], Ear],
    loop: asyncio.AbstractEventLoop,
    timeout_s: float | None = None,
    tally: Tally | None = None,
) -> asyncio.Future[Link]:
    """A link over one end of a socket pair, which it owns from now on.

    Args:
        opens: this side speaks first; the other side must not.
        timeout_s: how long the handshake may take; None: until the other side has ended.

    The future raises `HandshakeRefused` or `ConnectionError`.
    """
    future: asyncio.Future[Link] = loop.create_future()
    # Of a pair that this process made itself, the system knows no other.
    user = peer_user(sock)
    pid = user.pid if user is not None and user.pid != os.getpid() else 0
    greeting = Greeting(
        loop,
        me,
        opens=opens,
        expect=expect,
        admit=ear_for,
        ended=lambda outcome: _settle(future, outcome),
        tally=tally or Tally(),
        same_machine=True,
        pid=pid,
        timeout_s=timeout_s,
    )
    task = loop.create_task(_adopt(loop, sock, greeting, opens=opens))
    future.add_done_callback(lambda _: task.cancel() if future.cancelled() else None)
    return future


# --- details -----------------------------------------------------------------------------------


async def _adopt(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, greeting: Greeting, *, opens: bool
) -> None:
    try:
        await connect(loop, sock, greeting)
    except OSError as error:
        greeting.give_up(ConnectionError(f"the inherited socket cannot be used: {words(error)}"))
        return
    except asyncio.CancelledError:
        greeting.give_up(ConnectionError("cancelled"))
        raise
    if opens:
        greeting.hello()


async def connect(loop: asyncio.AbstractEventLoop, sock: socket.socket, greeting: Greeting) -> None:
    """Give a connected socket to a greeting. The socket is closed if that fails."""
    try:
        sock.setblocking(False)
        await loop.connect_accepted_socket(lambda: greeting, sock)
    except BaseException:
        sock.close()
        raise


def _settle(future: asyncio.Future[Link], outcome: Link | Exception) -> None:
    if future.done():
        if isinstance(outcome, Link):
            _drop(outcome)
    elif isinstance(outcome, Link):
        future.set_result(outcome)
    elif isinstance(outcome, HandshakeRefused | ConnectionError):
        future.set_exception(outcome)
    else:
        future.set_exception(ConnectionError(str(outcome)))


def _drop(link: Link) -> None:
    """Nobody waits for this link any more, so nobody is told of its end either."""
    link.ear = None
    link.close("nobody waits for it any more")


class _Attempt:
    """All that is tried to reach one peer."""

    def __init__(
        self,
        me: Party,
        expect: str | None,
        ear: Ear,
        identity: Identity | None,
        timeout_s: float,
        tally: Tally,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._me = me
        self._expect = expect
        self._ear = ear
        self._identity = identity
        self._context: ssl.SSLContext | None = None
        self._timeout_s = timeout_s
        self._tally = tally
        self._tasks: list[asyncio.Task[None]] = []
        self._greetings: list[Greeting] = []
        #: Those whose turn it is to be said hello to; None for each that has failed.
        self._ready: asyncio.Queue[tuple[Greeting, asyncio.Future[Link], str] | None]
        self._ready = asyncio.Queue()
        self._errors: dict[str, Exception] = {}

    async def first_of(self, addresses: Sequence[str]) -> Link | None:
        """The first that shakes hands; None if none does."""
        candidates = list(dict.fromkeys(addresses))
        self._tasks = [self._loop.create_task(self._try(address)) for address in candidates]
        for left in range(len(candidates), 0, -1):
            ready = await self._ready.get()
            if ready is None:
                continue
            greeting, future, address = ready
            if left > 1:  # it may be somebody who never answers: others get their turn
                self._loop.call_later(
                    self._timeout_s / 2, greeting.give_up, TimeoutError("it does not answer")
                )
            greeting.hello()
            try:
                return await future
            except (HandshakeRefused, ConnectionError) as error:
                self._errors[address] = error
            except asyncio.CancelledError:
                if future.done() and not future.cancelled() and future.exception() is None:
                    _drop(future.result())
                raise
        return None

    def drop_others(self) -> None:
        """Close what has not become a link."""
        for task in self._tasks:
            task.cancel()
        for greeting in self._greetings:
            greeting.give_up(ConnectionError("another address was faster"))

    def error(self, addresses: Sequence[str]) -> Exception:
        """Why there is no link."""
        refused = [e for e in self._errors.values() if isinstance(e, HandshakeRefused)]
        if refused:
            return refused[0]
        who = self._expect or "anybody"
        silent = f"no answer within {self._timeout_s:g} s"
        each = [f"{address}: {self._errors.get(address, silent)}" for address in addresses]
        return ConnectionError(f"{who} cannot be reached ({'; '.join(each)})")

    # --- details -----------------------------------------------------------------------------

    async def _try(self, address: str) -> None:
        try:
            ready = await self._reach(address)
        except OSError as error:
            self._errors[address] = ConnectionError(words(error))
            ready = None
        except ValueError as error:
            self._errors[address] = ConnectionError(str(error))
            ready = None
        self._ready.put_nowait(ready)

    async def _reach(self, address: str) -> tuple[Greeting, asyncio.Future[Link], str]:
        context, pid = None, 0
        path = address.removeprefix("unix:")
        if path != address:
            sock, pid = await _connect_unix(path)
        else:
            if self._identity is None:
                raise ValueError("a credential is needed to speak with another machine")
            if self._context is None:
                self._context = self._identity.context(listens=False)
            context = self._context
            sock = await _connect_tcp(self._loop, address, self._timeout_s)
        future: asyncio.Future[Link] = self._loop.create_future()
        greeting = Greeting(
            self._loop,
            self._me,
            opens=True,
            expect=self._expect,
            admit=lambda _: self._ear,
            ended=lambda outcome: _settle(future, outcome),
            tally=self._tally,
            context=context,
            same_machine=pid > 0,
            pid=pid,
        )
        self._greetings.append(greeting)
        future.add_done_callback(_seen)
        await connect(self._loop, sock, greeting)
        await greeting.ready
        return greeting, future, address


def _seen(future: asyncio.Future[Link]) -> None:
    """An error that nobody waits for is no news."""
    if not future.cancelled():
        future.exception()


async def _connect_unix(path: str) -> tuple[socket.socket, int]:
    """A connected socket, and the process that listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        while True:
            try:
                sock.connect(path)
                break
            except BlockingIOError:
                await asyncio.sleep(_AGAIN_S)
        return sock, own_process(sock)
    except BaseException:
        sock.close()
        raise


async def _connect_tcp(
    loop: asyncio.AbstractEventLoop, address: str, timeout_s: float
) -> socket.socket:
    host, port = host_and_port(address)
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    errors: list[OSError] = []
    for family, kind, protocol, _, where in found:
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            # One address that nobody answers at leaves time for the others.
            async with asyncio.timeout(timeout_s / len(found)):
                await loop.sock_connect(sock, where)
            keep_alive(sock)
            return sock
        except OSError as error:
            sock.close()
            errors.append(error)
        except BaseException:
            sock.close()
            raise
    raise errors[0]
