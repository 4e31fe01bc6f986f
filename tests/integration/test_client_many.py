"""Several clients of one cluster: where it is, what each wants, and what a lost link leaves."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

import treadle
from tests.integration.client_cases import add, begin_and_wait, inc, wait_for_file
from tests.integration.cluster_cases import until
from tests.integration.test_cluster_standalone import Programs
from treadle.client import Client
from treadle.errors import ConfigurationError, SchedulerLost
from treadle.executors import ClusterExecutor

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def programs(tmp_path):
    programs = Programs(tmp_path)
    yield programs
    programs.end()


def cut(client):
    """The link is lost; the process is not."""

    def abort():
        client._session.bond.link._transport.abort()

    client._session.engine.call_soon(abort)


# --- where it is ---------------------------------------------------------------------------------


def test_a_client_of_an_executor():
    executor = ClusterExecutor(slots=2)
    with pytest.raises(ConfigurationError, match="does not run"):
        Client(executor)
    with treadle.load(treadle.Config(executors=[executor])), Client(executor) as client:
        app = treadle.python_app(inc)
        assert (app(1).result(), client.submit(inc, 2).result(20)) == (2, 3)
        assert client.gather(client.map(add, range(10), range(10))) == list(range(0, 20, 2))
        assert app(5).result() == 6


def test_what_is_no_address_is_an_error_that_says_so(tmp_path):
    for address in ("tcp://host:8786", "host:8786"):
        with pytest.raises(ConfigurationError, match="without protection"):
            Client(address)
    with pytest.raises(ConfigurationError, match="ClusterExecutor, the path"):
        Client(5)
    with pytest.raises(ConfigurationError, match="slots="):
        Client(n_workers=2, threads_per_worker=4)


def test_over_a_network_with_a_credential(programs):
    programs.scheduler("--tls", "--address", "127.0.0.1")
    programs.worker()
    (address,) = programs.addresses("tls:")
    with pytest.raises(ConfigurationError, match="credential"):
        Client(address)
    credential = f"{programs.file}.client.pem"
    with Client(address, credential=credential) as client:
        assert client.submit(inc, 1).result(30) == 2
        with Client(programs.over_network_alone()) as other:
            assert other.gather(other.map(inc, range(100))) == list(range(1, 101))


def test_nobody_there_is_an_error_in_time(programs):
    scheduler = programs.scheduler()
    scheduler.kill()
    scheduler.wait()
    began = time.monotonic()
    with pytest.raises((SchedulerLost, TimeoutError)):
        Client(programs.file, timeout=5)
    assert time.monotonic() - began < 30


# --- each over what it wants ---------------------------------------------------------------------


def test_a_result_stays_while_one_of_its_clients_wants_it():
    with Client(slots=1) as one, Client(one.connection_file, set_as_default=False) as other:
        mine, theirs = one.submit(inc, 1, key="both"), other.submit(inc, 1, key="both")
        assert mine.result(20) == theirs.result(20) == 2
        del mine
        gc.collect()
        assert one.submit(inc, 2).result(20) == 3
        assert "both" in str(other.has_what())
        del theirs
        gc.collect()
        until(lambda: "both" not in str(one.has_what()))


def test_what_one_cancels_goes_on_for_the_other(tmp_path):
    with Client(slots=1) as one, Client(one.connection_file, set_as_default=False) as other:
        path = str(tmp_path / "go")
        mine, theirs = (c.submit(wait_for_file, path, 5, key="both") for c in (one, other))
        mine.cancel()
        (tmp_path / "go").touch()
        assert theirs.result(20) == 5
        assert mine.cancelled()


def test_a_client_that_goes_takes_its_tasks_along(tmp_path):
    with Client(slots=1) as one:
        guest = Client(one.connection_file, set_as_default=False)
        began = tmp_path / "began"
        future = guest.submit(begin_and_wait, str(began), str(tmp_path / "never"))
        until(began.exists)
        guest.close()
        assert one.submit(inc, 1).result(20) == 2
        with pytest.raises(SchedulerLost):
            future.result(5)


def test_a_client_whose_process_dies_leaves_nothing(tmp_path):
    script = """
        import sys, time
        from treadle.client import Client
        client = Client(sys.argv[1])
        kept = client.submit(bytes, 10, key="kept")
        kept.result(20)
        rows = client.map(time.sleep, [60] * 100)
        print("ready", flush=True)
        time.sleep(60)
    """
    with Client(slots=1) as one:
        other = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), one.connection_file],
            stdout=subprocess.PIPE,
        )
        assert other.stdout is not None
        with other.stdout:
            assert other.stdout.readline() == b"ready\n"
            other.kill()
            other.wait()
        assert one.submit(inc, 1).result(60) == 2
        until(lambda: "kept" not in str(one.has_what()), 40)


def test_many_clients_at_once(tmp_path):
    with Client(slots=2) as one:
        guests = [Client(one.connection_file, name=f"guest-{n}") for n in range(5)]
        maps = [guest.map(inc, range(n, n + 200)) for n, guest in enumerate(guests)]
        for n, (guest, rows) in enumerate(zip(guests, maps, strict=True)):
            assert guest.gather(rows) == list(range(n + 1, n + 201))
        assert Client.current() is guests[-1]
        with one.as_current():
            assert Client.current() is one
        for guest in guests:
            guest.close()
        assert Client.current() is one


# --- a lost link ---------------------------------------------------------------------------------


def test_a_lost_link_is_resumed_and_nothing_is_cancelled(programs, tmp_path):
    programs.scheduler()
    programs.worker()
    with Client(programs.file) as client:
        done = client.submit(inc, 1)
        assert done.result(30) == 2
        began, go = tmp_path / "began", tmp_path / "go"
        running = client.submit(begin_and_wait, str(began), str(go), "ran")
        rows = client.map(wait_for_file, [str(go)] * 20, range(20))
        until(began.exists)
        waiting = client.submit(str, running)
        for _ in range(3):
            link = client._session.bond.link
            cut(client)
            until(lambda was=link: client._session.bond.link not in (None, was))
            assert "runs" in client.explain(running) or "process" in client.explain(running)
        late = client.submit(inc, 5)
        go.touch()
        assert (running.result(30), waiting.result(30), late.result(30)) == ("ran", "ran", 6)
        assert client.gather(rows) == list(range(20))
        assert client.submit(inc, done).result(30) == 3


def test_what_ended_while_the_link_was_lost_is_told_afterwards(programs, tmp_path):
    programs.scheduler()
    programs.worker()
    with Client(programs.file) as client:
        began, go = tmp_path / "began", tmp_path / "go"
        running = client.submit(begin_and_wait, str(began), str(go), 7)
        until(began.exists)
        bond = client._session.bond
        bond.connect = lambda: None  # it stays away
        link = bond.link
        cut(client)
        until(lambda: bond.link is None)
        go.touch()
        asked = client.submit(inc, running)  # while there is no link
        del bond.connect
        client._session.call(bond.connect)
        until(lambda: bond.link not in (None, link))
        assert (running.result(30), asked.result(30)) == (7, 8)


def test_what_is_let_go_of_without_a_link_is_let_go_of(programs):
    programs.scheduler()
    programs.worker()
    with Client(programs.file) as client, Client(programs.file, set_as_default=False) as other:
        future = client.submit(inc, 1, key="mine")
        assert future.result(30) == 2
        cut(client)
        del future
        gc.collect()
        until(lambda: "mine" not in str(other.has_what()))


def test_a_connection_file_says_where_it_is(programs):
    programs.scheduler()
    programs.worker()
    assert json.loads(programs.file.read_text())["addresses"]
    with Client(str(programs.file)) as client:
        assert client.submit(os.getpid).result(30) != os.getpid()
        assert client.connection_file is None
