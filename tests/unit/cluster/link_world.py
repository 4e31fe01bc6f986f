"""What tests of links need: both kinds of loops, ears that keep what they hear, peers without manners."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import uvloop

from treadle.cluster._dial import adopt
from treadle.cluster._greeting import Greeting
from treadle.cluster._link import Ear, Link, Tally, this_party
from treadle.cluster._stream import StreamLink
from treadle.wire import (
    Chunk,
    FrameReader,
    Handshake,
    Message,
    Party,
    Step,
)

RUN = "r1"
CLIENT = this_party("client", "ann", RUN)
SCHEDULER = this_party("scheduler", RUN, RUN)
LOOPS = {"uvloop": uvloop.new_event_loop, "asyncio": asyncio.new_event_loop}


def run_on(kind: str, main: Coroutine[Any, Any, None], *, timeout_s: float = 10.0) -> None:
    """Run on a loop of this kind; what the loop complains of fails the test."""
    complaints: list[str] = []

    async def watched() -> None:
        def complain(loop: object, context: dict[str, Any]) -> None:
            complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

        asyncio.get_running_loop().set_exception_handler(complain)
        try:
            async with asyncio.timeout(timeout_s):
                await main
        except BaseException:
            await abort_all()
            raise

    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        runner.run(watched())
    assert complaints == []


async def abort_all() -> None:
    """After a failure: uvloop waits for ever for connections that are open when it is closed."""
    for each in gc.get_objects():
        ours = isinstance(each, StreamLink | Greeting)
        if ours and each._loop is asyncio.get_running_loop() and each._transport is not None:
            each._transport.abort()
    await asyncio.sleep(0)


async def until(condition: Callable[[], object], *, timeout_s: float = 5.0) -> None:
    """Wait for a condition, with a deadline."""
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.001)


class Listening:
    """An ear that keeps what it hears."""

    def __init__(self) -> None:
        self.link: Link | None = None
        self.frames: list[list[Message]] = []
        self.pieces: list[tuple[int, int, int, bytes]] = []
        self.ends: list[str] = []

    @property
    def messages(self) -> list[Message]:
        return [message for frame in self.frames for message in frame]

    def heard(self, link: Link, messages: list[Message]) -> None:
        assert not self.ends, "heard after lost"
        self.frames.append(messages)

    def chunk(self, link: Link, chunk: Chunk) -> None:
        assert not self.ends, "heard after lost"
        self.pieces.append((chunk.ask, chunk.index, chunk.offset, bytes(chunk.payload)))

    def lost(self, link: Link, why: str) -> None:
        self.ends.append(why)


class Two:
    """A client's link to a scheduler and the other end of it, over a socket pair."""

    def __init__(self, client: Link, scheduler: Link, ears: tuple[Listening, Listening]) -> None:
        self.client, self.scheduler = client, scheduler
        self.client_ear, self.scheduler_ear = ears


async def two_ends(
    *, ears: tuple[Listening, Listening] | None = None, tally: Tally | None = None
) -> Two:
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    hears = ears or (Listening(), Listening())
    first = adopt(
        a,
        me=CLIENT,
        opens=True,
        expect=f"scheduler/{RUN}",
        ear_for=lambda _: hears[0],
        loop=loop,
        tally=tally,
    )
    second = adopt(
        b,
        me=SCHEDULER,
        opens=False,
        expect="client/ann",
        ear_for=lambda _: hears[1],
        loop=loop,
        tally=tally,
    )
    return Two(await first, await second, hears)


def shaken(sock: socket.socket, me: Party, *, opens: bool = True) -> FrameReader:
    """Shake hands over a blocking socket, as a peer would that has no loop."""
    handshake, reader = Handshake(me, opens=opens), FrameReader()
    if opens:
        sock.sendall(handshake.hello())
    frames = []
    while not frames:
        data = sock.recv(1 << 16)
        assert data, "the other side has hung up"
        frames = reader.feed(data)
    step: Step = handshake.handle(frames[0])
    if step.answer is not None:
        sock.sendall(step.answer)
    reader.raise_limit()
    return reader


async def rude_peer(ear: Ear, *, tally: Tally | None = None) -> tuple[Link, socket.socket]:
    """A scheduler's link to a client, and the client's bare socket, its handshake done."""
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    future = adopt(
        a,
        me=SCHEDULER,
        opens=False,
        expect=None,
        ear_for=lambda _: ear,
        loop=loop,
        tally=tally,
    )
    b.settimeout(4)
    await loop.run_in_executor(None, shaken, b, CLIENT)
    return await future, b
