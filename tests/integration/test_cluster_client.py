"""A client without a kernel: live processes on this machine."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from concurrent.futures import CancelledError, as_completed, wait

import numpy as np
import psutil
import pytest

import treadle
from tests.integration.cluster_cases import gone, until
from treadle.client import Client, ClientFuture
from treadle.errors import ConfigurationError, KeyConflict, SchedulerLost, TreadleError

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_process_is_left")]


@pytest.fixture
def client():
    with Client(slots=2) as client:
        yield client


def twice(x):
    return 2 * x


def add(*values, extra=0):
    return sum(values) + extra


def fail(text):
    raise ValueError(text)


def ones(count):
    return np.ones(count)


def keys_held(client):
    return [key for keys in client.has_what().values() for key in keys]


# --- submit --------------------------------------------------------------------------------------


def test_a_graph_of_futures(client):
    a = client.submit(twice, 1)
    b = client.submit(add, a, a, extra=a)
    assert b.result(20) == 6
    assert (a.status, b.status, a.type) == ("finished", "finished", "int")
    assert a.key.startswith("twice-")


def test_futures_inside_of_arguments_are_waited_for_too(client):
    parts = client.map(twice, range(4))
    assert client.submit(sum, parts).result(20) == 12
    assert client.submit(len, {"a": parts[0], "b": [parts[1]]}).result(20) == 2


def test_the_same_call_is_the_same_task_while_its_future_lives(client):
    a = client.submit(twice, 5)
    assert client.submit(twice, 5) is a
    assert client.submit(twice, 6) is not a
    assert client.submit(twice, 5, pure=False) is not a


def test_a_key_may_be_chosen(client):
    future = client.submit(twice, 5, key="five")
    assert (future.key, future.result(20)) == ("five", 10)
    assert client.submit(twice, 5, key="five") is future


def test_a_key_that_is_known_for_other_work_is_refused(client):
    with Client(client.connection_file) as other:
        first = client.submit(twice, 5, key="mine")
        assert first.result(20) == 10
        with pytest.raises(KeyConflict, match="choose another key"):
            other.submit(twice, 6, key="mine").result(20)


def test_errors_are_those_of_the_task(client):
    future = client.submit(fail, "no")
    dependent = client.submit(twice, future)
    assert repr(future.exception(20)) == "ValueError('no')"
    with pytest.raises(ValueError, match="no"):
        dependent.result(20)
    assert (future.status, dependent.status) == ("error", "error")


def test_a_task_is_tried_again(client, tmp_path):
    def second_time(path):
        if not path.exists():
            path.touch()
            raise OSError("not yet")
        return "there"

    assert client.submit(second_time, tmp_path / "x", retries=1).result(20) == "there"


def test_bad_options_are_errors_at_once(client):
    with pytest.raises(ValueError, match="allow_other_workers"):
        client.submit(twice, 1, allow_other_workers=True)
    with pytest.raises(ValueError, match="retries"):
        client.submit(twice, 1, retries=-1)
    with pytest.raises(ValueError, match="priority"):
        client.submit(twice, 1, priority=float("nan"))


def test_a_task_is_where_it_shall_be(client):
    (worker,) = client.has_what()
    assert client.submit(twice, 1, workers=worker).result(20) == 2
    lost = client.submit(twice, 2, workers="nowhere")
    until(lambda: "nowhere" in client.explain(lost))
    assert client.submit(
        twice, 3, workers="nowhere", allow_other_workers=True
    ).result(20) == 6  # fmt: skip
    lost.cancel()


# --- map, gather, scatter ------------------------------------------------------------------------


def test_map_and_gather(client):
    futures = client.map(add, range(200), range(200), extra=1)
    assert client.gather(futures) == [2 * n + 1 for n in range(200)]


def test_gather_keeps_the_shape(client):
    a, b = client.map(twice, [1, 2])
    nest = {"a": [a, (b, 7)], "s": {a}}
    assert client.gather(nest) == {"a": [2, (4, 7)], "s": {2}}
    assert list(client.gather(iter([a, b]))) == [2, 4]


def test_gather_may_leave_out_what_failed(client):
    futures = [client.submit(twice, 1), client.submit(fail, "x"), client.submit(twice, 2)]
    assert client.gather(futures, errors="skip") == [2, 4]
    with pytest.raises(ValueError, match="x"):
        client.gather(futures)
    with pytest.raises(ValueError, match="'raise' or 'skip'"):
        client.gather(futures, errors="ignore")


def test_scattered_data_is_used_where_it_is(client):
    array = np.arange(1_000_000)
    future = client.scatter(array)
    array[:] = 0
    assert client.submit(np.sum, future).result(20) == 499999500000
    assert client.who_has([future])[future.key] == list(client.has_what())
    assert future.result(20)[999_999] == 999_999


def test_containers_are_scattered_item_by_item(client):
    a, b = client.scatter([1, "two"])
    assert (a.result(20), b.result(20)) == (1, "two")
    named = client.scatter({"x": 5})
    assert client.submit(twice, named["x"]).result(20) == 10
    assert isinstance(client.scatter(5), ClientFuture)


def test_data_that_no_worker_can_take_is_an_error_in_time(client):
    with pytest.raises(TimeoutError):
        client.scatter(1, workers="nowhere", timeout=0.2)


def test_a_large_result_stays_until_it_is_asked_for(client):
    big = client.submit(ones, 5_000_000)
    assert client.submit(np.sum, big).result(20) == 5_000_000
    assert big.nbytes > 40_000_000
    assert big.result(20).sum() == 5_000_000


# --- letting go ----------------------------------------------------------------------------------


def test_a_result_is_let_go_of_with_its_last_future(client):
    futures = client.map(twice, range(50))
    wait(futures, timeout=20)
    until(lambda: keys_held(client) != [])  # rows that were told together are one object
    del futures
    gc.collect()
    until(lambda: keys_held(client) == [])


def test_what_others_need_stays_when_its_future_goes(client, tmp_path):
    def slowly(x):
        while not (tmp_path / "go").exists():
            time.sleep(0.01)
        return x

    first = client.submit(slowly, 4)
    second = client.submit(twice, first)
    del first
    gc.collect()
    (tmp_path / "go").touch()
    assert second.result(20) == 8


def test_a_running_task_is_cancelled_and_so_is_what_waits_for_it(client, tmp_path):
    def sleep(path):
        path.touch()
        time.sleep(60)

    running = client.submit(sleep, tmp_path / "began")
    waiting = client.submit(twice, running)
    until((tmp_path / "began").exists)
    running.cancel()
    assert running.status == "cancelled"
    with pytest.raises(CancelledError):
        waiting.result(10)
    assert client.submit(twice, 1).result(20) == 2
    again = client.submit(twice, 21)
    client.cancel([again, running])
    assert client.submit(add, 1, 2).result(20) == 3


# --- waiting -------------------------------------------------------------------------------------


def test_the_standard_library_can_wait_for_them(client):
    futures = client.map(twice, range(20))
    assert sorted(future.result() for future in as_completed(futures, timeout=20)) == [
        2 * n for n in range(20)
    ]


def test_they_can_be_awaited(client):
    async def main():
        big = client.submit(ones, 1_000_000)
        results = await asyncio.gather(*[_await(f) for f in client.map(twice, range(5))])
        return results, float((await big).sum())

    async def _await(future):
        return await future

    assert asyncio.run(main()) == ([0, 2, 4, 6, 8], 1_000_000.0)


def test_callbacks_are_called(client):
    heard = threading.Event()
    client.submit(twice, 1).add_done_callback(lambda future: heard.set())
    assert heard.wait(20)


def test_a_timeout_covers_all_of_it(client):
    with pytest.raises(TimeoutError):
        client.submit(time.sleep, 30).result(0.05)


# --- its life ------------------------------------------------------------------------------------


def test_questions(client):
    future = client.submit(twice, 1)
    future.result(20)
    assert any("memory" in line for line in client.story(future))
    assert "memory" in client.explain(future) or "result" in client.explain(future)
    assert client.who_has() == {future.key: list(client.has_what())}
    with pytest.raises(TreadleError, match="nobody"):
        client.has_what("nobody")


def test_two_clients_share_a_cluster_and_its_results(client):
    with Client(client.connection_file, name="guest") as guest:
        mine = client.submit(twice, 4, key="shared")
        theirs = guest.submit(twice, 4, key="shared")
        assert (mine.result(20), theirs.result(20)) == (8, 8)
        with pytest.raises(ValueError, match="another client"):
            guest.gather(mine)
        with pytest.raises(ValueError, match="another client"):
            guest.submit(twice, mine)
    assert client.submit(twice, 5).result(20) == 10


def test_a_directory_or_a_socket_will_do_for_an_address(client):
    directory = os.path.dirname(client.connection_file)
    for address in (directory, f"unix:{directory}/sched"):
        with Client(address) as guest:
            assert guest.submit(twice, 1).result(20) == 2


def test_its_end_leaves_nothing_and_says_so():
    before = psutil.Process().children(recursive=True)
    client = Client(slots=2)
    future = client.submit(time.sleep, 60)
    done = client.submit(twice, 1)
    assert done.result(20) == 2
    mine = [p for p in psutil.Process().children(recursive=True) if p not in before]
    assert len(mine) >= 3
    client.close()
    client.close()
    assert [process for process in mine if not gone(process)] == []
    with pytest.raises(SchedulerLost):
        future.result(5)
    assert done.result() == 2
    with pytest.raises(RuntimeError, match="closed"):
        client.submit(twice, 1)
    assert "closed" in repr(client)


def test_a_killed_scheduler_ends_all_futures(client):
    assert client.submit(twice, 1).result(20) == 2
    future = client.submit(time.sleep, 60)
    psutil.Process(client._session.home.process.pid).kill()
    with pytest.raises(SchedulerLost, match="SIGKILL"):
        future.result(5)
    assert client.submit(twice, 2).result(20) == 4


def test_who_is_not_there_is_an_error_that_says_so(tmp_path):
    with pytest.raises(ConfigurationError, match="is the scheduler running"):
        Client(tmp_path / "connection.json")
    with pytest.raises(ConfigurationError, match="credential"):
        Client("tls://somewhere:1234")
    with pytest.raises(ConfigurationError, match="no option 'slot'"):
        Client(slot=3)
    with pytest.raises(ConfigurationError, match="runs already"):
        Client(tmp_path, slots=3)


def test_a_client_is_at_the_face():
    assert treadle.Client is Client
