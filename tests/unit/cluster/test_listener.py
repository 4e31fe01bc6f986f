"""Taking links on one machine: who is let in, who is turned away, and what strangers can hold up."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import stat
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.unit.cluster.link_world import (
    CLIENT,
    RUN,
    SCHEDULER,
    Listening,
    run_on,
    shaken,
    until,
)
from treadle.cluster._dial import dial
from treadle.cluster._link import Ear, Link, this_party
from treadle.cluster._listener import Listener
from treadle.errors import ConfigurationError, HandshakeRefused
from treadle.wire import HANDSHAKE_BYTES, Beaten, ClientBeat, Handshake, Kind, encode, frame, header

pytestmark = pytest.mark.parametrize("kind", ["uvloop", "asyncio"])


class House:
    """A listener that lets everybody in, and what it has let in."""

    def __init__(self, path: Path) -> None:
        self.path = str(path / "s")
        self.links: list[Link] = []
        self.ears: list[Listening] = []
        self.listener: Listener

    def accept(self, link: Link) -> Ear | str:
        self.links.append(link)
        self.ears.append(Listening())
        return self.ears[-1]

    def come(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(4)
        sock.connect(self.path)
        return sock


@asynccontextmanager
async def house(
    path: Path,
    accept: Callable[[Link], Ear | str] | None = None,
    *,
    handshake_s: float = 30.0,
    strangers: int = 1_000,
) -> AsyncIterator[House]:
    place = House(path)
    place.listener = Listener(
        me=SCHEDULER,
        accept=accept or place.accept,
        handshake_s=handshake_s,
        strangers=strangers,
    )
    assert place.listener.listen_unix(place.path) == f"unix:{place.path}"
    try:
        yield place
    finally:
        place.listener.close()
        for link in place.links:
            link.close()
        await until(lambda: all(ear.ends for ear in place.ears))


async def hung_up(sock: socket.socket) -> bytes:
    """All that the other side says until it hangs up."""
    loop = asyncio.get_running_loop()
    said = b""
    while True:
        try:
            data = await loop.run_in_executor(None, sock.recv, 1 << 16)
        except ConnectionResetError:
            data = b""
        if not data:
            sock.close()
            return said
        said += data


async def dialled(place: House) -> tuple[Link, Listening]:
    ear = Listening()
    link = await dial(place.listener.addresses, me=CLIENT, expect=f"scheduler/{RUN}", ear=ear)
    return link, ear


def test_who_dials_gets_a_link_to_who_listens(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            link, ear = await dialled(place)
            assert (link.peer, link.party) == (f"scheduler/{RUN}", SCHEDULER)
            assert stat.S_IMODE(os.stat(place.path).st_mode) == 0o600
            assert link.same_machine
            assert link.pid == place.links[0].pid == os.getpid()
            link.send([ClientBeat(1)])
            await until(lambda: place.ears[0].messages)
            place.links[0].send([Beaten(1)])
            await until(lambda: ear.messages == [Beaten(1)])
            assert place.listener.strangers == 0
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


def test_a_link_outlives_the_listener_it_came_by(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            link, ear = await dialled(place)
            place.listener.close()
            assert not os.path.exists(place.path)
            assert place.listener.addresses == []
            link.send([ClientBeat(1)])
            await until(lambda: place.ears[0].messages)
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


def test_a_refusal_reaches_who_dials_in_words(kind, tmp_path):
    async def main() -> None:
        refused: list[Link] = []

        def accept(link: Link) -> str:
            refused.append(link)
            return "this scheduler is about to end; start another"

        async with house(tmp_path, accept) as place:
            with pytest.raises(HandshakeRefused, match="about to end; start another"):
                await dialled(place)
            assert place.listener.tally.strangers == 1
            assert refused[0].peer == "client/ann"
            refused[0].send([Beaten(1)])  # nothing comes of it

    run_on(kind, main())


def test_a_fault_of_who_decides_is_a_refusal(kind, tmp_path):
    async def main() -> None:
        def accept(link: Link) -> str:
            raise KeyError(link.peer)

        faults: list[object] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: faults.append(context["exception"])
        )
        async with house(tmp_path, accept) as place:
            with pytest.raises(HandshakeRefused, match="fault"):
                await dialled(place)
            assert len(faults) == 1

    run_on(kind, main())


def test_who_is_let_in_may_be_spoken_to_at_once_behind_the_welcome(kind, tmp_path):
    async def main() -> None:
        def accept(link: Link) -> Ear:
            link.send([Beaten(7)])
            return place.accept(link)  # type: ignore[return-value]

        async with house(tmp_path, accept) as place:
            link, ear = await dialled(place)
            await until(lambda: ear.messages == [Beaten(7)])
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


def test_what_a_peer_says_behind_its_hello_is_not_looked_into_before_it_is_welcome(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            sock.sendall(Handshake(CLIENT, opens=True).hello() + frame(encode([ClientBeat(3)])))
            await until(lambda: place.ears and place.ears[0].messages == [ClientBeat(3)])
            sock.close()

    run_on(kind, main())


# --- strangers -----------------------------------------------------------------------------------

GARBAGE = {
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(600),
    "zeros": bytes(100),
    "messages before the handshake": frame(encode([ClientBeat(1)])),
    "a handshake that cannot be read": frame(b"\xc1\xc1", Kind.handshake),
    "a handshake that is too large": header(HANDSHAKE_BYTES + 1, Kind.handshake),
    "a welcome": frame(encode([ClientBeat(1)]), Kind.handshake),
}


@pytest.mark.parametrize("said", GARBAGE.values(), ids=GARBAGE)
def test_who_sends_garbage_is_hung_up_on_and_counted(kind, said, tmp_path, caplog):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            sock.sendall(said)
            assert await hung_up(sock) == b""
            await until(lambda: place.listener.tally.strangers == 1)
            assert (place.links, place.listener.strangers) == ([], 0)
            link, ear = await dialled(place)  # and others come in as before
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())
    assert "turned away" in caplog.text


def test_a_line_of_the_log_stands_for_many_strangers(kind, tmp_path, caplog):
    async def main() -> None:
        async with house(tmp_path) as place:
            for _ in range(20):
                sock = place.come()
                sock.sendall(b"garbage!")
                await hung_up(sock)
            await until(lambda: place.listener.tally.strangers == 20)

    run_on(kind, main())
    assert len([r for r in caplog.records if "turned away" in r.message]) == 1


def test_who_leaves_without_a_word_is_no_news(kind, tmp_path, caplog):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            await until(lambda: place.listener.strangers == 1)
            sock.close()
            await until(lambda: place.listener.strangers == 0)
            assert place.listener.tally.strangers == 0

    run_on(kind, main())
    assert caplog.text == ""


@pytest.mark.parametrize("said", [b"", Handshake(CLIENT, opens=True).hello()[:-1]])
def test_who_does_not_end_the_handshake_in_time_is_hung_up_on(kind, said, tmp_path):
    async def main() -> None:
        async with house(tmp_path, handshake_s=0.05) as place:
            sock = place.come()
            sock.sendall(said)
            assert await hung_up(sock) == b""
            await until(lambda: place.listener.tally.strangers == 1)

    run_on(kind, main())


def test_no_more_than_16_kib_of_a_stranger_are_taken(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            sock.sendall(header(HANDSHAKE_BYTES, Kind.handshake) + bytes(HANDSHAKE_BYTES))
            await until(lambda: place.listener.tally.strangers == 1)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                sock.sendall(bytes(1 << 20))
            sock.close()

    run_on(kind, main())


def test_when_all_places_are_taken_peers_come_in_after_a_second_at_most(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path, strangers=5) as place:
            idle = [place.come() for _ in range(12)]
            await until(lambda: place.listener.strangers == 5)
            link, ear = await dialled(place)
            assert place.listener.strangers <= 5
            assert place.listener.tally.strangers >= 8
            link.close()
            await until(lambda: ear.ends)
            for sock in idle:
                sock.close()

    run_on(kind, main())


def test_many_peers_at_once_all_come_in_though_places_are_few(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path, strangers=3) as place:
            both = await asyncio.gather(*(dialled(place) for _ in range(40)))
            assert len(place.links) == 40
            assert place.listener.tally.strangers == 0
            for link, _ in both:
                link.close()
            await until(lambda: all(ear.ends for _, ear in both))

    run_on(kind, main())


def test_closing_hangs_up_on_strangers(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            await until(lambda: place.listener.strangers == 1)
            place.listener.close()
            assert await hung_up(sock) == b""
            assert place.listener.strangers == 0

    run_on(kind, main())


def test_another_users_process_is_hung_up_on(kind, tmp_path, monkeypatch):
    async def main() -> None:
        async with house(tmp_path) as place:
            monkeypatch.setattr("os.getuid", lambda: 12_345)
            sock = place.come()
            assert await hung_up(sock) == b""
            assert place.listener.tally.strangers == 1
            monkeypatch.undo()

    run_on(kind, main())


def test_a_listener_of_another_user_is_not_spoken_to(kind, tmp_path, monkeypatch):
    async def main() -> None:
        async with house(tmp_path) as place:
            monkeypatch.setattr("os.getuid", lambda: 12_345)
            with pytest.raises(ConnectionError, match="this side as 12345"):
                await dialled(place)
            monkeypatch.undo()

    run_on(kind, main())


def test_without_descriptors_it_waits_and_goes_on(kind, tmp_path):
    class Short:
        """A socket that cannot be taken from for a while."""

        def __init__(self, sock: socket.socket) -> None:
            self.sock, self.asked, self.until = sock, 0, time.monotonic() + 0.1
            self.fileno = sock.fileno
            self.close = sock.close

        def accept(self) -> tuple[socket.socket, object]:
            self.asked += 1
            if time.monotonic() < self.until:
                raise OSError(errno.EMFILE, "Too many open files")
            return self.sock.accept()

    async def main() -> None:
        async with house(tmp_path) as place:
            (door,) = place.listener._doors
            door.sock = short = Short(door.sock)  # type: ignore[assignment]
            link, ear = await dialled(place)
            assert short.asked < 10  # it has not spun meanwhile
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


# --- dialling ------------------------------------------------------------------------------------


def test_nobody_reached_is_an_error_that_names_each_address(kind, tmp_path):
    async def main() -> None:
        stale = tmp_path / "stale"
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(str(stale))
        sock.close()
        addresses = [f"unix:{tmp_path}/none", f"unix:{stale}", "tls://[::1]:9", "gopher:x"]
        with pytest.raises(ConnectionError) as raised:
            await dial(addresses, me=CLIENT, expect="scheduler/x", ear=Listening())
        text = str(raised.value)
        assert "scheduler/x" in text
        for address, reason in zip(
            addresses, ["no such file", "refused", "credential", "credential"], strict=True
        ):
            assert address in text
            assert reason in text[text.index(address) :]
        with pytest.raises(ConnectionError, match="no address of scheduler/x"):
            await dial([], me=CLIENT, expect="scheduler/x", ear=Listening())

    run_on(kind, main())


def test_who_takes_connections_but_never_answers_is_given_up(kind, tmp_path):
    async def main() -> None:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        with pytest.raises(ConnectionError, match=r"no answer within 0\.1 s"):
            await dial(
                [f"unix:{tmp_path}/deaf"],
                me=CLIENT,
                expect=None,
                ear=Listening(),
                timeout_s=0.1,
            )
        deaf.close()

    run_on(kind, main())


def test_of_several_addresses_the_one_that_answers_is_used(kind, tmp_path):
    async def main() -> None:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        async with house(tmp_path) as place:
            ear = Listening()
            link = await dial(
                [f"unix:{tmp_path}/deaf", f"unix:{tmp_path}/none", f"unix:{place.path}"],
                me=CLIENT,
                expect=None,
                ear=ear,
                timeout_s=0.5,
            )
            assert len(place.links) == 1
            link.close()
            await until(lambda: ear.ends)
        deaf.close()

    run_on(kind, main())


def test_of_two_ways_to_one_listener_it_sees_one(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            other = tmp_path / "other"
            other.symlink_to(place.path)
            ear = Listening()
            link = await dial(
                [f"unix:{other}", f"unix:{place.path}"], me=CLIENT, expect=None, ear=ear
            )
            link.send([ClientBeat(1)])
            await until(lambda: place.ears and place.ears[0].messages)
            assert len(place.links) == 1
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


def test_a_dial_that_is_cancelled_leaves_nothing_open(kind, tmp_path):
    async def main() -> None:
        deaf = socket.socket(socket.AF_UNIX)
        deaf.bind(str(tmp_path / "deaf"))
        deaf.listen()
        task = asyncio.create_task(
            dial([f"unix:{tmp_path}/deaf"], me=CLIENT, expect=None, ear=Listening())
        )
        loop = asyncio.get_running_loop()
        sock, _ = await loop.run_in_executor(None, deaf.accept)
        sock.settimeout(4)
        await loop.run_in_executor(None, sock.recv, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await hung_up(sock)
        deaf.close()

    run_on(kind, main())


def test_who_gives_up_as_the_link_comes_about_is_told_nothing_of_it(kind, tmp_path):
    async def main() -> None:
        ear = Listening()

        def accept(link: Link) -> Ear | str:
            task.cancel()
            return place.accept(link)

        async with house(tmp_path, accept) as place:
            task = asyncio.create_task(
                dial(place.listener.addresses, me=CLIENT, expect=None, ear=ear)
            )
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: place.ears[0].ends)
            assert ear.ends == []

    run_on(kind, main())


def test_no_socket_where_none_can_be_is_a_clear_error(kind, tmp_path):
    async def main() -> None:
        listener = Listener(me=SCHEDULER, accept=lambda _: "no")
        with pytest.raises(ConfigurationError, match=r"bytes long"):
            listener.listen_unix(str(tmp_path / ("x" * 120)))
        with pytest.raises(ConfigurationError, match="no such file"):
            listener.listen_unix(str(tmp_path / "none" / "s"))
        listener.close()

    run_on(kind, main())


def test_a_worker_with_another_minor_python_is_told_both_versions(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            worker = this_party("worker", "w", RUN)
            old = worker.__class__("worker", "w", RUN, worker.version, (3, 2))
            with pytest.raises(HandshakeRefused, match=r"runs Python 3\.2, the scheduler 3\."):
                await dial(place.listener.addresses, me=old, expect=None, ear=Listening())
            sock = place.come()
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(None, shaken, sock, worker)  # others go on
            sock.close()

    run_on(kind, main())
