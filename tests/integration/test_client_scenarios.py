"""Clients on live processes, from outside: resources, priorities, workers that are killed, datasets."""

from __future__ import annotations

import gc
import os
import re
import signal
import time
from concurrent.futures import wait
from itertools import pairwise

import numpy as np
import pytest

from tests.integration.several_workers import Workers, wait_for
from treadle.client import Client
from treadle.errors import TaskDied, TreadleError

pytestmark = pytest.mark.timeout(90)


@pytest.fixture
def workers(tmp_path):
    workers = Workers(tmp_path)
    yield workers
    workers.end()


@pytest.fixture
def client():
    with Client(slots=2, resources={"gpu": 2, "licence": 1}, validate=True) as client:
        yield client


def twice(x):
    return 2 * x


def fail(text):
    raise ValueError(text)


def ones(count):
    return np.ones(count)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def hold(path, value=None):
    """Run until the file is there; beside it stands that it runs."""
    path.with_suffix(".runs").touch()
    while not path.exists():
        time.sleep(0.005)
    return value


def runs(path):
    return path.with_suffix(".runs").exists()


def crowd(folder, n):
    """How many run here at once, as this one sees it."""
    mine = folder / f"in-{n}"
    mine.touch()
    time.sleep(0.05)
    seen = len(list(folder.glob("in-*")))
    mine.unlink()
    return seen


def worker_here():
    return os.environ["TREADLE_WORKER_ID"]


def append(path, word):
    with open(path, "a") as file:
        file.write(f"{word} ")


def holders(client, future):
    return client.who_has([future])[future.key]


# --- resources -----------------------------------------------------------------------------------


def test_no_more_run_at_once_than_the_resource_allows(client, tmp_path):
    futures = [client.submit(crowd, tmp_path, n, resources={"licence": 1}) for n in range(6)]
    assert client.gather(futures) == [1] * 6


@pytest.mark.parametrize(("name", "amount"), [("gpu", 1), ("licence", 0.5)])
def test_as_many_run_at_once_as_the_resource_allows(tmp_path, name, amount):
    with Client(slots=3, resources={"gpu": 2, "licence": 1}) as client:
        paths = [tmp_path / f"{n}" for n in range(3)]
        futures = [
            client.submit(hold, path, n, resources={name: amount}) for n, path in enumerate(paths)
        ]
        wait_for(lambda: runs(paths[0]) and runs(paths[1]))
        assert client.submit(twice, 4).result(20) == 8
        assert not runs(paths[2])
        paths[0].touch()
        wait_for(lambda: runs(paths[2]))
        paths[1].touch()
        paths[2].touch()
        assert client.gather(futures) == [0, 1, 2]


def test_a_resource_is_looked_for_on_all_workers(workers):
    workers.worker("plain", slots=2)
    workers.worker("rich", slots=2, gpu=1)
    client = workers.client()
    client.wait_for_workers(2, timeout=20)
    futures = [client.submit(worker_here, pure=False, resources={"gpu": 1}) for _ in range(6)]
    assert client.gather(futures) == ["rich"] * 6


def test_a_task_waits_for_a_worker_that_has_what_it_takes(workers):
    workers.worker("plain")
    client = workers.client()
    future = client.submit(worker_here, resources={"gpu": 2})
    wait_for(lambda: "gpu" in client.explain(future))
    assert client.submit(twice, 4).result(20) == 8
    workers.worker("poor", gpu=1)
    client.wait_for_workers(2, timeout=20)
    assert not future.done()
    workers.worker("rich", gpu=2)
    assert future.result(20) == "rich"


@pytest.mark.parametrize("end", ["returns", "raises", "is cancelled", "is killed", "is released"])
def test_a_resource_is_given_back_however_a_task_ends(client, tmp_path, end):
    options = {"resources": {"licence": 1}}
    if end == "returns":
        first = client.submit(twice, 1, **options)
    elif end == "raises":
        first = client.submit(fail, "no", **options)
    elif end == "is killed":
        first = client.submit(die, **options)
    else:
        first = client.submit(hold, tmp_path / "never", **options)
        wait_for(lambda: runs(tmp_path / "never"))
    second = client.submit(twice, 2, **options)
    if end == "is cancelled":
        first.cancel()
    elif end == "is released":
        del first
        gc.collect()
    assert second.result(20) == 4


def test_a_wish_for_a_worker_is_no_condition(workers):
    workers.worker("here")
    client = workers.client()
    wished = client.submit(worker_here, workers="there", allow_other_workers=True)
    assert wished.result(20) == "here"
    bound = client.submit(worker_here, workers="there", pure=False)
    wait_for(lambda: "there" in client.explain(bound))
    workers.worker("there")
    assert bound.result(20) == "there"


# --- priority ------------------------------------------------------------------------------------


