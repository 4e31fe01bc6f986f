"""Messages to bytes and back: MessagePack, checked by type while it is decoded.

The payload of a frame is a list of messages, each an array that begins with its tag. Fields that
the reader does not know are skipped, so a message may grow at its end.

Whatever the bytes are, a decoder gives messages within their bounds or raises `WireError`. It
allocates as the bytes that are there demand, never as a length among them promises: the codec
grows lists as it reads, and refuses nesting that is deeper than the interpreter's stack. What
only messages from a hostile peer need (which one was it, and what was wrong) is found out by
reading the frame a second time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Annotated, Any, Final, cast

import msgspec
from msgspec import Meta, Struct

from treadle.errors import WireError
from treadle.wire._client import Reply, Submit
from treadle.wire._links import SPOKEN, Role
from treadle.wire._plain import MAX_METADATA, fault_of
from treadle.wire._terms import MAX_ITEMS, Message

#: Most messages in one frame.
MAX_MESSAGES = MAX_ITEMS

Buffer = bytes | bytearray | memoryview

_ENCODER: Final = msgspec.msgpack.Encoder()
#: What the codec may raise for values that no message can hold (msgspec's own is a ValueError).
_UNENCODABLE = (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError)
#: And for bytes: malformed, out of bounds, no text, nested too deep, more than there is memory.
UNDECODABLE = (
    msgspec.MsgspecError,
    TypeError,
    ValueError,
    OverflowError,
    RecursionError,
    MemoryError,
)
#: Messages that may hold plain values.
_OPEN = (Submit, Reply)
_NAMES = {
    Role.client: "a client",
    Role.worker: "a worker",
    Role.scheduler: "the scheduler",
}


def encode(messages: Sequence[Message]) -> bytes:
    """The payload of a frame that holds these messages.

    Raises:
        WireError: a message holds what cannot be sent, such as text that is not Unicode.
    """
    return bytes(encode_behind(b"", messages))


def encode_behind(prefix: bytes, messages: Sequence[Message]) -> bytearray:
    """`prefix`, then the payload: for who puts a header before it, without a copy of it all.

    A new buffer each time costs less than the copy out of one that is reused.
    """
    if fault := _open_fault(messages):
        raise WireError(fault)
    buffer = bytearray(prefix)
    try:
        _ENCODER.encode_into(messages, buffer, len(prefix))
    except _UNENCODABLE as error:
        reason = f"a message cannot be sent: {_words(error)}"
    else:
        return buffer
    raise WireError(reason)


class Decoder:
    """Reads what one role says to another."""

    def __init__(self, sender: Role, receiver: Role) -> None:
        spoken = SPOKEN[sender, receiver]
        self.sender = sender
        self.receiver = receiver
        self._tags: dict[str, None] = dict.fromkeys(_tags_of(spoken))
        self._has_open = any(tag in self._tags for tag in _OPEN_TAGS)
        self._all: msgspec.msgpack.Decoder[list[Any]] = msgspec.msgpack.Decoder(
            cast(Any, Annotated[list[spoken], Meta(max_length=MAX_MESSAGES)])  # type: ignore[valid-type]
        )
        self._one: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(cast(Any, spoken))

    def decode(self, payload: Buffer) -> list[Message]:
        """The messages of a frame, in order.

        Raises:
            WireError: the payload is no list of messages that this sender may say, each within
                its bounds. Nothing of what it held is in the text or kept alive by the error.
        """
        try:
            messages: list[Message] = self._all.decode(payload)
        except UNDECODABLE:
            # The reason is found below: in here, the codec's error holds the bytes it was reading.
            pass
        else:
            fault = _open_fault(messages) if self._has_open else None
            if fault is None:
                return messages
            raise WireError(fault)
        raise WireError(self._reason(payload))

    def _reason(self, payload: Buffer) -> str:
        """What is wrong with the first message that is wrong."""
        try:
            raws = _RAW.decode(payload)
        except UNDECODABLE as error:
            return f"not a list of messages: {_words(error)}"
        for index, raw in enumerate(raws):
            if fault := self._fault(raw):
                return f"message {index} {fault}"
        return "the messages cannot be read"

    def _fault(self, raw: msgspec.Raw) -> str | None:
        try:
            tag = _HEAD.decode(raw).tag
        except UNDECODABLE:
            return "has no tag"
        if tag not in self._tags:
            shown = repr(tag) if tag in _KNOWN_TAGS else "unknown"
            return f"is {shown}: {_NAMES[self.sender]} may not say that to {_NAMES[self.receiver]}"
        try:
            self._one.decode(raw)
        except UNDECODABLE as error:
            return f"({tag}): {_words(error)}"
        return None


@cache
def decoder(sender: Role, receiver: Role) -> Decoder:
    """The decoder of what `sender` says to `receiver`; there is one for each two."""
    if (sender, receiver) not in SPOKEN:
        raise ValueError(f"there is no link from a {sender} to a {receiver}")
    return Decoder(sender, receiver)


def verify(messages: Sequence[Message], sender: Role, receiver: Role) -> None:
    """Raise `WireError` if the receiver would refuse this frame.

    Structs are not checked when they are made: this is for tests, and for what a user made.
    """
    decoder(sender, receiver).decode(encode(messages))


# --- details -----------------------------------------------------------------------------------


class _Head(Struct, array_like=True):
    """The beginning of any message."""

    tag: str


_HEAD = msgspec.msgpack.Decoder(_Head)
_RAW = msgspec.msgpack.Decoder(Annotated[list[msgspec.Raw], Meta(max_length=MAX_MESSAGES)])


def _tags_of(spoken: object) -> list[str]:
    classes = cast(Any, spoken).__args__
    return [cast(str, cls.__struct_config__.tag) for cls in classes]


_OPEN_TAGS = [cast(str, cls.__struct_config__.tag) for cls in _OPEN]
#: Tags of any message on any link: these may be repeated to people.
_KNOWN_TAGS = dict.fromkeys(tag for spoken in SPOKEN.values() for tag in _tags_of(spoken))


def _open_fault(messages: Sequence[Message]) -> str | None:
    """What is wrong with the plain values in these messages."""
    for message in messages:
        if type(message) not in _OPEN:
            continue
        if isinstance(message, Reply) and (fault := fault_of(message.value)):
            return f"the value of a reply is not plain: {fault}"
        if isinstance(message, Submit) and (fault := _metadata_fault(message)):
            return f"the metadata of a task is not plain: {fault}"
    return None


def _metadata_fault(message: Submit) -> str | None:
    for task in message.tasks:
        if task.metadata is not None and (fault := fault_of(task.metadata, most=MAX_METADATA)):
            return fault
    return None


def _words(error: Exception) -> str:
    """What the codec says, without what it was reading."""
    if isinstance(error, UnicodeError):
        return "a text is not Unicode"
    if isinstance(error, RecursionError):
        return "it is nested too deep"
    if isinstance(error, MemoryError):
        return "there is not enough memory for it"
    if isinstance(error, TypeError) and not isinstance(error, msgspec.MsgspecError):
        return "a value is of a type that no message has"
    text = str(error)
    if text.startswith("Invalid value"):  # the codec's words for a tag, which it repeats
        return f"a message of an unknown kind - at {text.rpartition(' - at ')[2]}"
    return text
