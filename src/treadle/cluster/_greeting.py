"""Greetings: what comes before there is a link. TLS, if there is a network; then the handshake.

Until it has ended well, the other side is a stranger: it has so many seconds and so many bytes,
and nothing of what it sends is looked into but its handshake.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from treadle.cluster._link import Ear, Link, Tally, name_of, report
from treadle.cluster._security import Subject, speaks_for, subject_of
from treadle.cluster._stream import GRACE_S, StreamLink, words
from treadle.cluster._tls import Secure, reason_of
from treadle.errors import HandshakeRefused, WireError
from treadle.wire import (
    HANDSHAKE_BYTES,
    Agreed,
    Frame,
    FrameReader,
    Handshake,
    Party,
    Role,
    decoder,
    sorry,
)

#: Given the link, before the other side is welcomed: who listens to it, or why there is to be none.
Admit = Callable[[Link], Ear | str]


class Greeting(asyncio.Protocol):
    """One side of one connection, until there is a link or an end.

    Args:
        expect: who the other side must be, as 'role/ID'; None: anybody who may speak to us.
        admit: see `Admit`.
        ended: told once how it ended: with a link, or with an error.
        context: what TLS needs to know, on a network.
        pid: of the process at the other end; 0 if that is not known.
        timeout_s: how long all of it may take; None for a socket that was inherited, whose other
            side may still be starting.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        me: Party,
        *,
        opens: bool,
        expect: str | None,
        admit: Admit,
        ended: Callable[[Link | Exception], None],
        tally: Tally,
        context: ssl.SSLContext | None = None,
        same_machine: bool = False,
        pid: int = 0,
        timeout_s: float | None = None,
    ) -> None:
        self._loop = loop
        self._me = me
        self._opens = opens
        self._expect = expect
        self._admit = admit
        self._ended = ended
        self._tally = tally
        self._context = context
        #: Made when the first bytes are there: who says nothing costs nothing.
        self._secure: Secure | None = None
        self._same_machine = same_machine
        self._pid = pid
        self._timeout_s = timeout_s
        # With a certificate, who it is has to be what that says: see `_objection`.
        self._handshake = Handshake(me, opens=opens, peer=None if context else expect)
        self._subject: Subject | None = None
        self._reader = FrameReader()
        self._received = 0
        self._transport: asyncio.Transport | None = None
        self._over = False
        #: The other side has gone again without a word, as who tries several addresses does.
        self.left = False
        # Its errors are told to `ended`; nobody need wait for it.
        self.ready: asyncio.Future[None] = loop.create_future()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def over(self) -> bool:
        """There is a link, or an end."""
        return self._over

    def hello(self) -> None:
        """Speak first, once it is `ready`."""
        if not self._over:
            self._say(self._handshake.hello())

    def give_up(self, error: Exception) -> None:
        """End it, if there is no link yet."""
        self._fail(error)

    # --- the transport's calls ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are such by their methods, not by their class.
        self._transport = cast(asyncio.Transport, transport)
        if self._over:
            self._transport.abort()
            return
        self._transport.set_write_buffer_limits(high=0)
        if self._timeout_s is not None:
            self._timer = self._loop.call_later(self._timeout_s, self._late)
        if self._context is None:
            self._become_ready()
        elif self._opens:
            self._secure = Secure(self._context, listens=False)
            self._shake(self._secure, b"")

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._received += len(data)
        try:
            if self._context is not None:
                if not self._opens and self._received > HANDSHAKE_BYTES:
                    raise WireError(f"more than {HANDSHAKE_BYTES:,} bytes before its handshake")
                data = self._plain(self._context, data)
            for frame in self._reader.feed(data):
                self._take(frame)
        except WireError as error:
            self._fail(self._refusal(error))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        why = "the other side has closed the connection" if exc is None else words(exc)
        self.left = not self._over and self._received == 0
        self._fail(ConnectionError(f"{why} before the handshake had ended"))

    # --- details -----------------------------------------------------------------------------

    def _plain(self, context: ssl.SSLContext, data: bytes) -> bytes:
        secure = self._secure
        if secure is None:
            secure = self._secure = Secure(context, listens=True)
        if secure.shaken:
            return secure.decrypt(data)
        self._shake(secure, data)
        return secure.decrypt(b"") if self.ready.done() else b""

    def _shake(self, secure: Secure, data: bytes) -> None:
        assert self._transport is not None
        try:
            secure.shake(data)
        except ssl.SSLError as error:
            self._transport.write(secure.outgoing())  # the alert that says why
            self._fail(ConnectionError(f"TLS: {reason_of(error)}"), gently=True)
            return
        self._transport.write(secure.outgoing())
        if not secure.shaken:
            return
        try:
            self._subject = subject_of(secure.certificate())
        except ValueError as error:
            self._fail(ConnectionError(str(error)))
            return
        if self._opens and (why := self._objection(None)):
            self._fail(ConnectionError(why))
            return
        self._become_ready()

    def _become_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def _objection(self, party: Party | None) -> str | None:
        """Why the certificate will not do for what the other side says it is; None if it will."""
        subject = self._subject
        if subject is None:
            return None
        if subject.run != self._me.run:
            return f"its certificate is of run {subject.run!r}, not of {self._me.run!r}"
        names = [self._expect] if self._expect is not None else []
        if party is not None:
            names.append(name_of(party))
        for name in names:
            if not speaks_for(subject, name):
                return f"its certificate is that of {subject.name!r}, which is not {name!r}"
        if party is not None and self._expect not in (None, name_of(party)):
            return f"{self._expect!r} is expected here, and not {name_of(party)!r}"
        return None

    def _take(self, frame: Frame) -> None:
        if self._over:
            return
        step = self._handshake.handle(frame)
        ended = step.ended
        if isinstance(ended, Agreed):
            self._agree(ended, step.answer)
        elif self._opens:
            self._fail(HandshakeRefused(ended.reason))
        else:
            self._say(step.answer or sorry(ended.reason))
            self._fail(HandshakeRefused(ended.reason), gently=True)

    def _agree(self, agreed: Agreed, welcome: bytes | None) -> None:
        assert self._transport is not None
        if why := self._objection(agreed.peer):
            self._turn_away(why)
            return
        link = StreamLink(
            name_of(agreed.peer),
            agreed.peer,
            same_machine=self._same_machine,
            pid=self._pid,
            transport=self._transport,
            loop=self._loop,
            reader=self._reader,
            decoder=decoder(agreed.role, Role(self._me.role)),
            secure=self._secure,
            tally=self._tally,
        )
        try:
            ear = self._admit(link)
        except Exception as error:  # noqa: BLE001 - a fault in who decides keeps nobody else out
            report(self._loop, link, error)
            ear = "a fault on this side keeps it from taking links"
        if isinstance(ear, str):
            link.void(ear)
            self._turn_away(ear)
            return
        link.ear = ear
        if welcome is not None:
            self._say(welcome)
        self._transport.set_protocol(link)
        self._finish(link)
        if self._opens:
            # Who waits for the link is given it before his ear hears of it.
            self._transport.pause_reading()
            self._loop.call_soon(link.begin)
        else:
            link.begin()

    def _turn_away(self, why: str) -> None:
        if not self._opens:
            self._say(sorry(why[:2_000]))
        self._fail(HandshakeRefused(why), gently=True)

    def _say(self, frame: bytes) -> None:
        assert self._transport is not None
        self._transport.write(frame if self._secure is None else self._secure.encrypt(frame))

    def _late(self) -> None:
        self._fail(TimeoutError(f"no handshake within {self._timeout_s:g} s"))

    def _refusal(self, error: WireError) -> Exception:
        """An alert of TLS after our side was done is the other side's verdict on us."""
        text = str(error)
        if self._opens and text.startswith("TLS: ") and "alert" in text:
            return HandshakeRefused(f"the other side does not take this certificate: {text[5:]}")
        return error

    def _fail(self, error: Exception, *, gently: bool = False) -> None:
        if self._over:
            return
        self._finish(error)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if gently:
            transport.close()
            self._loop.call_later(GRACE_S, transport.abort)
        else:
            transport.abort()

    def _finish(self, outcome: Link | Exception) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        self._become_ready()
        self._ended(outcome)
