"""How a client watches and steers a live cluster."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import psutil
import pytest

from tests.integration.client_clusters import cluster_of, twice
from tests.integration.cluster_cases import until
from treadle.client import Client
from treadle.errors import ResultLost, TreadleError, UnsupportedFeatureError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("cluster"), "a", "b") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster.file) as client:
        yield client


@pytest.fixture
def alone():
    with Client(slots=2) as client:
        yield client


def begin(path):
    """Tells that it runs, and waits until it is stopped, in no code but this."""
    os.close(os.open(path, os.O_CREAT))
    while True:
        time.sleep(0.01)


def running(client, path, **options):
    """A task that runs."""
    future = client.submit(begin, path, pure=False, **options)
    until(path.exists)
    return future


def frames_of(client, future):
    """Where a task is, once it is somewhere."""
    found = []

    def is_somewhere():
        nonlocal found
        found = [f for tasks in client.call_stack(future).values() for f in tasks[future.key]]
        return bool(found)

    until(is_somewhere)
    return found


# --- call_stack ----------------------------------------------------------------------------------


def test_a_running_task_tells_where_it_is(alone, tmp_path):
    future = running(alone, tmp_path / "began")
    (worker,) = alone.nthreads()
    stacks = alone.call_stack(future)
    assert list(stacks) == [worker]
    (frame,) = stacks[worker][future.key]
    assert frame.startswith(f"{__file__}:")
    assert frame.endswith(" in begin")
    for others in (
        alone.call_stack(),
        alone.call_stack(keys=[future.key]),
        alone.call_stack(workers=worker),
    ):
        ((key, frames),) = others[worker].items()  # the line may be another by now
        assert (key, len(frames)) == (future.key, 1)
        assert frames[0].endswith(" in begin")
    future.cancel()


def test_frames_go_from_the_outermost_in(alone, tmp_path):
    def outer(path):
        return inner(path)

    def inner(path):
        return begin(path)

    future = alone.submit(outer, tmp_path / "began")
    until((tmp_path / "began").exists)
    assert [line.rpartition(" ")[2] for line in frames_of(alone, future)] == [
        "outer",
        "inner",
        "begin",
    ]
    future.cancel()


def test_code_that_lets_nobody_else_run_tells_too(alone, tmp_path):
    def count(path):
        os.close(os.open(path, os.O_CREAT))
        return sum(range(10**11))  # one call, which holds the interpreter

    future = alone.submit(count, tmp_path / "began")
    until((tmp_path / "began").exists)
    assert frames_of(alone, future)[-1].endswith("in count")
    future.cancel()


def test_a_very_deep_stack_is_cut_at_its_outer_end(alone, tmp_path):
    def down(n, path):
        return down(n - 1, path) if n else begin(path)

    future = alone.submit(down, 200, tmp_path / "began")
    until((tmp_path / "began").exists)
    frames = frames_of(alone, future)
    assert frames[0] == "..."
    assert frames[-1].endswith("in begin")
    future.cancel()


def test_rows_of_a_map_tell_where_they_are_by_their_own_keys(alone, tmp_path):
    futures = alone.map(begin, [tmp_path / "0", tmp_path / "1"])
    until(lambda: all((tmp_path / name).exists() for name in "01"))
    (stacks,) = alone.call_stack(futures).values()
    assert {key: [f.rpartition(" ")[2] for f in frames] for key, frames in stacks.items()} == {
        future.key: ["begin"] for future in futures
    }
    alone.cancel(futures)


def test_an_actor_and_a_call_of_run_tell_where_they_are_too(alone, tmp_path):
    class Looper:
        def loop(self, path):
            begin(path)

    looper = alone.submit(Looper, actor=True).result(20)
    call = looper.loop(tmp_path / "actor")
    (ran,) = alone.run(begin, tmp_path / "run", wait=False).values()
    until(lambda: all((tmp_path / name).exists() for name in ("actor", "run")))
    (stacks,) = alone.call_stack([call, ran]).values()
    assert [f.rpartition(" ")[2] for f in stacks[call.key]] == ["loop", "begin"]
    assert [f.rpartition(" ")[2] for f in stacks[ran.key]] == ["begin"]
    ran.cancel()


def test_what_does_not_run_is_not_in_it(alone):
    done = alone.submit(twice, 1)
    assert done.result(20) == 2
    assert alone.call_stack(done) == {}
    assert alone.call_stack() == {}
    assert alone.call_stack([]) == {}
    with pytest.raises(TreadleError, match="no such worker: nobody"):
        alone.call_stack(workers="nobody")


@pytest.mark.parametrize("handler", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_task_that_has_taken_all_signals_goes_on(alone, tmp_path, handler):
    def take(path, release, handler):
        for number in range(34, 65):
            signal.signal(number, handler)
        path.touch()
        while not release.exists():
            time.sleep(0.01)
        return os.getpid()

    future = alone.submit(take, tmp_path / "began", tmp_path / "go", handler)
    until((tmp_path / "began").exists)
    (stacks,) = alone.call_stack(future).values()
    assert "has taken the signal" in stacks[future.key][0]
    (tmp_path / "go").touch()
    pid = future.result(20)
    assert psutil.pid_exists(pid)
    later = running(alone, tmp_path / "later")
    other = running(alone, tmp_path / "other")
    for task in (later, other):  # one of them is in the process of the first
        assert frames_of(alone, task)[-1].endswith("in begin")
    alone.cancel([later, other])


def test_a_task_whose_descriptors_are_closed_goes_on(alone, tmp_path):
    def close(path, release):
        for number in os.listdir("/proc/self/fd"):
            if "treadle-stack" in _link(number):
                os.close(int(number))
        path.touch()
        while not release.exists():
            time.sleep(0.01)
        return "done"

    def _link(number):
        try:
            return os.readlink(f"/proc/self/fd/{number}")
        except OSError:
            return ""

    future = alone.submit(close, tmp_path / "began", tmp_path / "go")
    until((tmp_path / "began").exists)
    (stacks,) = alone.call_stack(future).values()
    assert "has closed the file" in stacks[future.key][0]
    (tmp_path / "go").touch()
    assert future.result(20) == "done"


def test_a_stopped_process_does_not_hold_up_the_others(alone, tmp_path):
    pids = alone.map(_announce, [tmp_path / "0", tmp_path / "1"])
    until(lambda: all((tmp_path / name).exists() for name in "01"))
    stopped = int((tmp_path / "0").read_text())
    os.kill(stopped, signal.SIGSTOP)
    try:
        (stacks,) = alone.call_stack(pids).values()
        assert "does not answer" in stacks[pids[0].key][0]
        assert stacks[pids[1].key][-1].endswith("in _announce")
    finally:
        os.kill(stopped, signal.SIGCONT)
    alone.cancel(pids)


def _announce(path):
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    while True:
        time.sleep(0.01)


# --- what there is -------------------------------------------------------------------------------


def test_a_cluster_tells_what_it_is(client, cluster):
    assert client.nthreads() == client.ncores() == {"a": 1, "b": 1}
    assert client.nthreads("a") == {"a": 1}
    info = client.scheduler_info()
    assert info["id"] == "a-run"
    assert sorted(info["workers"]) == ["a", "b"]
    about = info["workers"]["a"]
    assert about["status"] == "running"
    assert about["memory_limit"] > 0
    with pytest.raises(TreadleError, match="no such worker: c; there are: a, b"):
        client.nthreads(["a", "c"])


def test_what_workers_do_is_told(client, tmp_path):
    first = running(client, tmp_path / "began", workers="a")
    second = client.submit(begin, tmp_path / "never", workers="a")
    until(lambda: "a" in client.explain(second))
    given = client.processing()
    assert given["a"][0] == first.key
    assert given["b"] == []
    assert client.processing("b") == {"b": []}
    client.cancel([first, second])


def test_a_key_will_do_for_a_future(client):
    future = client.submit(twice, 5, key="five")
    future.result(20)
    assert client.explain("five") == client.explain(future)
    assert any("memory" in line for line in client.story("five"))
    with pytest.raises(TreadleError, match="'six'"):
        client.explain("six")


def test_the_key_of_a_numbered_task_will_do_for_others_too(cluster, client, tmp_path):
    future = running(client, tmp_path / "began")
    with Client(cluster.file) as other:
        assert "runs on" in other.explain(future.key)
        (stacks,) = other.call_stack(keys=[future.key]).values()
        assert list(stacks) == [future.key]
    future.cancel()


# --- run -----------------------------------------------------------------------------------------


def test_run_calls_a_function_in_each_worker(client):
    def where(prefix, suffix=""):
        return prefix + os.environ["TREADLE_WORKER_ID"] + suffix

    assert client.run(where, "<", suffix=">") == {"a": "<a>", "b": "<b>"}


def test_run_takes_no_turn(alone, tmp_path):
    busy = [running(alone, tmp_path / str(n)) for n in range(2)]
    (worker,) = alone.nthreads()
    assert alone.run(twice, 4) == {worker: 8}
    assert [future.status for future in busy] == ["pending"] * 2
    alone.cancel(busy)


def test_run_may_be_for_some_and_may_not_wait(client):
    assert client.run(twice, 1, workers="b") == {"b": 2}
    futures = client.run(twice, 2, wait=False)
    assert {name: future.result(20) for name, future in futures.items()} == {"a": 4, "b": 4}
    with pytest.raises(TreadleError, match="no such worker"):
        client.run(twice, 1, workers="nobody")


def test_what_run_raises_is_raised_returned_or_left_out(client):
    def fail_on_a():
        if os.environ["TREADLE_WORKER_ID"] == "a":
            raise ValueError("on a")
        return "good"

    with pytest.raises(ValueError, match="on a"):
        client.run(fail_on_a)
    returned = client.run(fail_on_a, on_error="return")
    assert {name: str(answer) for name, answer in returned.items()} == {"a": "on a", "b": "good"}
    assert client.run(fail_on_a, on_error="ignore") == {"b": "good"}
    with pytest.raises(ValueError, match="on_error='stop'"):
        client.run(fail_on_a, on_error="stop")


def test_run_ends_when_its_worker_has_gone(tmp_path, monkeypatch):
    monkeypatch.setattr("treadle.client._control._LOOK_S", 0.2)
    with cluster_of(tmp_path, "stays", "goes") as cluster:
        futures = cluster.client.run(begin, tmp_path / "x", workers="goes", wait=False)
        until((tmp_path / "x").exists)
        futures["goes"].cancel()
        (goes,) = [p for p in cluster.programs.all if "goes" in p.args]

        def end_worker():
            until((tmp_path / "began").exists)
            goes.kill()

        killer = threading.Thread(target=end_worker)
        killer.start()
        answers = cluster.client.run(begin_on_one, tmp_path / "began", on_error="return")
        killer.join()
        assert answers["stays"] == "stays"
        assert "worker goes has gone" in str(answers["goes"])


def begin_on_one(path):
    if os.environ["TREADLE_WORKER_ID"] == "goes":
        begin(path)
    return "stays"


def test_what_no_wire_would_take_is_an_error_at_once(client):
    for call, text in [
        (lambda: client.wait_for_workers(1, timeout=-1), "timeout=-1"),
        (lambda: client.wait_for_workers(2**40), "n_workers"),
        (lambda: client.wait_for_workers(1, timeout=float("nan")), "timeout=nan"),
        (lambda: client.nthreads("x" * 2_000), "1 to 1000 characters"),
        (lambda: client.processing([]), "name one at least"),
        (lambda: client.run(twice, 1, workers=[5]), "not 5"),
        (lambda: client.explain(""), "a key"),
        (lambda: client.get_worker_logs(0), "n=0"),
        (lambda: client.get_versions(packages=[""]), "packages"),
        (lambda: client.retire_workers(None), "name the workers"),
        (lambda: client.restart(timeout="soon"), "timeout='soon'"),
        (lambda: client.scatter(1, broadcast=2**40), "broadcast"),
        (lambda: client.scatter(1, timeout=-1), "timeout=-1"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()
    assert client.run(twice, 1, workers="a") == {"a": 2}


def test_coroutine_functions_are_awaited_there(client):
    async def soon(x):
        await asyncio.sleep(0.01)
        return x + 1

    assert client.run(soon, 1) == {"a": 2, "b": 2}


def test_nothing_runs_on_a_scheduler(client):
    with pytest.raises(UnsupportedFeatureError, match=r"run_on_scheduler\('twice'\).*run\(\)"):
        client.run_on_scheduler(twice, 1)


# --- logs and versions ---------------------------------------------------------------------------


def test_logs_of_workers_and_of_the_scheduler(alone):
    assert alone.submit(twice, 1).result(20) == 2
    (worker,) = alone.nthreads()
    node = psutil.Process(alone._session.home.process.pid)
    (zygote,) = [p for p in node.children() if "zygote" in p.cmdline()]
    zygote.kill()
    until(lambda: alone.get_worker_logs()[worker])
    level, line = alone.get_worker_logs(1, workers=worker)[worker][0]
    assert level in ("INFO", "WARNING", "ERROR")
    assert "treadle.cluster._agent" in line or "zygote" in line
    lines = alone.get_scheduler_logs()
    assert not [line for _, line in lines if "_agent" in line]


def test_versions_are_the_same_here_and_there(client):
    versions = client.get_versions(check=True, packages=["pytest", "no-such-package"])
    assert sorted(versions["workers"]) == ["a", "b"]
    assert versions["client"]["packages"]["pytest"] == pytest.__version__
    assert versions["scheduler"]["packages"]["no-such-package"] is None
    assert versions["scheduler"]["host"]["python"] == versions["client"]["host"]["python"]


def test_versions_that_differ_are_an_error(client, monkeypatch):
    from treadle.client import _control

    here = _control.versions_here()
    here["packages"]["numpy"] = "0.1"
    monkeypatch.setattr(_control, "versions_here", lambda packages: here)
    with pytest.raises(ValueError, match=r"numpy: client has 0.1, scheduler has " + np.__version__):
        client.get_versions(check=True)


# --- restart, retire, wait -----------------------------------------------------------------------


def test_a_restart_ends_all_work_of_all_clients(cluster, client, tmp_path):
    client.run(twice, 1)
    with Client(cluster.file) as other:
        mine = running(client, tmp_path / "began")
        theirs = other.submit(begin, tmp_path / "never", workers="nobody")
        done = other.submit(twice, 3)
        assert done.result(20) == 6
        given = other.scatter(np.arange(100_000))
        other.publish_dataset(given, name="gone")
        client.restart(timeout=30)
        for future in (mine, theirs):
            with pytest.raises(CancelledError, match="the cluster was restarted"):
                future.result(20)
        until(lambda: _is_lost(given))
        assert other.list_datasets() == ()
        assert other.has_what() == {"a": [], "b": []}
        assert [c.gather(c.map(twice, range(5))) for c in (client, other)] == [[0, 2, 4, 6, 8]] * 2


def _is_lost(future):
    try:
        future.result(1)
    except (ResultLost, CancelledError):
        return True
    return False


def test_data_that_calls_name_is_given_again_after_a_restart(client):
    large = np.arange(200_000)
    assert int(client.submit(np.sum, large).result(20)) == 19_999_900_000
    scattered = client.scatter(large)
    client.restart(timeout=30)
    assert int(client.submit(np.max, large).result(20)) == 199_999
    again = client.scatter(large)
    assert again is not scattered
    assert int(client.submit(np.min, again).result(20)) == 0


def test_slots_are_new_after_a_restart(alone):
    (before,) = alone.run(os.getpid).values()
    alone.restart()
    (after,) = alone.run(os.getpid).values()
    assert before != after


def test_who_retires_leaves_its_data_to_others(tmp_path):
    with cluster_of(tmp_path, "a", "b") as cluster:
        client = cluster.client
        results = client.map(twice, range(5), workers="a")
        given = client.scatter(np.arange(1_000_000), workers="a")
        assert client.gather(results) == [0, 2, 4, 6, 8]
        busy = running(client, tmp_path / "busy", workers="a")
        with pytest.raises(TimeoutError, match="a have not gone after 0.3 s"):
            client.retire_workers("a", timeout=0.3)
        assert busy.status == "pending"
        busy.cancel()
        assert client.retire_workers("a", timeout=20) == ["a"]
        assert list(client.nthreads()) == ["b"]
        assert {name for names in client.who_has().values() for name in names} == {"b"}
        assert client.submit(sum, results).result(20) == 20
        assert int(client.submit(np.max, given).result(20)) == 999_999
        with pytest.raises(TreadleError, match="no such worker: z"):
            client.retire_workers(["z"])


def test_workers_are_waited_for(tmp_path):
    with cluster_of(tmp_path, "a") as cluster:
        client = cluster.client
        assert client.wait_for_workers(1) == 1
        with pytest.raises(
            TimeoutError, match="2 workers are wanted, and 1 are there after 0.2 s: a"
        ):
            client.wait_for_workers(2, timeout=0.2)
        with pytest.raises(ValueError, match="n_workers=-1"):
            client.wait_for_workers(-1)
        cluster.start_worker("late")
        assert client.wait_for_workers(2, timeout=20) == 2


# --- without blocking ----------------------------------------------------------------------------


def test_an_asynchronous_client_awaits_all_of_it(cluster, tmp_path):
    async def main():
        async with Client(cluster.file, asynchronous=True) as client:
            assert await client.wait_for_workers(2, timeout=10) == 2
            assert sorted(await client.nthreads()) == ["a", "b"]
            assert sorted(await client.processing()) == ["a", "b"]
            assert (await client.scheduler_info())["id"] == "a-run"
            assert await client.run(twice, 2) == {"a": 4, "b": 4}
            future = client.submit(begin, tmp_path / "began")
            while not (tmp_path / "began").exists():
                await asyncio.sleep(0.01)
            (stacks,) = (await client.call_stack(future)).values()
            assert stacks[future.key][-1].endswith("in begin")
            assert "runs on" in await client.explain(future)
            assert isinstance(await client.get_scheduler_logs(5), list)
            assert sorted(await client.get_worker_logs(5)) == ["a", "b"]
            assert "workers" in await client.get_versions()
            await client.restart()
            with pytest.raises(CancelledError):
                await future

    asyncio.run(main())
