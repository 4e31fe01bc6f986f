"""Links over sockets: what is sent, in what order and how often, and how a link ends."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator

import pytest

from tests.unit.cluster.link_world import (
    CLIENT,
    RUN,
    SCHEDULER,
    Listening,
    rude_peer,
    run_on,
    two_ends,
    until,
)
from treadle.cluster._dial import adopt
from treadle.cluster._link import Link, Tally, this_party
from treadle.errors import HandshakeRefused, InternalError
from treadle.wire import (
    MAX_FRAME,
    Beaten,
    Cancel,
    ClientBeat,
    Code,
    Drain,
    FrameReader,
    Handshake,
    Kind,
    Leave,
    Message,
    Reply,
    chunks,
    encode,
    frame,
)

pytestmark = pytest.mark.parametrize("kind", ["uvloop", "asyncio"])


def test_messages_pass_both_ways_and_peers_know_each_other(kind):
    async def main() -> None:
        two = await two_ends()
        assert (two.client.peer, two.scheduler.peer) == (f"scheduler/{RUN}", "client/ann")
        assert two.scheduler.party == CLIENT
        assert two.client.same_machine
        assert two.scheduler.same_machine
        two.client.send([ClientBeat(1), Leave()])
        two.scheduler.send([Beaten(1)])
        await until(lambda: two.client_ear.frames and two.scheduler_ear.frames)
        assert two.scheduler_ear.frames == [[ClientBeat(1), Leave()]]
        assert two.client_ear.frames == [[Beaten(1)]]
        two.client.close()
        await until(lambda: two.client_ear.ends and two.scheduler_ear.ends)

    run_on(kind, main())


def test_all_that_is_sent_within_a_turn_leaves_as_one_frame(kind):
    async def main() -> None:
        two = await two_ends()
        for number in range(5):
            two.client.send([ClientBeat(number)])
        await until(lambda: two.scheduler_ear.frames)
        two.client.send([ClientBeat(5)])
        await until(lambda: len(two.scheduler_ear.messages) == 6)
        assert [len(frame) for frame in two.scheduler_ear.frames] == [5, 1]
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_what_is_answered_from_within_heard_leaves_too(kind):
    class Answering(Listening):
        def heard(self, link: Link, messages: list[Message]) -> None:
            super().heard(link, messages)
            link.send([Beaten(len(self.messages))])

    async def main() -> None:
        two = await two_ends(ears=(Listening(), Answering()))
        two.client.send([ClientBeat(1)])
        await until(lambda: two.client_ear.messages == [Beaten(1)])
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_a_message_larger_than_a_read_arrives_whole(kind):
    async def main() -> None:
        two = await two_ends()
        code = Code(b"d" * 16, "f", os.urandom(5_000_000))
        two.client.send([ClientBeat(1), code, ClientBeat(2)])
        await until(lambda: len(two.scheduler_ear.messages) == 3)
        assert two.scheduler_ear.messages[1] == code
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_more_than_one_message_may_hold_goes_as_several(kind):
    async def main() -> None:
        two = await two_ends()
        ids = tuple(range(250_000))
        two.client.send([Cancel(ids)])
        await until(lambda: len(two.scheduler_ear.messages) == 3)
        assert sum((m.ids for m in two.scheduler_ear.messages), ()) == ids
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


UNSENDABLE = [
    pytest.param(Code(b"", "\ud800", b""), "not Unicode", id="text"),
    pytest.param(Code(b"", "f", bytes(MAX_FRAME)), "over the limit", id="size"),
]


@pytest.mark.parametrize(("message", "reason"), UNSENDABLE)
def test_a_message_that_cannot_be_sent_is_told_to_an_ear_that_asks(kind, message, reason):
    class Told(Listening):
        def __init__(self) -> None:
            super().__init__()
            self.unsents: list[tuple[Message, str]] = []

        def unsent(self, link: Link, message: Message, why: str) -> None:
            self.unsents.append((message, why))

    async def main() -> None:
        ear = Told()
        two = await two_ends(ears=(ear, Listening()))
        two.client.send([ClientBeat(1), message, ClientBeat(2)])
        await until(lambda: len(two.scheduler_ear.messages) == 2)
        assert two.scheduler_ear.messages == [ClientBeat(1), ClientBeat(2)]
        assert ear.unsents[0][0] is message
        assert reason in ear.unsents[0][1]
        ear.unsents.clear()
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_a_message_that_cannot_be_sent_ends_a_link_that_nobody_asks_on(kind):
    async def main() -> None:
        two = await two_ends()
        two.client.send([ClientBeat(1), Code(b"", "\ud800", b"")])
        await until(lambda: two.client_ear.ends)
        assert "cannot send a message" in two.client_ear.ends[0]
        await until(lambda: two.scheduler_ear.ends)
        assert two.scheduler_ear.messages == [ClientBeat(1)]

    run_on(kind, main())


# --- data ----------------------------------------------------------------------------------------


def test_an_object_arrives_in_order_behind_what_was_said_before(kind):
    class InOrder(Listening):
        def chunk(self, link, chunk):
            assert self.messages == [ClientBeat(1)]
            super().chunk(link, chunk)

    async def main() -> None:
        two = await two_ends(ears=(Listening(), InOrder()))
        data = os.urandom(5_000_001)
        gone: list[int] = []
        two.client.send([ClientBeat(1)])
        two.client.send_chunks(chunks(7, 0, memoryview(data)), lambda: gone.append(1))
        await until(lambda: sum(len(piece[3]) for piece in two.scheduler_ear.pieces) == len(data))
        assert b"".join(piece[3] for piece in two.scheduler_ear.pieces) == data
        assert {piece[:2] for piece in two.scheduler_ear.pieces} == {(7, 0)}
        await until(lambda: gone)
        assert gone == [1]
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_an_object_waits_for_what_was_said_before_it_though_another_is_under_way(kind):
    seen: list[object] = []

    class Noting(Listening):
        def heard(self, link, messages):
            seen.extend(messages)

        def chunk(self, link, chunk):
            seen.append(chunk.ask)

    async def main() -> None:
        two = await two_ends(ears=(Listening(), Noting()))
        two.client.send_chunks(chunks(1, 0, memoryview(b"")), lambda: None)
        two.client.send([ClientBeat(2)])
        two.client.send_chunks(chunks(2, 0, memoryview(b"abc")), lambda: None)
        await until(lambda: len(seen) == 2)
        assert seen == [ClientBeat(2), 2]
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_messages_go_between_the_pieces_of_an_object(kind):
    async def main() -> None:
        seen: list[str] = []

        class Noting(Listening):
            def heard(self, link, messages):
                seen.append("message")

            def chunk(self, link, chunk):
                seen.append("chunk")

        two = await two_ends(ears=(Listening(), Noting()))
        data = memoryview(bytes(20_000_000))
        two.client.send_chunks(chunks(1, 0, data), lambda: None)
        await until(lambda: "chunk" in seen)
        two.client.send([ClientBeat(1)])
        await until(lambda: seen.count("chunk") == 20)
        assert "message" in seen[:-1]
        two.client.close()
        await until(lambda: two.scheduler_ear.ends)

    run_on(kind, main())


def test_nothing_of_an_object_is_pulled_while_the_other_side_takes_nothing(kind):
    async def main() -> None:
        ear = Listening()
        link, sock = await rude_peer(ear)
        pulled: list[int] = []
        gone: list[int] = []

        def pieces() -> Iterator[tuple[bytes, memoryview]]:
            for number, each in enumerate(chunks(1, 0, memoryview(bytes(64 << 20)))):
                pulled.append(number)
                yield each

        link.send_chunks(pieces(), lambda: gone.append(1))
        await until(lambda: link.backlog > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(pulled) < 4
        assert gone == []
        sock.close()
        await until(lambda: ear.ends)
        assert gone == [1]
        assert len(pulled) < 10

    run_on(kind, main())


def test_an_empty_sending_tells_when_all_before_it_has_left(kind):
    async def main() -> None:
        ear = Listening()
        link, sock = await rude_peer(ear)
        gone: list[int] = []
        link.send([Reply(1, b"x" * 10_000_000)])
        link.send_chunks(iter(()), lambda: gone.append(1))
        await until(lambda: link.backlog > 0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert gone == []
        loop = asyncio.get_running_loop()
        taken = 0
        while not gone:
            taken += len(await loop.run_in_executor(None, sock.recv, 1 << 20))
        assert taken > 9_000_000
        assert link.backlog == 0
        sock.close()
        await until(lambda: ear.ends)

    run_on(kind, main())


def test_after_the_end_the_sender_of_an_object_is_told_at_once(kind):
    async def main() -> None:
        two = await two_ends()
        two.client.close()
        await until(lambda: two.client_ear.ends)
        gone: list[int] = []
        two.client.send_chunks(chunks(1, 0, memoryview(b"abc")), lambda: gone.append(1))
        await until(lambda: gone)
        two.client.send([ClientBeat(1)])
        await until(lambda: two.scheduler_ear.ends)
        assert two.scheduler_ear.messages == []

    run_on(kind, main())


# --- ends ----------------------------------------------------------------------------------------


def test_what_was_sent_before_a_close_still_arrives(kind):
    async def main() -> None:
        two = await two_ends()
        code = Code(b"", "f", bytes(3_000_000))
        two.client.send([code, Leave()])
        two.client.close("enough")
        two.client.close("twice")
        assert two.client_ear.ends == []  # nobody is told from within his own call
        await until(lambda: two.scheduler_ear.ends and two.client_ear.ends)
        assert two.scheduler_ear.messages == [code, Leave()]
        assert two.client_ear.ends == ["enough"]
        assert two.scheduler_ear.ends == ["the other side has closed the link"]
        assert two.client.closed
        assert "closed" in repr(two.client)

    run_on(kind, main())


def test_a_peer_that_takes_nothing_holds_up_no_close(kind):
    async def main() -> None:
        ear = Listening()
        link, sock = await rude_peer(ear)
        link.send([Reply(1, b"x" * 10_000_000)])
        await until(lambda: link.backlog > 5_000_000)
        link.close("too slow")
        await until(lambda: ear.ends)
        assert ear.ends == ["too slow"]
        sock.close()

    run_on(kind, main())


def test_after_a_close_nothing_is_heard(kind):
    class Leaving(Listening):
        def heard(self, link, messages):
            super().heard(link, messages)
            link.close()

    async def main() -> None:
        ear = Leaving()
        link, sock = await rude_peer(ear)
        sock.sendall(frame(encode([ClientBeat(1)])) + frame(encode([ClientBeat(2)])))
        await until(lambda: ear.ends)
        assert ear.messages == [ClientBeat(1)]
        assert link.closed
        sock.close()

    run_on(kind, main())


MALFORMED = {
    "garbage": b"GET / HTTP/1.1\r\n\r\n",
    "a size of 4 GiB": b"\xff\xff\xff\xff\x02",
    "a frame of no kind": frame(b"x").replace(b"\x02", b"\x09"),
    "no messages": frame(b"\xc1"),
    "a message of another role": frame(encode([Drain()])),
    "a second handshake": frame(b"x", Kind.handshake),
    "data that are too short": frame(b"x", Kind.data),
    "data with a wrong checksum": frame(bytes(24) + b"changed", Kind.data),
}


@pytest.mark.parametrize("said", MALFORMED.values(), ids=MALFORMED)
def test_a_peer_that_says_what_it_must_not_is_dropped_and_counted(kind, said, caplog):
    async def main() -> None:
        ear, tally = Listening(), Tally()
        link, sock = await rude_peer(ear, tally=tally)
        sock.sendall(frame(encode([ClientBeat(1)])))
        await until(lambda: ear.messages)
        sock.sendall(said)
        await until(lambda: ear.ends)
        assert "must not" in ear.ends[0]
        assert (tally.malformed_links, tally.strangers) == (1, 0)
        assert link.closed
        assert await asyncio.get_running_loop().run_in_executor(None, sock.recv, 100) == b""
        sock.close()

    run_on(kind, main())
    assert "dropped client/ann" in caplog.text


def test_a_frame_that_is_cut_off_is_an_end_like_any_other(kind):
    async def main() -> None:
        ear, tally = Listening(), Tally()
        _, sock = await rude_peer(ear, tally=tally)
        sock.sendall(frame(encode([ClientBeat(1)]))[:-1])
        sock.close()
        await until(lambda: ear.ends)
        assert ear.ends == ["the other side has closed the link in the middle of a frame"]
        assert tally.malformed_links == 0

    run_on(kind, main())


def test_a_side_that_only_listens_any_more_is_gone(kind):
    async def main() -> None:
        ear = Listening()
        _, sock = await rude_peer(ear)
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: ear.ends)
        assert await asyncio.get_running_loop().run_in_executor(None, sock.recv, 100) == b""
        sock.close()

    run_on(kind, main())


def test_a_side_that_only_listens_any_more_and_takes_nothing_is_gone_too(kind):
    async def main() -> None:
        ear = Listening()
        link, sock = await rude_peer(ear)
        link.send([Reply(1, b"x" * 10_000_000)])
        await until(lambda: link.backlog > 5_000_000)
        sock.shutdown(socket.SHUT_WR)
        await until(lambda: ear.ends)
        sock.close()

    run_on(kind, main())


def test_a_fault_of_an_ear_is_reported_and_ends_its_link_alone(kind):
    class Faulty(Listening):
        def heard(self, link, messages):
            raise InternalError("a bug")

        def lost(self, link, why):
            super().lost(link, why)
            raise InternalError("another")

    async def main() -> None:
        two, other = await two_ends(ears=(Listening(), Faulty())), await two_ends()
        reported: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reported.append(str(context["exception"])))
        two.client.send([ClientBeat(1)])
        await until(lambda: two.client_ear.ends and two.scheduler_ear.ends)
        assert reported == ["a bug", "another"]
        other.client.send([ClientBeat(1)])
        await until(lambda: other.scheduler_ear.messages)
        other.client.close()
        await until(lambda: other.scheduler_ear.ends)

    run_on(kind, main())


# --- handshakes ----------------------------------------------------------------------------------


async def refused(me, other, *, expect=None):
    loop = asyncio.get_running_loop()
    a, b = socket.socketpair()
    first = adopt(a, me=me, opens=True, expect=expect, ear_for=lambda _: Listening(), loop=loop)
    second = adopt(b, me=other, opens=False, expect=None, ear_for=lambda _: Listening(), loop=loop)
    with pytest.raises(HandshakeRefused) as raised:
        await first
    try:
        (await second).close()
    except (HandshakeRefused, ConnectionError):
        pass
    return str(raised.value)


def test_what_comes_behind_the_welcome_is_heard_when_the_link_has_been_given(kind):
    given: list[Link] = []

    class Later(Listening):
        def heard(self, link, messages):
            assert given == [link]
            super().heard(link, messages)

    async def main() -> None:
        loop, ear = asyncio.get_running_loop(), Later()
        a, b = socket.socketpair()
        b.settimeout(4)
        future = adopt(a, me=CLIENT, opens=True, expect=None, ear_for=lambda _: ear, loop=loop)
        (hello,) = FrameReader().feed(await loop.run_in_executor(None, b.recv, 1 << 16))
        welcome = Handshake(SCHEDULER, opens=False).handle(hello).answer
        assert welcome is not None
        b.sendall(welcome + frame(encode([Beaten(1)])) + frame(encode([Beaten(2)])))
        given.append(await future)
        await until(lambda: ear.messages == [Beaten(1), Beaten(2)])
        b.close()
        await until(lambda: ear.ends)

    run_on(kind, main())


def test_another_minor_python_is_refused_with_both_versions(kind):
    async def main() -> None:
        worker = this_party("worker", "w", RUN)
        other = SCHEDULER.__class__(
            role="scheduler", id=RUN, run=RUN, version=SCHEDULER.version, python=(3, 2)
        )
        text = await refused(worker, other)
        assert "3.2" in text
        assert ".".join(map(str, worker.python)) in text

    run_on(kind, main())


def test_another_protocol_and_another_run_are_refused(kind):
    async def main() -> None:
        newer = CLIENT.__class__(
            role="client", id="a", run=RUN, version="9.9", python=(3, 12), protocols=(8, 9)
        )
        text = await refused(newer, SCHEDULER)
        assert "9.9" in text
        assert SCHEDULER.version in text
        text = await refused(this_party("client", "a", "r2"), SCHEDULER)
        assert f"run r2, the scheduler to run {RUN}" in text

    run_on(kind, main())


def test_another_peer_than_the_expected_one_is_refused(kind):
    async def main() -> None:
        text = await refused(CLIENT, SCHEDULER, expect="scheduler/other")
        assert "scheduler/other" in text
        assert f"scheduler/{RUN}" in text

    run_on(kind, main())


def test_an_inherited_socket_whose_other_end_is_gone_is_no_link(kind):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        b.close()
        future = adopt(
            a, me=CLIENT, opens=True, expect=None, ear_for=lambda _: Listening(), loop=loop
        )
        with pytest.raises(ConnectionError, match="before the handshake"):
            await future

    run_on(kind, main())


def test_nobody_waiting_for_an_inherited_link_any_more_closes_it(kind):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = socket.socketpair()
        future = adopt(
            a, me=CLIENT, opens=True, expect=None, ear_for=lambda _: Listening(), loop=loop
        )
        await asyncio.sleep(0)
        future.cancel()
        b.settimeout(4)
        data = b"?"
        while data:
            data = await loop.run_in_executor(None, b.recv, 1 << 16)
        b.close()

    run_on(kind, main())


def test_who_gives_up_as_the_link_comes_about_is_told_nothing_of_it(kind):
    async def main() -> None:
        loop, ear, other = asyncio.get_running_loop(), Listening(), Listening()

        def cancel(link: Link) -> Listening:
            first.cancel()
            return ear

        a, b = socket.socketpair()
        first = adopt(a, me=CLIENT, opens=True, expect=None, ear_for=cancel, loop=loop)
        second = adopt(
            b, me=SCHEDULER, opens=False, expect=None, ear_for=lambda _: other, loop=loop
        )
        (await second).send([Beaten(1)])
        await until(lambda: other.ends)
        assert (ear.frames, ear.ends) == ([], [])
        assert first.cancelled()

    run_on(kind, main())


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_that_was_forked_lets_go_of_the_link(kind):
    async def main() -> None:
        ear = Listening()
        link, sock = await rude_peer(ear)
        ready, go = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:  # the child holds the link's descriptor until it forsakes it
            signal.alarm(8)
            link.forsake()
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        assert sock.fileno() >= 0
        link.send([Beaten(1)])  # the parent's link is as it was
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, sock.recv, 100)
        link.close()
        await until(lambda: ear.ends)
        assert await loop.run_in_executor(None, sock.recv, 100) == b""  # though the child lives
        os.write(go[1], b"x")
        os.waitpid(pid, 0)
        for number in (*ready, *go):
            os.close(number)
        sock.close()

    run_on(kind, main())