def test_the_urgent_goes_first(tmp_path):
    with Client(slots=1, prefetch=0.0) as client:
        first = client.submit(hold, tmp_path / "go")
        wait_for(lambda: runs(tmp_path / "go"))
        order = tmp_path / "order"
        futures = [
            client.submit(append, order, f"{word}", priority=priority)
            for word, priority in [("low", -10), ("plain", 0), ("high", 10), ("higher", 11.5)]
        ]
        (tmp_path / "go").touch()
        wait([first, *futures], timeout=20)
        assert order.read_text().split() == ["higher", "high", "plain", "low"]


def test_of_equals_the_first_goes_first(tmp_path):
    with Client(slots=1) as client:
        first = client.submit(hold, tmp_path / "go")
        wait_for(lambda: runs(tmp_path / "go"))
        futures = [client.submit(append, tmp_path / "order", n, priority=1) for n in range(30)]
        (tmp_path / "go").touch()
        wait([first, *futures], timeout=20)
        assert (tmp_path / "order").read_text().split() == [str(n) for n in range(30)]


def test_a_map_has_a_priority_too(tmp_path):
    with Client(slots=1) as client:
        order = tmp_path / "order"
        first = client.submit(hold, tmp_path / "go")
        wait_for(lambda: runs(tmp_path / "go"))
        low = client.map(append, [order] * 5, ["low"] * 5, priority=-1, pure=False)
        high = client.map(append, [order] * 5, ["high"] * 5, priority=1, pure=False)
        (tmp_path / "go").touch()
        wait([first, *low, *high], timeout=20)
        assert order.read_text().split() == ["high"] * 5 + ["low"] * 5


def test_what_an_urgent_task_needs_is_urgent(tmp_path):
    with Client(slots=1, prefetch=0.0) as client:
        order = tmp_path / "order"
        first = client.submit(hold, tmp_path / "go")
        wait_for(lambda: runs(tmp_path / "go"))
        crowd = [client.submit(append, order, f"crowd{n}") for n in range(5)]
        urgent = client.submit(append, order, "urgent", priority=5)
        (tmp_path / "go").touch()
        wait([first, urgent, *crowd], timeout=20)
        assert order.read_text().split()[0] == "urgent"


# --- workers that are killed ---------------------------------------------------------------------


def test_what_was_lost_is_computed_again_elsewhere(workers):
    workers.worker("a")
    client = workers.client()
    future = client.submit(ones, 100_000, workers="a", allow_other_workers=True)
    wait([future], timeout=20)
    assert holders(client, future) == ["a"]
    workers.worker("b")
    client.wait_for_workers(2, timeout=20)
    workers.kill("a")
    wait_for(lambda: holders(client, future) == ["b"])
    assert list(client.has_what()) == ["b"]
    assert future.result(20).sum() == 100_000
    assert any("memory" in line for line in client.story(future))


def test_what_ran_there_is_run_elsewhere(workers, tmp_path):
    workers.worker("a")
    client = workers.client()
    running = client.submit(hold, tmp_path / "go", 5)
    wait_for(lambda: runs(tmp_path / "go"))
    (tmp_path / "go").with_suffix(".runs").unlink()
    workers.kill("a")
    workers.worker("b")
    wait_for(lambda: runs(tmp_path / "go"))
    (tmp_path / "go").touch()
    assert running.result(20) == 5


def test_lineage_is_computed_again_as_far_as_it_is_needed(workers, tmp_path):
    workers.worker("a")
    client = workers.client()
    calls = tmp_path / "calls"

    def step(value, name):
        append(calls, name)
        return value + np.ones(100_000)

    first = client.submit(step, 0, "first")
    second = client.submit(step, first, "second")
    third = client.submit(step, second, "third")
    del first, second
    gc.collect()
    wait([third], timeout=20)
    workers.kill("a")
    workers.worker("b")
    fourth = client.submit(step, third, "fourth")
    assert fourth.result(30)[0] == 4
    assert calls.read_text().split() == ["first", "second", "third"] * 2 + ["fourth"]


def test_scattered_data_is_given_again(workers):
    workers.worker("a")
    client = workers.client()
    data = client.scatter(np.arange(100_000))
    assert holders(client, data) == ["a"]
    workers.worker("b")
    client.wait_for_workers(2, timeout=20)
    workers.kill("a")
    assert client.submit(np.sum, data).result(30) == sum(range(100_000))
    assert holders(client, data) == ["b"]


def test_a_copy_saves_the_work(workers, tmp_path):
    workers.worker("a")
    workers.worker("b")
    client = workers.client()
    client.wait_for_workers(2, timeout=20)

    def once(path):
        append(path, "call")
        return np.ones(100_000)

    future = client.submit(once, tmp_path / "calls")
    wait([future], timeout=20)
    client.replicate([future])
    assert sorted(holders(client, future)) == ["a", "b"]
    workers.kill("a")
    wait_for(lambda: holders(client, future) == ["b"])
    assert future.result(20).sum() == 100_000
    assert (tmp_path / "calls").read_text() == "call "


