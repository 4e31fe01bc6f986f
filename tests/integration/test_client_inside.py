"""Clients inside of tasks: live processes on this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from concurrent.futures import CancelledError
from concurrent.futures import ThreadPoolExecutor as Threads

import psutil
import pytest

import treadle
from tests.integration.cluster_cases import gone, until
from tests.integration.inside_tasks import (
    WAYS,
    deep,
    fail,
    fib,
    fib_slowly,
    inc,
    keep_open,
    keep_unread,
    keep_value,
    later,
    look_at,
    lose_the_link,
    outer,
    sleep,
    wait_by,
    wait_for_sleep,
)
from tests.integration.test_cluster_standalone import Programs
from treadle.client import Client, current_task, get_client, rejoin, secede
from treadle.errors import NoClientError, Reschedule

pytestmark = [pytest.mark.timeout(60), pytest.mark.usefixtures("no_process_is_left")]


@pytest.fixture
def client():
    with Client(slots=1) as client:
        yield client


def held(client):
    """Keys of all results that workers hold."""
    return [key for keys in client.has_what().values() for key in keys]


# --- tasks that wait for tasks -------------------------------------------------------------------


def test_tasks_that_wait_for_tasks_never_block_a_single_slot(client):
    assert client.submit(fib, 10).result(50) == 55


def test_tasks_wait_for_tasks_at_any_depth(client):
    assert client.submit(deep, 40).result(50) == 40


def test_many_tasks_wait_for_one_each(client):
    futures = client.map(deep, range(1, 20))
    assert client.gather(futures) == list(range(1, 20))


def test_a_failure_inside_is_the_exception_of_who_waits_for_it(client):
    def attempt():
        future = get_client().submit(fail, "inside")
        try:
            future.result()
        except ValueError as error:
            return str(error), future.status
        return None

    assert client.submit(attempt).result(20) == ("inside", "error")
    with pytest.raises(ValueError, match="inside"):
        client.submit(lambda: get_client().submit(fail, "inside").result()).result(20)


def test_a_task_may_cancel_what_it_has_submitted(tmp_path):
    def attempt(path):
        here = get_client()
        future = here.submit(sleep, path)
        while not path.exists():
            here.submit(inc, time.time()).result()
        future.cancel()
        try:
            future.result()
        except CancelledError:
            return here.submit(inc, 1).result()

    with Client(slots=2) as client:
        assert client.submit(attempt, tmp_path / "began").result(30) == 2


def test_what_a_cancelled_task_waited_for_is_stopped(client, tmp_path):
    path = tmp_path / "began"
    future = client.submit(lambda: get_client().submit(sleep, path).result())
    until(path.exists)
    child = psutil.Process(int(path.read_text()))
    future.cancel()
    until(lambda: gone(child))
    assert client.submit(inc, 1).result(20) == 2


def test_what_a_killed_task_waited_for_is_stopped(client, tmp_path):
    path, mine = tmp_path / "began", tmp_path / "mine"

    def attempt():
        mine.write_text(str(os.getpid()))
        return get_client().submit(sleep, path).result()

    future = client.submit(attempt, key="who waits")
    until(path.exists)
    child, parent = int(path.read_text()), psutil.Process(int(mine.read_text()))
    path.unlink()
    parent.kill()
    until(lambda: path.exists() and path.read_text() not in ("", str(child)))  # it is tried again
    until(lambda: not psutil.pid_exists(child) or gone(psutil.Process(child)))
    future.cancel()


def test_processes_that_are_killed_while_tasks_wait_for_each_other(client, rng):
    future = client.submit(fib_slowly, 8)
    for _ in range(2):  # a third death of the same task would be its last
        killed = kill_a_slot(rng)
        until(lambda killed=killed: gone(killed))
    assert future.result(50) == 21
    del future
    until(lambda: held(client) == [])


def kill_a_slot(rng):
    """Kill a process that runs tasks, or is about to."""
    found = []

    def look():
        nodes = [child for child in psutil.Process().children() if "node" in child.cmdline()]
        zygotes = [zygote for node in nodes for zygote in node.children()]
        found[:] = [slot for zygote in zygotes for slot in zygote.children()]
        return found

    until(look)
    slot = rng.choice(found)
    slot.kill()
    return slot


def test_the_walltime_of_a_task_that_waits_goes_on(client, tmp_path):
    path = tmp_path / "began"
    future = client.submit(lambda: get_client().submit(sleep, path).result(), walltime=1.0)
    with pytest.raises(treadle.errors.AppTimeout):
        future.result(30)
    child = psutil.Process(int(path.read_text()))
    until(lambda: gone(child))
    assert client.submit(inc, 1).result(20) == 2


def test_threads_of_a_task_may_wait_too(client):
    def attempt():
        here = get_client()
        with Threads(4) as threads:
            return sum(threads.map(lambda n: here.submit(inc, n).result(), range(20)))

    assert client.submit(attempt).result(30) == sum(range(1, 21))


@pytest.mark.parametrize("way", WAYS)
def test_however_a_task_waits_it_blocks_nobody(client, way):
    assert client.submit(wait_by, way).result(20) == [1, 2, 3]


def test_a_task_s_client_that_loses_its_link_finds_it_again(client):
    assert client.submit(lose_the_link).result(20) == 4


def test_rows_of_a_map_may_wait(client):
    futures = client.map(lambda n: get_client().submit(inc, n, pure=False).result(), range(30))
    assert client.gather(futures) == list(range(1, 31))


# --- secede, rejoin, Reschedule ------------------------------------------------------------------


def test_a_task_that_has_seceded_takes_no_slot_until_it_rejoins(client, tmp_path):
    def leave():
        secede()
        until(lambda: (tmp_path / "other").exists())
        rejoin()
        return "rejoined"

    future = client.submit(leave)
    client.submit((tmp_path / "other").touch).result(20)
    assert future.result(20) == "rejoined"
    assert client.submit(inc, 1).result(20) == 2


def test_a_task_may_end_while_it_has_seceded(client):
    for n in range(5):
        assert client.submit(lambda n: (secede(), n)[1], n).result(20) == n
    assert client.gather(client.map(inc, range(10))) == list(range(1, 11))


def test_outside_of_tasks_there_is_nothing_to_secede_from():
    secede()
    rejoin()
    assert current_task() is None


def test_a_task_may_ask_to_be_run_again(client, tmp_path):
    def attempt():
        with open(tmp_path / "tries", "a") as file:
            file.write("x")
        if (tmp_path / "tries").stat().st_size < 3:
            raise Reschedule("not here")
        return current_task().attempt

    future = client.submit(attempt)
    assert future.result(20) > 2
    assert (tmp_path / "tries").read_text() == "xxx"


# --- who and where -------------------------------------------------------------------------------


def test_a_task_knows_who_it_is(client):
    here = client.submit(current_task, key="me").result(20)
    assert (here.key, here.id) == ("me", "me")
    assert here.worker in client.who_has([client.submit(inc, 0, key="x")]) or here.worker
    future = client.submit(lambda: current_task(), pure=False)
    here = future.result(20)
    assert here.key == future.key
    assert here.name == "<lambda>"
    rows = client.map(lambda n: current_task().id, range(5))
    assert client.gather(rows) == [row.id for row in rows]


def test_where_no_task_runs_the_current_client_is_meant(client):
    assert get_client() is client
    client.close()
    with pytest.raises(NoClientError, match="make one"):
        get_client()


def test_a_process_keeps_its_client(client):
    assert client.submit(lambda: id(get_client())).result(20) == client.submit(
        lambda: id(get_client()), pure=False
    ).result(20)


def test_a_process_that_a_task_forks_has_no_client(client):
    def attempt():
        get_client()
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                get_client()
            except NoClientError as error:
                os.write(writing, str(error).encode())
            os._exit(0)
        os.close(writing)
        os.waitpid(pid, 0)
        return os.read(reading, 1000).decode(), get_client().submit(inc, 1).result()

    text, value = client.submit(attempt).result(20)
    assert "was forked by a task" in text
    assert value == 2


def test_a_client_is_no_thread_that_a_task_has_left(client, capfd):
    client.submit(lambda: get_client().submit(inc, 1).result()).result(20)
    client.submit(lambda: threading.Thread(target=time.sleep, args=(9,), name="x").start()).result(
        20
    )
    seen = ""

    def said():
        nonlocal seen
        seen += capfd.readouterr().err
        return "left threads running: x" in seen

    until(said)
    assert seen.count("left threads") == 1


# --- what ends with a task -----------------------------------------------------------------------


def seen(client, name):
    """What `look_at` sees in the process that has it."""
    found = []

    def look():
        found.append(client.submit(look_at, name, pure=False).result(20))
        return found[-1] is not None

    until(look)
    return found[-1]


def test_results_that_a_task_wanted_are_let_go_of_at_its_end(client):
    assert client.submit(keep_value).result(20) == 2
    until(lambda: "kept" not in held(client))
    assert seen(client, "value") == ("finished", 2)


def test_a_future_that_outlives_its_task_says_so(client, tmp_path):
    client.submit(keep_open, tmp_path / "never").result(20)
    said = "the task that wanted it has ended"
    assert seen(client, "open") == ("cancelled", said)
    client.submit(keep_unread).result(20)
    status, text = seen(client, "unread")
    assert status == "error"
    assert said in text
    assert client.submit(inc, 5).result(20) == 6


def test_futures_may_be_results(client):
    def attempt():
        here = get_client()
        return {"one": here.submit(inc, 1), "more": here.map(inc, range(3))}

    futures = client.submit(attempt).result(20)
    assert futures["one"].result(20) == 2
    assert client.gather(futures["more"]) == [1, 2, 3]


def test_a_future_that_is_a_result_can_be_used_whenever_it_arrives(client):
    for n in range(50):
        future = client.submit(lambda n: get_client().submit(inc, n, pure=False), n)
        assert future.result(20).result(20) == n + 1


def test_futures_of_a_task_are_arguments_of_others(client):
    def attempt():
        here = get_client()
        return here.submit(sum, [here.submit(inc, 1), here.submit(inc, 2)]).result()

    assert client.submit(attempt).result(20) == 5


def test_an_error_that_a_task_fails_with_lets_go_too(client):
    def attempt():
        get_client().submit(inc, 1, key="kept").result()
        raise KeyError("after all")

    with pytest.raises(KeyError):
        client.submit(attempt).result(20)
    until(lambda: "kept" not in held(client))


# --- coroutine functions -------------------------------------------------------------------------


def test_coroutine_functions_are_tasks(client):
    assert client.submit(later, 1).result(20) == 2
    assert client.gather(client.map(later, range(10))) == list(range(1, 11))


def test_a_coroutine_function_that_fails(client):
    async def attempt():
        await asyncio.sleep(0)
        raise ValueError("late")

    with pytest.raises(ValueError, match="late"):
        client.submit(attempt).result(20)


def test_a_coroutine_function_that_awaits_others_gives_its_turn_away(client):
    async def attempt(n):
        if n == 0:
            return 0
        here = get_client()
        assert here.asynchronous
        a, b = here.submit(attempt, n - 1, pure=False), here.submit(inc, n, pure=False)
        return sum(await asyncio.gather(a, b))

    assert client.submit(attempt, 5).result(30) == sum(range(2, 7))


def test_calls_that_wait_are_awaitable_in_a_coroutine_function(client):
    async def attempt():
        here = get_client()
        futures = here.map(inc, range(4))
        return await here.gather(futures)

    assert client.submit(attempt).result(30) == [1, 2, 3, 4]


# --- log and print -------------------------------------------------------------------------------


def test_what_tasks_of_tasks_print_reaches_the_client(client, capfd):
    def child():
        print("from far inside")

    client.submit(lambda: get_client().submit(child).result()).result(20)
    seen = ""

    def said():
        nonlocal seen
        seen += capfd.readouterr().out
        return "from far inside" in seen

    until(said)


def test_what_tasks_log_is_in_the_log_of_their_worker(client):
    def attempt():
        logging.getLogger("mine").warning("look at this")

    client.submit(attempt).result(20)
    until(lambda: "look at this" in str(client.get_worker_logs()))


# --- over networks -------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path):
    """A client of a scheduler and a worker that know each other by TLS alone."""
    programs = Programs(tmp_path)
    try:
        programs.scheduler("--tls", "--address", "127.0.0.1")
        credential = ("--credential", f"{programs.file}.worker.pem")
        programs.worker("--address", "127.0.0.1", *credential, file=programs.over_network_alone())
        with Client(programs.file) as client:
            yield client
    finally:
        programs.end()


def test_over_a_network_tasks_have_clients_too(elsewhere):
    assert elsewhere.submit(fib, 6).result(40) == 8
    assert elsewhere.submit(outer, 5).result(20).result(20) == 6


def test_over_a_network_too_what_a_cancelled_task_waited_for_is_stopped(elsewhere, tmp_path):
    path = tmp_path / "began"
    future = elsewhere.submit(wait_for_sleep, path)
    until(path.exists, 30)
    child = psutil.Process(int(path.read_text()))
    future.cancel()
    until(lambda: gone(child), 30)
    assert elsewhere.submit(inc, 1).result(20) == 2
