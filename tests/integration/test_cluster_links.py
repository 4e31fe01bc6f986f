"""Links between machines and between users: TLS, strangers by the thousand, processes that die."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.unit.cluster.link_world import RUN, SCHEDULER, Listening, run_on, until
from treadle.cluster._authority import Authority
from treadle.cluster._dial import dial
from treadle.cluster._link import Ear, Link, this_party
from treadle.cluster._listener import Listener
from treadle.cluster._security import Identity
from treadle.errors import ConfigurationError, HandshakeRefused
from treadle.wire import (
    HANDSHAKE_BYTES,
    Beaten,
    Busy,
    Drain,
    GetData,
    Handshake,
    Holding,
    chunks,
    encode,
    frame,
)

WORKER = this_party("worker", "w", RUN)
DAY_S = 86_400.0

both_loops = pytest.mark.parametrize("kind", ["uvloop", "asyncio"])
only_root = pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")


class House:
    """A scheduler that listens on the loopback interface, and the authority of its run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(RUN)
        self.links: list[Link] = []
        self.ears: list[Listening] = []
        self.listener: Listener

    def accept(self, link: Link) -> Ear | str:
        self.links.append(link)
        self.ears.append(Listening())
        return self.ears[-1]

    def issue(self, role: str, id: str, *, lasts_s: float | None = None) -> Identity:
        path = str(self.folder / f"{role}-{id}.pem")
        return self.authority.issue(role, id, path, lasts_s=lasts_s)

    @property
    def address(self) -> str:
        (found,) = [each for each in self.listener.addresses if "127.0.0.1" in each]
        return found

    @property
    def where(self) -> tuple[str, int]:
        host, _, port = self.address.removeprefix("tls://").rpartition(":")
        return host, int(port)

    async def dial(self, identity: Identity | None, **options: object) -> tuple[Link, Listening]:
        ear = Listening()
        given = {"me": WORKER, "expect": f"scheduler/{RUN}", **options}
        link = await dial([self.address], ear=ear, identity=identity, **given)
        return link, ear

    def come(self) -> socket.socket:
        return socket.create_connection(self.where, timeout=4)


@asynccontextmanager
async def house(
    folder: Path,
    accept: Callable[[Link], Ear | str] | None = None,
    *,
    role: str = "scheduler",
    lasts_s: float | None = None,
    handshake_s: float = 5.0,
) -> AsyncIterator[House]:
    place = House(folder)
    identity = place.issue(role, RUN, lasts_s=lasts_s)
    me = SCHEDULER if role == "scheduler" else this_party(role, RUN, RUN)
    place.listener = Listener(me=me, accept=accept or place.accept, handshake_s=handshake_s)
    place.listener.listen_tls(identity, interface="lo")
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


async def refusal(place: House, identity: Identity | None, **options: object) -> str:
    """What who dials is told."""
    with pytest.raises((HandshakeRefused, ConnectionError)) as raised:
        await place.dial(identity, **options)
    return f"{raised.type.__name__}: {raised.value}"


# --- certificates --------------------------------------------------------------------------------


