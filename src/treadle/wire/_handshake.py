"""The handshake: who is there, and which protocol both speak. No input or output.

Who opens a link sends `Hello`; who listens answers `Welcome` or `Sorry`, and either then ends the
link or lets messages pass. Each is a frame of its own kind, `HANDSHAKE_BYTES` at most, and all of
it takes `HANDSHAKE_S` at most. The highest protocol that both speak is spoken, and the
capabilities that both have are used; those that one does not know are nothing to it.

Both sides judge the other by the same rules, so an older side need not know a newer one's. A
worker loads what others have pickled: it and its peer run the same minor version of Python.

What is said here outlives all protocols: a newer handshake adds fields at the end of a message,
which an older one skips.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

import msgspec
from msgspec import Meta, Struct

from treadle.errors import WireError
from treadle.wire._codec import UNDECODABLE
from treadle.wire._frames import HANDSHAKE_BYTES, Frame, Kind, frame
from treadle.wire._links import SPOKEN, Role

#: The oldest and the newest protocol that this Treadle speaks.
PROTOCOLS: Final = (1, 1)
#: How long a handshake may take.
HANDSHAKE_S: Final = 5.0

Word = Annotated[str, Meta(max_length=256)]
Small = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Words = Annotated[tuple[Word, ...], Meta(max_length=64)]


class Party(Struct, frozen=True, array_like=True):
    """One side of a link, as it says itself. The fields stand on the wire in this order."""

    role: Word
    #: Its name among those of its role.
    id: Word
    #: The run it belongs to; links lead nowhere else.
    run: Word
    #: Its Treadle, and its Python: (major, minor).
    version: Word
    python: tuple[Small, Small]
    #: The oldest and the newest protocol it speaks.
    protocols: tuple[Small, Small] = PROTOCOLS
    capabilities: Words = ()


class Hello(Struct, frozen=True, array_like=True, tag_field="message", tag="hello"):
    """I am this; may I?"""

    party: Party


class Welcome(Struct, frozen=True, array_like=True, tag_field="message", tag="welcome"):
    """You may, and I am that. We speak this protocol and have these capabilities."""

    party: Party
    protocol: Small
    capabilities: Words = ()


class Sorry(Struct, frozen=True, array_like=True, tag_field="message", tag="sorry"):
    """You may not. `reason` is for people, and names both sides."""

    reason: Annotated[str, Meta(max_length=2_000)]


class Agreed(Struct, frozen=True):
    """The handshake has ended well: what both know of this link."""

    peer: Party
    role: Role
    protocol: int
    capabilities: tuple[str, ...]


class Rejected(Struct, frozen=True):
    """The handshake has ended, and so must the link when `Step.answer` is sent."""

    reason: str


class Step(Struct, frozen=True):
    """What follows from a frame: bytes to send, if any, and how the handshake ended."""

    answer: bytes | None
    ended: Agreed | Rejected


_Said: TypeAlias = Hello | Welcome | Sorry
_DECODER = msgspec.msgpack.Decoder(_Said)
_ENCODER = msgspec.msgpack.Encoder()


class Handshake:
    """One side of one handshake.

    Args:
        me: this side.
        opens: this side has opened the link, and speaks first.
        peer: who the other side must be, as 'role/ID', where that is known: by its certificate,
            or because we wanted to reach it.
    """

    def __init__(self, me: Party, *, opens: bool, peer: str | None = None) -> None:
        self.me = me
        self.opens = opens
        self.peer = peer
        #: How it ended; None while it lasts.
        self.ended: Agreed | Rejected | None = None

    def hello(self) -> bytes:
        """What the side that opens sends first."""
        return _framed(Hello(self.me))

    def handle(self, received: Frame) -> Step:
        """Take the frame of the other side.

        Raises:
            WireError: it is not what comes next in a handshake; the link is to be dropped.
        """
        said = _decode(received)
        if self.ended is not None:
            raise WireError("a second handshake on the same link")
        if isinstance(said, Hello) and not self.opens:
            return self._answer(said.party)
        if isinstance(said, Welcome) and self.opens:
            return self._end(self._accept(said))
        if isinstance(said, Sorry) and self.opens:
            return self._end(Rejected(said.reason))
        expected = "a welcome" if self.opens else "a hello"
        raise WireError(f"the peer says {type(said).__name__.lower()} instead of {expected}")

    # --- details -----------------------------------------------------------------------------

    def _answer(self, other: Party) -> Step:
        # The words are read by the other side, so they speak as it would.
        reason = objection(other, self.me) or self._stranger(other)
        if reason is not None:
            return self._end(Rejected(reason), _framed(Sorry(reason)))
        agreed = Agreed(
            peer=other,
            role=Role(other.role),
            protocol=min(self.me.protocols[1], other.protocols[1]),
            capabilities=_shared(self.me.capabilities, other.capabilities),
        )
        return self._end(agreed, _framed(Welcome(self.me, agreed.protocol, agreed.capabilities)))

    def _accept(self, said: Welcome) -> Agreed | Rejected:
        other = said.party
        reason = objection(self.me, other) or self._stranger(other)
        if reason is not None:
            return Rejected(reason)
        low = max(self.me.protocols[0], other.protocols[0])
        high = min(self.me.protocols[1], other.protocols[1])
        if not low <= said.protocol <= high:
            raise WireError(f"the peer chose protocol {said.protocol}, which was not offered")
        return Agreed(
            peer=other,
            role=Role(other.role),
            protocol=said.protocol,
            capabilities=_shared(self.me.capabilities, said.capabilities),
        )

    def _stranger(self, other: Party) -> str | None:
        """Why the other side is not who it must be."""
        if self.peer is None or self.peer == f"{other.role}/{other.id}":
            return None
        return (
            f"{_shown(self.peer)} is expected here, and not {_shown(other.role + '/' + other.id)}"
        )

    def _end(self, ended: Agreed | Rejected, answer: bytes | None = None) -> Step:
        self.ended = ended
        return Step(answer, ended)


def sorry(reason: str) -> bytes:
    """The frame that says no, for a side that has reasons of its own after all agreed."""
    return _framed(Sorry(reason))


def objection(opener: Party, listener: Party) -> str | None:
    """Why these two may have no link, in the words of the side that opened it; None if they may."""
    this, that = f"this {_shown(opener.role)}", _other(opener, listener)
    if (opener.role, listener.role) not in SPOKEN:
        return f"{this} has nothing to say to {that}"
    if opener.run != listener.run:
        return f"{this} belongs to run {_shown(opener.run)}, {that} to run {_shown(listener.run)}"
    if not _shared_protocol(opener, listener):
        return (
            f"{this} (Treadle {_shown(opener.version)}) speaks {_protocols(opener)}, "
            f"{that} (Treadle {_shown(listener.version)}) {_protocols(listener)}: "
            f"install the same Treadle on both sides"
        )
    if Role.worker in (opener.role, listener.role) and opener.python != listener.python:
        theirs = ".".join(map(str, listener.python))
        return (
            f"{this} runs Python {'.'.join(map(str, opener.python))}, {that} {theirs}: "
            f"start both with the same minor version of Python"
        )
    return None


def _other(opener: Party, listener: Party) -> str:
    same = opener.role == listener.role
    return f"the {'other ' if same else ''}{_shown(listener.role)}"


def _shared_protocol(one: Party, other: Party) -> bool:
    low = max(one.protocols[0], other.protocols[0])
    return low <= min(one.protocols[1], other.protocols[1])


def _protocols(party: Party) -> str:
    low, high = party.protocols
    return f"protocol {low}" if low == high else f"protocols {low} to {high}"


def _shared(mine: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(name for name in dict.fromkeys(mine) if name in theirs))


def _shown(text: str) -> str:
    """A peer's own words, safe to print and short."""
    clipped = text if len(text) <= 60 else text[:57] + "..."
    return clipped if clipped.isprintable() else ascii(clipped)


def _framed(said: _Said) -> bytes:
    payload = _ENCODER.encode(said)
    if len(payload) > HANDSHAKE_BYTES:
        raise WireError(f"a handshake of {len(payload):,} bytes is over {HANDSHAKE_BYTES:,}")
    return frame(payload, Kind.handshake)


def _decode(received: Frame) -> _Said:
    if received.kind is not Kind.handshake:
        raise WireError(f"the peer sends {received.kind.name} before the handshake has ended")
    try:
        said: _Said = _DECODER.decode(received.payload)
    except UNDECODABLE:
        pass
    else:
        return said
    raise WireError("the peer's handshake cannot be read")
