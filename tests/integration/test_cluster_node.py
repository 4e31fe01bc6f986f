"""Nodes: how they start, what they run, and that nothing outlives them or their owner."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from tests.integration.node_client import (
    RUN,
    SESSION,
    NodeClient,
    Ref,
    family_of,
    settings,
    wait_gone,
)
from treadle import wire
from treadle.cluster._spawn import spawn_node
from treadle.wire import task_id

pytestmark = pytest.mark.timeout(60)


def double(x):
    return 2 * x


def fail():
    raise ValueError("seven")


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def touch_then_sleep(path, seconds):
    Path(path).touch()
    time.sleep(seconds)
    return seconds


def ids():
    return os.getpid(), os.getppid(), os.getsid(0)


def shout(text):
    print(text)
    print(text.upper(), file=sys.stderr)


@pytest.fixture
def client(tmp_path):
    client = NodeClient().spawn(settings(tmp_path))
    yield client
    client.close()


def wait_for_file(path, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not appear"
        time.sleep(0.01)


def test_a_task_runs_in_a_slot_and_its_result_comes_back(client):
    assert client.value_of(client.submit(double, 21)) == 42


def test_a_result_is_the_next_tasks_argument(client):
    first = client.submit(double, 1)
    second = client.submit(double, Ref(first))
    third = client.submit(double, Ref(second))
    assert client.value_of(third) == 8


def test_an_exception_comes_back_as_one(client):
    end = client.end_of(client.submit(fail))
    assert isinstance(end, wire.Erred)
    assert (end.failure.kind, end.failure.type) == ("exception", "ValueError")


def test_tasks_run_in_processes_that_lead_sessions_of_their_own(client):
    slot, zygote, session = client.value_of(client.submit(ids))
    family = {process.pid for process in family_of(client.node.pid)}
    assert {slot, zygote} < family
    assert session == slot


def test_many_tasks_all_end_once(client):
    numbers = [client.submit(double, n) for n in range(500)]
    assert [client.value_of(number) for number in numbers] == [2 * n for n in range(500)]
    assert len(client.got(wire.Done)) == 500


def test_code_is_sent_once_and_named_by_its_digest(client):
    import cloudpickle

    from treadle.serialize import CallSpec, dumps, encode_spec
    from treadle.wire import Code, Submit, TaskSpec

    digest = bytes(16)
    client.link.send([Code(digest, "triple", cloudpickle.dumps(lambda x: 3 * x))])
    tasks = [
        TaskSpec(
            task_id(SESSION, 1000 + n), "triple", encode_spec(CallSpec(digest, dumps(((n,), {}))))
        )
        for n in range(20)
    ]
    client.link.send([Submit(tuple(tasks))])
    assert [client.value_of(1000 + n) for n in range(20)] == [3 * n for n in range(20)]


def test_what_a_task_prints_is_told_to_its_client(client):
    number = client.submit(shout, "hello")
    client.end_of(number)
    client.wait(lambda: len(client.got(wire.Printed)) >= 2)
    printed = {m.stream: (m.id, m.text) for m in client.got(wire.Printed)}
    id = task_id(SESSION, number)
    assert printed == {1: (id, "hello\n"), 2: (id, "HELLO\n")}


# --- how nodes end -----------------------------------------------------------------------------


def test_goodbye_ends_all_of_it_and_leaves_nothing(tmp_path):
    client = NodeClient().spawn(settings(tmp_path))
    client.value_of(client.submit(double, 1))
    family = family_of(client.node.pid)
    sockets = [c.laddr for c in family[0].net_connections("unix") if c.laddr]
    assert len(family) == 4
    assert client.close() == 0
    assert wait_gone(family) == []
    folders = [Path(path).parent for path in sockets if path.startswith("/")]
    assert folders
    assert not any(folder.exists() for folder in folders)


def test_a_link_that_just_ends_ends_the_node_though_tasks_run(tmp_path):
    client = NodeClient().spawn(settings(tmp_path))
    started = tmp_path / "started"
    client.submit(touch_then_sleep, str(started), 60)
    client.wait(lambda: started.exists() or client.link.send([wire.ClientBeat(1)]))
    family = family_of(client.node.pid)
    began = time.monotonic()
    client.link.close()
    client.wait_lost()
    assert wait_gone(family) == []
    assert time.monotonic() - began < 5
    assert client.close() == 0


OWNER = """
import os, sys, time
sys.path.insert(0, {root!r})
from pathlib import Path
from tests.integration.node_client import NodeClient, settings
from tests.integration.test_cluster_node import double, sleep
client = NodeClient().spawn(settings(Path({folder!r})))
assert client.value_of(client.submit(double, 1)) == 2
client.submit(sleep, 60)
{more}
print(client.node.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """A program with a node, and all that belongs to it."""
    started = []

    def start(more=""):
        root = str(Path(__file__).parents[2])
        source = textwrap.dedent(OWNER).format(root=root, folder=str(tmp_path), more=more)
        program = subprocess.Popen(
            [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True
        )
        started.append(program)
        pid = int(program.stdout.readline().split()[0])
        return program, family_of(pid)

    yield start
    for program in started:
        program.kill()
        program.wait()
        program.stdout.close()


def test_the_node_ends_when_its_owner_is_killed(owner):
    program, family = owner()
    program.kill()
    assert wait_gone(family) == []


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no process descriptors here")
def test_the_node_ends_with_its_owner_though_a_forked_child_keeps_the_link_open(owner):
    program, family = owner(
        more="child = os.fork()\nif not child: time.sleep(30); os._exit(0)\nprint(child, flush=True)"
    )
    child = psutil.Process(family[0].pid)  # the first line is the child's number
    (node,) = [p for p in psutil.Process(program.pid).children() if p.pid != child.pid]
    family = family_of(node.pid)
    program.kill()
    assert wait_gone(family) == []
    assert child.is_running()
    child.kill()


def test_a_node_that_is_killed_takes_its_slots_along_and_its_owner_is_told(client):
    client.value_of(client.submit(double, 1))
    client.submit(sleep, 60)
    family = family_of(client.node.pid)
    client.node.kill()
    client.wait_lost()
    assert client.node.wait(5) == -signal.SIGKILL
    assert wait_gone(family) == []


def test_a_zygote_that_is_killed_is_replaced_and_nobody_is_accused(client):
    _, zygote, _ = client.value_of(client.submit(ids))
    number = client.submit(sleep, 0.2)
    os.kill(zygote, signal.SIGKILL)
    assert client.value_of(number) == 0.2
    _, new, _ = client.value_of(client.submit(ids))
    assert new != zygote


def test_a_signal_lets_what_runs_end(client, tmp_path):
    started = tmp_path / "started"
    number = client.submit(touch_then_sleep, str(started), 0.5)
    client.do(client.loop.run_in_executor(None, wait_for_file, started))
    client.node.terminate()
    assert client.value_of(number) == 0.5
    client.wait_lost()
    assert client.node.wait(5) == 128 + signal.SIGTERM


def test_a_second_signal_does_not_wait(client, tmp_path):
    started = tmp_path / "started"
    client.submit(touch_then_sleep, str(started), 60)
    client.do(client.loop.run_in_executor(None, wait_for_file, started))
    family = family_of(client.node.pid)
    client.node.terminate()
    deadline = time.monotonic() + 10
    while client.node.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
        client.node.terminate()
    assert client.node.poll() == 128 + signal.SIGTERM
    assert wait_gone(family) == []


def test_the_log_says_why_a_node_could_not_start(tmp_path):
    file = str(tmp_path / "missing" / "connection.json")
    node = spawn_node(settings(tmp_path, connection_file=file))
    assert node.wait(10) == 70
    assert "it cannot start" in node.log_tail(1)
    assert file in node.log_tail(1)
    node.close()


def test_a_log_without_a_folder_can_be_read_too(tmp_path):
    file = str(tmp_path / "missing" / "connection.json")
    node = spawn_node(settings(tmp_path, log_dir="", connection_file=file))
    assert node.wait(10) == 70
    assert file in node.log_tail(1)
    node.close()
    assert list(tmp_path.glob("node.log")) == []


def test_a_stranger_at_the_owners_link_is_refused(tmp_path):
    from treadle.errors import HandshakeRefused

    node = spawn_node(settings(tmp_path))
    client = NodeClient("somebody else")
    from treadle.cluster._link import this_party

    me = this_party("client", client.name, RUN)
    with pytest.raises(HandshakeRefused, match="owner"):
        client.do(client._adopted(node.sock, me=me, opens=True, expect=None))
    assert node.wait(10) == 0
    node.close()
    client.close()


def test_nothing_secret_and_nothing_long_stands_on_the_command_line(client):
    command = psutil.Process(client.node.pid).cmdline()
    assert command[-5:-3] == ["node", "--settings-fd"]
    assert RUN not in " ".join(command)


def test_a_file_in_the_working_directory_is_no_module_of_the_engine(tmp_path, monkeypatch):
    (tmp_path / "asyncio.py").write_text("raise SystemExit('the wrong one')")
    (tmp_path / "msgspec.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    client = NodeClient().spawn(settings(tmp_path))
    assert client.value_of(client.submit(double, 2)) == 4
    client.close()


def four_kilobytes(n):
    return b"%4000d" % n


def test_a_client_that_does_not_read_costs_the_others_nothing(tmp_path):
    from treadle.cluster._connection import read_connection

    file = tmp_path / "connection.json"
    slow = NodeClient().spawn(settings(tmp_path, connection_file=str(file), validate=False))
    other = NodeClient("other", session=8).dial(read_connection(str(file)).addresses)
    many = 6_000  # more than its link holds
    numbers = [slow.submit(four_kilobytes, n) for n in range(many)]
    slow.say()
    last = other.submit(double, 1)  # behind all of these
    assert other.value_of(last, 30) == 2
    assert psutil.Process(slow.node.pid).memory_info().rss < 500e6
    assert len(slow.got(wire.Done)) < many
    assert [int(slow.value_of(n, 30)) for n in numbers] == list(range(many))
    other.close()
    slow.close()