@both_loops
def test_who_holds_a_certificate_of_the_run_gets_a_link(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            link, ear = await place.dial(place.issue("worker", "w"))
            assert (link.peer, place.links[0].peer) == (f"scheduler/{RUN}", "worker/w")
            assert not link.same_machine
            assert link.pid == place.links[0].pid == 0
            link.send([Holding(())])
            place.links[0].send([Drain()])
            await until(lambda: ear.messages and place.ears[0].messages)
            assert (ear.messages, place.ears[0].messages) == ([Drain()], [Holding(())])
            data = os.urandom(3_000_001)
            gone: list[int] = []
            link.send_chunks(chunks(1, 0, memoryview(data)), lambda: gone.append(1))
            await until(lambda: sum(len(p[3]) for p in place.ears[0].pieces) == len(data))
            assert b"".join(piece[3] for piece in place.ears[0].pieces) == data
            await until(lambda: gone)
            link.close("enough")
            await until(lambda: ear.ends and place.ears[0].ends)
            assert place.ears[0].ends == ["the other side has closed the link"]
            assert place.listener.tally.strangers == 0

    run_on(kind, main())


@both_loops
def test_a_certificate_of_another_role_or_name_is_refused_in_words(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            text = await refusal(place, place.issue("client", "w"))
            assert text.startswith("HandshakeRefused: its certificate is that of 'client/w'")
            text = await refusal(place, place.issue("worker", "other"))
            assert "'worker/other', which is not 'worker/w'" in text
            assert place.listener.tally.strangers == 2
            assert place.links == []

    run_on(kind, main())


@both_loops
def test_a_block_has_one_certificate_for_all_its_workers(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            block = place.issue("worker", "block-3")
            for id in ("block-3", "block-3/node-1"):
                link, ear = await place.dial(block, me=this_party("worker", id, RUN))
                assert place.links[-1].peer == f"worker/{id}"
                link.close()
                await until(lambda ear=ear: ear.ends)
            for id in ("block-30", "block-2/block-3"):
                assert "certificate" in await refusal(
                    place, block, me=this_party("worker", id, RUN)
                )

    run_on(kind, main())


@both_loops
def test_a_worker_s_certificate_is_good_for_the_clients_of_its_tasks_alone(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            worker = place.issue("worker", "block-3")
            for id in ("block-3/task-1-ab", "block-3/node-1/task-1-ab"):
                link, ear = await place.dial(worker, me=this_party("client", id, RUN))
                assert place.links[-1].peer == f"client/{id}"
                link.close()
                await until(lambda ear=ear: ear.ends)
            for id in ("block-3", "block-30/task-1-ab", "client/me", "me", "x/block-3/task-1-ab"):
                text = await refusal(place, worker, me=this_party("client", id, RUN))
                assert "its certificate is that of 'worker/block-3'" in text
            client = place.issue("client", "block-3")
            me = this_party("worker", "block-3/task-1-ab", RUN)
            assert "'client/block-3', which is not" in await refusal(place, client, me=me)

    run_on(kind, main())


@both_loops
def test_who_is_not_the_one_that_was_dialled_is_not_spoken_to(kind, tmp_path):
    async def main() -> None:
        said: list[Link] = []

        def accept(link: Link) -> Ear:
            said.append(link)
            return Listening()

        async with house(tmp_path, accept, role="worker") as place:
            # A worker that pretends to be the scheduler: it has no certificate for that.
            text = await refusal(place, place.issue("worker", "w"))
            assert text.startswith("ConnectionError")
            assert f"'worker/{RUN}', which is not 'scheduler/{RUN}'" in text
            assert said == []

    run_on(kind, main())


@both_loops
def test_another_authority_is_trusted_on_neither_side(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            stranger = Authority(RUN).issue("worker", "w", str(tmp_path / "stranger.pem"))
            text = await refusal(place, stranger)
            assert text.startswith("ConnectionError")
            assert "certificate" in text
            # One that trusts our scheduler, but shows a certificate of its own making.
            own, ours = (
                Path(identity.path).read_text().split("-----END CERTIFICATE-----\n")
                for identity in (stranger, place.issue("worker", "w"))
            )
            mixed = tmp_path / "mixed.pem"
            mixed.touch(mode=0o600)
            mixed.write_text("-----END CERTIFICATE-----\n".join([own[0], ours[1], ""]))
            text = await refusal(place, Identity.read(str(mixed)))
            assert text.startswith("HandshakeRefused: the other side does not take this certific")
            await until(lambda: place.listener.tally.strangers == 2)
            assert place.links == []

    run_on(kind, main())


@both_loops
def test_a_credential_that_has_expired_is_refused_on_either_side(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            text = await refusal(place, place.issue("worker", "w", lasts_s=-DAY_S - 1))
            assert text.startswith("HandshakeRefused")
            assert "expired" in text
            assert place.links == []
        async with house(tmp_path, lasts_s=-DAY_S - 1) as place:
            text = await refusal(place, place.issue("worker", "w"))
            assert text.startswith("ConnectionError")
            assert "expired" in text

    run_on(kind, main())


@both_loops
def test_a_credential_that_was_revoked_is_refused_in_words(kind, tmp_path):
    async def main() -> None:
        def accept(link: Link) -> str:
            return f"the block of {link.peer} has been cancelled"

        async with house(tmp_path, accept) as place:
            text = await refusal(place, place.issue("worker", "w"))
            assert text == "HandshakeRefused: the block of worker/w has been cancelled"

    run_on(kind, main())


@both_loops
def test_another_run_is_refused_though_its_certificate_is_good(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            me = this_party("worker", "w", "r2")
            assert "run" in await refusal(place, place.issue("worker", "w"), me=me)
            place.authority.run = "r2"
            assert "is of run 'r2', not of 'r1'" in await refusal(place, place.issue("worker", "w"))

    run_on(kind, main())


def test_without_a_credential_no_other_machine_is_spoken_to(tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            assert "a credential is needed" in await refusal(place, None)

    run_on("uvloop", main())


# --- strangers -----------------------------------------------------------------------------------


def tls_without_certificate(sock: socket.socket) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(sock) as secure:
            secure.sendall(Handshake(WORKER, opens=True).hello())
            assert secure.recv(100) == b""
    except (ssl.SSLError, ConnectionError):
        pass


def talk(*said: bytes) -> Callable[[socket.socket], None]:
    def speak(sock: socket.socket) -> None:
        try:
            for each in said:
                sock.sendall(each)
            while sock.recv(1 << 16):
                pass
        except ConnectionError:
            pass

    return speak


STRANGERS = {
    "no certificate": tls_without_certificate,
    "http": talk(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
    "a peer without TLS": talk(Handshake(WORKER, opens=True).hello()),
    "zeros": talk(bytes(1 << 20)),
    "an endless TLS handshake": talk(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff", bytes(1 << 20)),
}


@both_loops
@pytest.mark.parametrize("speak", STRANGERS.values(), ids=STRANGERS)
def test_a_stranger_on_the_network_is_hung_up_on_and_counted(kind, speak, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            await asyncio.get_running_loop().run_in_executor(None, speak, sock)
            sock.close()
            await until(lambda: place.listener.tally.strangers == 1)
            assert place.links == []
            link, ear = await place.dial(place.issue("worker", "w"))
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


@both_loops
def test_an_older_tls_is_not_spoken_though_the_certificate_is_good(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            identity = place.issue("worker", "w")
            context = identity.context(listens=False)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            text = await refusal(place, identity)
            assert "protocol version" in text
            await until(lambda: place.listener.tally.strangers == 1)
            assert place.links == []

    run_on(kind, main())


@both_loops
def test_who_says_nothing_is_hung_up_on_in_time(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path, handshake_s=0.1) as place:
            sock = place.come()
            assert await hung_up(sock) == b""
            await until(lambda: place.listener.tally.strangers == 1)

    run_on(kind, main())


@both_loops
def test_no_more_than_16_kib_of_a_stranger_are_taken_on_a_network_either(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            sock = place.come()
            # A record of a TLS handshake that never ends: no byte of it is wrong.
            hello = b"\x01" + (1 << 16).to_bytes(3, "big")
            record = b"\x16\x03\x01" + (16_000).to_bytes(2, "big") + hello.ljust(16_000, b"\0")
            sock.sendall(record)
            sock.sendall(record[: HANDSHAKE_BYTES - len(record) + 1])
            assert len(await hung_up(sock)) < 100  # an alert at most
            await until(lambda: place.listener.tally.strangers == 1)

    run_on(kind, main())


@pytest.mark.timeout(60)
@both_loops
def test_a_thousand_idle_strangers_do_not_keep_peers_out(kind, tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4_096:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4_096), hard))

    async def main() -> None:
        async with house(tmp_path, handshake_s=30) as place:
            idle = []
            for number in range(1_000):
                idle.append(place.come())
                if number % 100 == 99:
                    await until(lambda number=number: place.listener.strangers == number + 1)
            assert place.listener.strangers == 1_000
            link, ear = await place.dial(place.issue("worker", "w"))
            assert place.listener.strangers <= 1_000
            link.send([Holding(())])
            await until(lambda: place.ears[0].messages)
            link.close()
            await until(lambda: ear.ends)
            for sock in idle:
                sock.close()

    try:
        run_on(kind, main(), timeout_s=50)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@both_loops
def test_bytes_that_were_recorded_open_no_link_when_they_are_sent_again(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            recorded: list[bytes] = []

            async def relay(reader, writer, keep):
                while data := await reader.read(1 << 16):
                    if keep:
                        recorded.append(data)
                    writer.write(data)
                writer.close()

            async def proxy(reader, writer):
                to_reader, to_writer = await asyncio.open_connection(*place.where)
                await asyncio.gather(
                    relay(reader, to_writer, True),
                    relay(to_reader, writer, False),
                    return_exceptions=True,
                )

            server = await asyncio.start_server(proxy, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            ear = Listening()
            link = await dial(
                [f"tls://127.0.0.1:{port}"],
                me=WORKER,
                expect=None,
                ear=ear,
                identity=place.issue("worker", "w"),
            )
            link.send([Holding(())])
            await until(lambda: place.ears[0].messages)
            link.close()
            await until(lambda: ear.ends and place.ears[0].ends)
            server.close()
            sock = place.come()
            speak = talk(*recorded)
            await asyncio.get_running_loop().run_in_executor(None, speak, sock)
            sock.close()
            await until(lambda: place.listener.tally.strangers == 1)
            assert len(place.links) == 1

    run_on(kind, main())


@both_loops
def test_what_was_changed_on_its_way_ends_the_link(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            change = False

            async def relay(reader, writer, changes):
                while data := await reader.read(1 << 16):
                    if changes and change:
                        data = data[:-1] + bytes([data[-1] ^ 1])
                    writer.write(data)
                writer.close()

            async def proxy(reader, writer):
                to_reader, to_writer = await asyncio.open_connection(*place.where)
                await asyncio.gather(
                    relay(reader, to_writer, True),
                    relay(to_reader, writer, False),
                    return_exceptions=True,
                )

            server = await asyncio.start_server(proxy, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            ear = Listening()
            link = await dial(
                [f"tls://127.0.0.1:{port}"],
                me=WORKER,
                expect=None,
                ear=ear,
                identity=place.issue("worker", "w"),
            )
            change = True
            link.send([Holding(())])
            await until(lambda: place.ears[0].ends and ear.ends)
            assert "TLS" in place.ears[0].ends[0]
            assert place.ears[0].messages == []
            assert place.listener.tally.malformed_links == 1
            server.close()

    run_on(kind, main())


# --- addresses and ports -------------------------------------------------------------------------


@both_loops
def test_of_many_addresses_those_that_lead_nowhere_cost_nothing(kind, tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            closed = socket.create_server(("127.0.0.1", 0))
            port = closed.getsockname()[1]
            closed.close()
            ear = Listening()
            link = await dial(
                [
                    f"tls://127.0.0.1:{port}",
                    "unix:/nonexistent",
                    "tls://192.0.2.77:4",  # set aside for examples: nobody answers there
                    "tls://no-such-name.invalid:5",
                    *place.listener.addresses,
                ],
                me=WORKER,
                expect=f"scheduler/{RUN}",
                ear=ear,
                identity=place.issue("worker", "w"),
            )
            assert len(place.links) == 1
            link.close()
            await until(lambda: ear.ends)

    run_on(kind, main())


def test_a_port_of_the_range_is_taken_and_one_that_is_not_free_is_an_error(tmp_path):
    async def main() -> None:
        async with house(tmp_path) as place:
            port = place.where[1]
            other = Listener(me=SCHEDULER, accept=lambda _: "no")
            identity = place.issue("scheduler", RUN)
            with pytest.raises(ConfigurationError, match=rf"{port}: Address already in use"):
                other.listen_tls(identity, interface="lo", ports=(port, port))
            names = other.listen_tls(identity, interface="lo", hosts=["gate.example"])
            assert names == other.addresses
            assert names[0].startswith("tls://gate.example:")
            other.close()

    run_on("uvloop", main())


def test_workers_speak_to_each_other_alone_what_workers_may_say(tmp_path):
    async def main() -> None:
        async with house(tmp_path, role="worker") as place:
            link, ear = await place.dial(
                place.issue("worker", "w"), expect=f"worker/{RUN}", me=WORKER
            )
            link.send([GetData(1, ())])
            await until(lambda: place.ears[0].messages == [GetData(1, ())])
            place.links[0].send([Busy(1)])
            await until(lambda: ear.messages == [Busy(1)])
            link.send([Holding(())])  # that is for the scheduler's ears
            await until(lambda: place.ears[0].ends and ear.ends)
            assert place.ears[0].messages == [GetData(1, ())]
            assert place.listener.tally.malformed_links == 1

    run_on("uvloop", main())


# --- credentials ---------------------------------------------------------------------------------


def test_a_credential_is_for_its_owner_alone_and_says_nothing_of_itself(tmp_path, caplog):
    authority = Authority(RUN)
    before = os.umask(0)
    try:
        identity = authority.issue("worker", "w", str(tmp_path / "c.pem"))
    finally:
        os.umask(before)
    assert os.stat(identity.path).st_mode & 0o777 == 0o600
    key = (tmp_path / "c.pem").read_text().splitlines()[1]
    assert "PRIVATE" not in repr(identity)
    assert key not in repr(vars(identity))
    assert key not in caplog.text
    os.chmod(identity.path, 0o640)
    with pytest.raises(ConfigurationError, match="mode 0640.*chmod 600"):
        Identity.read(identity.path)


@pytest.mark.parametrize("kept", ["", "key", "no key", "damaged", "not its key"])
def test_what_is_no_credential_is_a_clear_error(kept, tmp_path):
    authority = Authority(RUN)
    whole = Path(authority.issue("worker", "w", str(tmp_path / "w.pem")).path).read_text()
    other = Path(authority.issue("worker", "v", str(tmp_path / "v.pem")).path).read_text()
    end = "-----END PRIVATE KEY-----\n"
    text = {
        "": "",
        "key": whole.partition(end)[0] + end,
        "no key": whole.partition(end)[2],
        "damaged": whole.replace(whole.splitlines()[8], "A" * 64),
        "not its key": other.partition(end)[0] + end + whole.partition(end)[2],
    }[kept]
    path = tmp_path / "c.pem"
    path.touch(mode=0o600)
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="credential"):
        Identity.read(str(path)).context(listens=False)


# --- processes -----------------------------------------------------------------------------------

PEER = """
import asyncio, os, signal, sys
from treadle.cluster._dial import dial
from treadle.cluster._link import this_party

class Ear:
    def heard(self, link, messages): pass
    def chunk(self, link, chunk): pass
    def lost(self, link, why): print(why, flush=True)

async def main():
    if len(sys.argv) > 2:
        os.setuid(int(sys.argv[2]))
    link = await dial([sys.argv[1]], me=this_party("worker", "w", "r1"), expect=None, ear=Ear())
    await asyncio.sleep(60)

try:
    asyncio.run(main())
except Exception as error:
    print(f"{type(error).__name__}: {error}", flush=True)
"""


@asynccontextmanager
async def local_house(folder: Path) -> AsyncIterator[House]:
    place = House(folder)
    place.listener = Listener(me=SCHEDULER, accept=place.accept)
    place.listener.listen_unix(str(folder / "s"))
    try:
        yield place
    finally:
        place.listener.close()
        for link in place.links:
            link.close()
        await until(lambda: all(ear.ends for ear in place.ears))


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def start_peer(place: House, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PEER, place.listener.addresses[0], *more],
        stdout=subprocess.PIPE,
        text=True,
    )


@both_loops
def test_a_peer_that_is_killed_is_lost_at_once(kind, tmp_path):
    async def main() -> None:
        async with local_house(tmp_path) as place:
            with start_peer(place) as peer:
                await until(lambda: place.links)
                assert place.links[0].pid == peer.pid
                peer.kill()
                await until(lambda: place.ears[0].ends, timeout_s=2)
                assert place.links[0].closed

    run_on(kind, main())


@both_loops
def test_a_peer_that_is_stopped_takes_up_no_more_than_is_seen(kind, tmp_path):
    async def main() -> None:
        async with local_house(tmp_path) as place:
            with start_peer(place) as peer:
                await until(lambda: place.links)
                os.kill(peer.pid, signal.SIGSTOP)
                link = place.links[0]
                sent = 0
                while link.backlog < 1_000_000:
                    link.send([Beaten(number) for number in range(1_000)])
                    sent += 1
                    await asyncio.sleep(0)
                    assert sent < 10_000
                link.close("too slow")
                await until(lambda: place.ears[0].ends)
                assert place.ears[0].ends == ["too slow"]
                peer.kill()

    run_on(kind, main())


@only_root
@both_loops
def test_another_users_process_gets_nowhere(kind, open_folder):
    async def main() -> None:
        async with local_house(open_folder) as place:
            os.chmod(open_folder / "s", 0o777)  # the file system would let it in
            with start_peer(place, "65534") as peer:
                loop = asyncio.get_running_loop()
                assert peer.stdout is not None
                said = await loop.run_in_executor(None, peer.stdout.readline)
                # It would not speak with another user's process either.
                assert "ConnectionError" in said
                await until(lambda: place.listener.tally.strangers == 1)
                assert place.links == []

    run_on(kind, main())


@only_root
def test_another_users_process_without_manners_gets_nowhere_either(open_folder):
    program = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX)\n"
        "s.connect(sys.argv[1]); s.settimeout(4)\n"
        "try: s.sendall(bytes.fromhex(sys.argv[2])); print(s.recv(100))\n"
        "except ConnectionError: print(b'')"
    )

    async def main() -> None:
        async with local_house(open_folder) as place:
            os.chmod(open_folder / "s", 0o777)
            hello = Handshake(WORKER, opens=True).hello() + frame(encode([Holding(())]))
            command = [sys.executable, "-c", program, str(open_folder / "s"), hello.hex()]
            done = await asyncio.get_running_loop().run_in_executor(
                None, lambda: subprocess.run(command, capture_output=True, text=True, check=True)
            )
            assert done.stdout.strip() == "b''"
            assert place.links == []
            assert place.listener.tally.strangers == 1

    run_on("uvloop", main())
