"""What an agent and its zygote say to each other, packet by packet."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from treadle.cluster._settings import WorkerSettings


class SlotFds(NamedTuple):
    """What a slot starts with: the reading end of *feed*, its end of *talk*, the memory of the
    blame word, and the files of its standard output and standard error."""

    feed: int
    talk: int
    blame: int
    stdout: int
    stderr: int


class Order(Struct, frozen=True, array_like=True, tag_field="packet", tag=str.lower):
    """What the agent says."""


class Begin(Order, frozen=True):
    """First of all: be the zygote of this worker. `descriptors`: how many a task may have open (0:
    as many as the zygote)."""

    settings: WorkerSettings
    descriptors: int = 0


class Fork(Order, frozen=True):
    """Start a slot; its descriptors come along. `rank`: its place among those that live."""

    slot: int
    rank: int


class Expect(Order, frozen=True):
    """Tasks have clients of their own: have slots that come find loaded what these take."""


class News(Struct, frozen=True, array_like=True, tag_field="packet", tag=str.lower):
    """What the zygote says."""


class Forked(News, frozen=True):
    """A slot has been started."""

    slot: int
    pid: int


class Ended(News, frozen=True):
    """A slot has ended. `exit_code`: negative for a signal's number. `pid`: 0 if it could not be
    started."""

    slot: int
    pid: int
    exit_code: int


ToZygote = Begin | Fork | Expect
FromZygote = Forked | Ended

encode: Final = msgspec.msgpack.Encoder().encode
decode_order: Final = msgspec.msgpack.Decoder(ToZygote).decode
decode_news: Final = msgspec.msgpack.Decoder(FromZygote).decode
