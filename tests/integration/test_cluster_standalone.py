"""`treadle scheduler` and `treadle worker`: processes that find each other by a connection file."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from tests.integration.node_client import NodeClient, Ref, family_of, wait_gone
from tests.integration.test_cluster_node import double, ids, shout, sleep
from treadle import wire
from treadle.cluster._connection import read_connection, write_connection
from treadle.cluster._security import Identity
from treadle.errors import HandshakeRefused

pytestmark = pytest.mark.timeout(90)


class Programs:
    """Processes of the command line, ended when the test is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "run.json"
        self.all: list[subprocess.Popen[bytes]] = []
        self.logs: list[Path] = []

    def start(self, command: str, *arguments: str) -> subprocess.Popen[bytes]:
        log = self.folder / f"{command}-{len(self.all)}.log"
        with open(log, "wb") as output:
            program = subprocess.Popen(
                [sys.executable, "-m", "treadle", command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self.all.append(program)
        self.logs.append(log)
        return program

    def scheduler(self, *arguments: str) -> subprocess.Popen[bytes]:
        program = self.start(
            "scheduler", "--run", "a-run", "--connection-file", str(self.file), *arguments
        )
        deadline = time.monotonic() + 20
        while not self.file.exists():
            assert program.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return program

    def worker(self, *arguments: str, file: Path | None = None) -> subprocess.Popen[bytes]:
        return self.start(
            "worker", "--connection-file", str(file or self.file), "--slots", "1", *arguments
        )

    def addresses(self, kind: str) -> list[str]:
        connection = read_connection(str(self.file))
        return [a for a in connection.addresses if a.startswith(kind)]

    def over_network_alone(self) -> Path:
        """A connection file as another machine would use it: the socket is not there."""
        connection = read_connection(str(self.file))
        path = self.folder / "elsewhere.json"
        write_connection(str(path), replace(connection, addresses=tuple(self.addresses("tls:"))))
        return path

    def end(self) -> None:
        for program in self.all:
            program.kill()
            program.wait()
        for log in self.logs:
            print(log.name, log.read_text(), sep="\n")


@pytest.fixture
def programs(tmp_path):
    programs = Programs(tmp_path)
    yield programs
    programs.end()


@pytest.fixture
def client(programs):
    made = []

    def make(kind="unix:", name="client/one", session=7, identity=None):
        client = NodeClient(name, session)
        made.append(client)
        return client.dial(programs.addresses(kind), identity)

    yield make
    for client in made:
        client.close()


def test_a_worker_and_a_client_meet_at_a_scheduler(programs, client):
    programs.scheduler()
    programs.worker()
    one = client()
    assert one.value_of(one.submit(double, 21)) == 42


def test_over_a_network_both_prove_who_they_are(programs, client):
    programs.scheduler("--tls", "--address", "127.0.0.1")
    credential = ("--credential", f"{programs.file}.worker.pem")
    programs.worker("--address", "127.0.0.1", *credential, file=programs.over_network_alone())
    one = client("tls:", identity=Identity.read(f"{programs.file}.client.pem"))
    assert one.value_of(one.submit(double, 21)) == 42


def test_a_block_has_a_credential_of_its_own_until_it_ends(programs, client, tmp_path):
    programs.scheduler("--tls", "--address", "127.0.0.1")
    one = client("tls:", identity=Identity.read(f"{programs.file}.client.pem"))
    one.link.send([wire.Issue(1, "block-7")])
    one.wait(lambda: one.got(wire.Issued))
    path = tmp_path / "block-7.pem"
    path.touch(0o600)
    path.write_bytes(one.got(wire.Issued)[0].credential)
    arguments = ("--address", "127.0.0.1", "--credential", str(path))
    elsewhere = programs.over_network_alone()
    worker = programs.worker("--block", "block-7", *arguments, file=elsewhere)
    assert one.value_of(one.submit(double, 1)) == 2
    one.say(wire.Revoke("block-7"))
    assert worker.wait(30) == 77
    other = programs.worker("--block", "block-8", *arguments, file=elsewhere)
    assert other.wait(30) != 0


def test_a_client_cannot_pass_for_a_worker_nor_without_a_credential(programs, client):
    programs.scheduler("--tls", "--address", "127.0.0.1")
    identity = Identity.read(f"{programs.file}.worker.pem")
    with pytest.raises((HandshakeRefused, ConnectionError)):
        client("tls:", identity=identity)
    with pytest.raises(ConnectionError, match="credential"):
        client("tls:", name="client/two")


def test_two_workers_pass_results_to_each_other(programs, client):
    programs.scheduler()
    first, second = programs.worker("--id", "first"), programs.worker("--id", "second")
    one = client()
    made = one.submit(double, 4, workers=("first",))
    assert one.value_of(one.submit(double, Ref(made), workers=("second",))) == 16
    assert (first.poll(), second.poll()) == (None, None)


def test_a_worker_told_to_end_lets_what_runs_end(programs, client, tmp_path):
    programs.scheduler()
    worker = programs.worker()
    one = client()
    number = one.submit(sleep, 1.0)
    one.wait(lambda: started(one, number))
    worker.send_signal(signal.SIGTERM)
    assert one.value_of(number) == 1.0
    one.say(wire.Release((wire.task_id(7, number),)))  # else it stays as long as it may, for that
    assert worker.wait(20) == 0


def started(client, number):
    """Ask until the task runs."""
    client.link.send([wire.Explain(1, wire.task_id(7, number))])
    return any("runs on worker" in str(reply.value) for reply in client.got(wire.Reply))


def test_a_worker_that_is_killed_is_gone_at_once_and_its_task_runs_elsewhere(programs, client):
    programs.scheduler()
    victim = programs.worker("--id", "victim")
    one = client()
    one.value_of(one.submit(ids))
    family = family_of(victim.pid)
    number = one.submit(sleep, 1.5)
    one.wait(lambda: started(one, number))
    began = time.monotonic()
    victim.kill()
    assert wait_gone(family) == []
    programs.worker("--id", "heir")
    assert one.value_of(number) == 1.5
    assert time.monotonic() - began < 10, "its lease of 12 s was waited for"


def test_a_scheduler_that_is_killed_ends_its_workers_and_is_told_to_clients(programs, client):
    scheduler = programs.scheduler()
    worker = programs.worker("--orphan", "0.5")
    one = client()
    one.value_of(one.submit(double, 1))
    family = family_of(worker.pid)
    scheduler.kill()
    one.wait_lost()
    assert worker.wait(20) == 75
    assert wait_gone(family) == []


def test_a_scheduler_told_to_end_takes_its_workers_and_its_files_along(programs, client, tmp_path):
    scheduler = programs.scheduler("--tls", "--address", "127.0.0.1")
    worker = programs.worker()
    one = client()
    one.value_of(one.submit(double, 1))
    socket = Path(programs.addresses("unix:")[0].removeprefix("unix:"))
    scheduler.send_signal(signal.SIGTERM)
    assert scheduler.wait(20) == 128 + signal.SIGTERM
    assert worker.wait(20) == 0
    assert not socket.parent.exists()
    assert [path.name for path in tmp_path.iterdir() if path.suffix in (".json", ".pem")] == []


def test_a_scheduler_that_lingers_ends_when_nobody_has_come_for_so_long(programs):
    assert programs.scheduler("--linger", "0.3").wait(20) == 0


def test_a_scheduler_that_lingers_stays_for_its_clients_and_so_long_after_them(programs, client):
    scheduler = programs.scheduler("--linger", "1.5")
    one = client()
    for _ in range(8):
        one.do(asyncio.sleep(0.25))
        one.say(wire.ClientBeat(1))
    assert scheduler.poll() is None
    one.close()
    client(name="client/two", session=8)
    assert scheduler.poll() is None


def test_files_with_secrets_are_their_owners_alone(programs, tmp_path):
    programs.scheduler("--tls", "--address", "127.0.0.1")
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    secret = {name: mode for name, mode in modes.items() if name.startswith("run.json")}
    assert secret == dict.fromkeys(
        ["run.json", "run.json.client.pem", "run.json.worker.pem"], 0o600
    )


def test_logs_show_what_tasks_have_printed(programs, client, tmp_path):
    programs.scheduler()
    programs.worker("--log-dir", str(tmp_path / "runinfo"))
    one = client()
    one.end_of(one.submit(shout, "hello"))
    deadline = time.monotonic() + 10
    text = ""
    while "HELLO" not in text and time.monotonic() < deadline:
        done = subprocess.run(
            [sys.executable, "-m", "treadle", "logs", str(tmp_path / "runinfo"), "--task", "shout"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONUTF8": "1"},
        )
        text = done.stdout
    assert sorted(text.splitlines()) == [
        "==> shout 1, attempt 1, stderr <==",
        "==> shout 1, attempt 1, stdout <==",
        "HELLO",
        "hello",
    ]
