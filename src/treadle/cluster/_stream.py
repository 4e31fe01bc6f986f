"""Links over a byte stream: a Unix socket, one half of a socket pair, or TCP with TLS.

What is sent within a turn of the loop is encoded at its end and written at once: one system call
for each link and turn. The transport keeps nothing unless the socket is full; so as long as it
keeps something, nothing of an object's bytes is pulled, and the link's backlog is what it keeps.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from treadle.cluster._link import Frames, Link, Tally, guarded, report, tell_lost
from treadle.cluster._turns import turns_of
from treadle.errors import WireError
from treadle.wire import (
    Decoder,
    Frame,
    FrameReader,
    Kind,
    Message,
    Party,
    frames_of,
    read_chunk,
)

if TYPE_CHECKING:
    from treadle.cluster._tls import Secure

#: How long a link that we close may take to send what was sent on it before.
GRACE_S: Final = 1.0
_MESSAGES: Final = Kind.messages
_DATA: Final = Kind.data
#: What comes in so few bytes is one thing, and somebody waits for it.
_ALONE_BYTES: Final = 512


class StreamLink(Link, asyncio.Protocol):
    """A link over a transport whose handshake has ended well."""

    __slots__ = (
        "_chunks",
        "_decode",
        "_grace",
        "_loop",
        "_lost",
        "_paused",
        "_pending",
        "_pumping",
        "_reader",
        "_secure",
        "_tally",
        "_transport",
        "_turns",
        "_why",
    )

    def __init__(
        self,
        peer: str,
        party: Party,
        *,
        same_machine: bool,
        pid: int,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        reader: FrameReader,
        decoder: Decoder,
        secure: Secure | None,
        tally: Tally,
    ) -> None:
        super().__init__(peer, party, same_machine=same_machine, pid=pid)
        self._transport = transport
        self._loop = loop
        self._reader = reader
        self._decode = decoder.decode
        self._secure = secure
        self._tally = tally
        self._turns = turns_of(loop)
        #: What leaves at the end of this turn.
        self._pending: list[Message] = []
        self._chunks: deque[tuple[Frames, Callable[[], None]]] = deque()
        #: The transport has something that the socket did not take.
        self._paused = transport.get_write_buffer_size() > 0
        #: Why it has ended, or is about to.
        self._why: str | None = None
        #: The next piece is on its way.
        self._pumping = False
        #: The ear has been told of the end.
        self._lost = False
        self._grace: asyncio.TimerHandle | None = None

    # --- sending -----------------------------------------------------------------------------

    def send(self, messages: Sequence[Message]) -> None:
        pending = self._pending
        if pending:
            pending.extend(messages)
        elif self._why is None and messages:
            pending.extend(messages)
            self._turns.flush_later(self)

    def flush(self) -> None:
        """Send what was sent in this turn."""
        messages = self._pending
        if not messages:
            return
        self._pending = []
        if self._transport.is_closing():
            return
        try:
            frames = frames_of(messages)
        except WireError:
            frames = self._frames_one_by_one(messages)
        except Exception as error:  # noqa: BLE001 - no memory for it, say: this link's end alone
            self._fault(error)
            return
        for frame in frames:
            self._write(frame)

    def send_chunks(self, frames: Frames, then: Callable[[], None]) -> None:
        self._chunks.append((frames, then))
        self._pump_later()

    @property
    def backlog(self) -> int:
        return self._transport.get_write_buffer_size()

    @property
    def closed(self) -> bool:
        return self._why is not None

    def close(self, why: str = "") -> None:
        if self._why is not None:
            return
        self.flush()
        self._why = why or "closed by this side"
        if self._secure is not None and not self._paused:
            self._transport.write(self._secure.goodbye())
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._grace = self._loop.call_later(GRACE_S, self._transport.abort)

    def forsake(self) -> None:
        self._why = self._why or "this process was forked from the one that has the link"
        sock = self._transport.get_extra_info("socket")
        number = -1 if sock is None else sock.fileno()
        if number >= 0:
            # Not closed: its number stays taken, and the loop, which is the parent's, untouched.
            null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
            os.dup2(null, number, inheritable=False)
            os.close(null)

    # --- the transport's calls ---------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if len(data) > _ALONE_BYTES:
            self._received(data)
        else:
            self._turns.at_once(self._received, data)

    def _received(self, data: bytes) -> None:
        try:
            if self._secure is not None:
                data = self._secure.decrypt(data)
            self.take(self._reader.feed(data))
        except WireError as error:
            self._malformed(error)

    def begin(self) -> None:
        """Go on from where the handshake has ended."""
        try:
            self.take(self._reader.raise_limit())
        except WireError as error:
            self._malformed(error)
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def void(self, why: str) -> None:
        """It is not to be: what was sent on it never leaves."""
        self._why = why
        self._pending = []
        self._lost = True

    def take(self, frames: Sequence[Frame]) -> None:
        """Hand on what has come.

        Raises:
            WireError: it is not what this peer may say.
        """
        ear = self.ear
        if ear is None:
            return
        for kind, payload in frames:
            if self._why is not None:
                return
            if kind is _MESSAGES:
                messages = self._decode(payload)
                try:
                    ear.heard(self, messages)
                except Exception as error:  # noqa: BLE001 - an ear's fault ends its link alone
                    self._fault(error)
            elif kind is _DATA:
                chunk = read_chunk(payload)
                try:
                    ear.chunk(self, chunk)
                except Exception as error:  # noqa: BLE001 - as above
                    self._fault(error)
            else:
                raise WireError("a second handshake on the same link")

    def eof_received(self) -> bool:
        if self._why is None:
            self._why = "the other side has closed the link"
            if self._reader.within_a_frame:
                self._why += " in the middle of a frame"
        # Not closed with what waits to be sent: who only listens any more need never take it.
        self._transport.abort()
        return False

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if self._chunks:
            self._pump_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._grace is not None:
            self._grace.cancel()
        why = self._why
        if why is None:
            why = self._why = "the other side has closed the link" if exc is None else words(exc)
        self._lost = True
        self._pending = []
        self._drop_chunks()
        tell_lost(self._loop, self, why)

    # --- details -----------------------------------------------------------------------------

    def _write(self, frame: bytes | bytearray | memoryview) -> None:
        if self._transport.is_closing():
            return
        if self._secure is None:
            self._transport.write(frame)
        else:
            self._transport.write(self._secure.encrypt(frame))

    def _pump(self) -> None:
        """Send the next piece of an object, if the socket takes it, behind what was said before.

        One for each turn of the loop: it may be a megabyte, and has a checksum.
        """
        self._pumping = False
        self.flush()
        chunks = self._chunks
        try:
            while chunks and not self._paused and self._why is None:
                frames, then = chunks[0]
                frame = next(frames, None)
                if frame is not None:
                    if self._secure is None:
                        self._transport.writelines(frame)
                    else:
                        self._transport.write(self._secure.encrypt(*frame))
                    break
                chunks.popleft()
                then()
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._fault(error)
        if self._lost:
            self._drop_chunks()
        elif chunks and not self._paused and self._why is None:
            self._pump_later()

    def _pump_later(self) -> None:
        if not self._pumping:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _drop_chunks(self) -> None:
        while self._chunks:
            _, then = self._chunks.popleft()
            guarded(self._loop, self, then)

    def _frames_one_by_one(self, messages: Sequence[Message]) -> list[bytearray]:
        """The frames of those messages that can be sent; the ear is told of the others."""
        frames: list[bytearray] = []
        for message in messages:
            try:
                frames += frames_of([message])
            except WireError as error:
                self._unsent(message, str(error))
        return frames

    def _unsent(self, message: Message, why: str) -> None:
        tell = getattr(self.ear, "unsent", None)
        if tell is None:
            self._loop.call_soon(self.close, f"this side cannot send a message: {why}")
            return
        try:
            tell(self, message, why)
        except Exception as error:  # noqa: BLE001 - as in `take`
            self._fault(error)

    def _malformed(self, error: WireError) -> None:
        self._tally.malformed(self.peer, str(error))
        self._abort(f"the other side sent what it must not: {error}")

    def _fault(self, error: Exception) -> None:
        report(self._loop, self, error)
        self._abort(f"a fault on this side: {error!r}")

    def _abort(self, why: str) -> None:
        if self._why is None:
            self._why = why
        self._transport.abort()


def words(error: BaseException) -> str:
    """An error of a socket, for people."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    if isinstance(error, TimeoutError):
        return str(error) or "no answer"
    return str(error) or type(error).__name__