def test_nothing_hangs_when_workers_die_and_come(workers):
    for id in ("a", "b"):
        workers.worker(id, slots=2)
    client = workers.client()
    client.wait_for_workers(2, timeout=20)

    def slow(x):
        time.sleep(0.02)
        return x + np.zeros(1000)

    futures = client.map(slow, range(100))
    sums = [client.submit(np.add, a, b) for a, b in pairwise(futures)]
    total = client.submit(sum, sums)
    wait(futures[:10], timeout=20)
    workers.kill("a")
    workers.worker("c", slots=2)
    wait(sums[:20], timeout=30)
    workers.kill("b")
    assert total.result(60)[0] == 2 * sum(range(100)) - 0 - 99


def test_without_workers_tasks_wait_and_say_so(workers):
    workers.worker("a")
    client = workers.client()
    assert client.submit(twice, 1).result(20) == 2
    workers.kill("a")
    wait_for(lambda: list(client.has_what()) == [])
    future = client.submit(twice, 2)
    wait_for(lambda: "no worker" in client.explain(future))
    workers.worker("b")
    assert future.result(20) == 4


def test_a_task_that_kills_its_workers_is_an_error_in_the_end(client):
    future = client.submit(die)
    others = client.map(twice, range(20))
    with pytest.raises(TaskDied, match="SIGKILL"):
        future.result(30)
    assert client.gather(others) == [2 * n for n in range(20)]


def test_a_stopped_worker_that_comes_back_harms_nothing(workers):
    workers.worker("a")
    workers.worker("b")
    client = workers.client()
    client.wait_for_workers(2, timeout=20)
    futures = [client.submit(ones, 10_000 + n) for n in range(20)]
    wait(futures, timeout=20)
    os.kill(workers.programs["a"].pid, signal.SIGSTOP)
    try:
        total = client.submit(twice, 21, workers="b")
        assert total.result(20) == 42
    finally:
        os.kill(workers.programs["a"].pid, signal.SIGCONT)
    assert [len(array) for array in client.gather(futures)] == [10_000 + n for n in range(20)]


# --- datasets ------------------------------------------------------------------------------------


def test_a_dataset_outlives_its_client(workers):
    workers.worker("a")
    ann = workers.client(name="ann")
    array = ann.submit(ones, 100_000)
    ann.publish_dataset(array, name="array")
    ann.publish_dataset(parts=[array, ann.submit(twice, 4)], plain={"x": 1})
    ann.close()
    bob = workers.client(name="bob")
    assert sorted(bob.list_datasets()) == ["array", "parts", "plain"]
    assert bob.get_dataset("plain") == {"x": 1}
    found = bob.get_dataset("array")
    assert bob.submit(np.sum, found).result(20) == 100_000
    first, second = bob.get_dataset("parts")
    assert (first.result(20).sum(), second.result(20)) == (100_000, 8)


def test_a_name_is_given_once_unless_it_is_overridden(client):
    client.publish_dataset(1, name="x")
    with pytest.raises((KeyError, TreadleError), match="x"):
        client.publish_dataset(2, name="x")
    assert client.get_dataset("x") == 1
    client.publish_dataset(2, name="x", override=True)
    assert client.get_dataset("x") == 2
    with pytest.raises(KeyError, match="nothing"):
        client.get_dataset("nothing")
    assert client.get_dataset("nothing", default=5) == 5


def test_what_is_unpublished_is_freed(client):
    future = client.submit(ones, 100_000)
    wait([future], timeout=20)
    client.publish_dataset(future, name="x")
    del future
    gc.collect()
    assert client.submit(twice, 1).result(20) == 2
    wait_for(lambda: _held(client) == 1)
    client.unpublish_dataset("x")
    wait_for(lambda: _held(client) == 0)
    assert list(client.list_datasets()) == []


def test_datasets_are_a_mapping(client):
    client.datasets["x"] = client.submit(twice, 3)
    assert list(client.datasets) == ["x"]
    assert len(client.datasets) == 1
    assert client.datasets["x"].result(20) == 6
    assert "x" in client.datasets
    del client.datasets["x"]
    with pytest.raises(KeyError):
        client.datasets["x"]


def test_a_published_result_is_computed_again_when_it_is_lost(workers):
    workers.worker("a")
    ann = workers.client(name="ann")
    future = ann.submit(ones, 100_000)
    wait([future], timeout=20)
    ann.publish_dataset(future, name="x")
    ann.close()
    workers.kill("a")
    workers.worker("b")
    bob = workers.client(name="bob")
    assert bob.get_dataset("x").result(30).sum() == 100_000


def _held(client):
    return sum(bool(re.match("ones", key)) for keys in client.has_what().values() for key in keys)
