"""What was found wrong with another scheduler by experiment is right here: live processes."""

from __future__ import annotations

import gc
import os
import re
import signal
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from tests.integration.several_workers import Workers, wait_for
from treadle.client import Client
from treadle.errors import TaskDied

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def client():
    with Client(slots=1, deaths=2, resources={"A": 1, "B": 1}, validate=True) as client:
        yield client


def twice(x):
    return 2 * x


def hold(path: Path, value: object = None):
    """Run until the file is there; beside it stands that it runs."""
    path.with_suffix(".runs").touch()
    while not path.exists():
        time.sleep(0.005)
    return value


def runs(path: Path) -> bool:
    return path.with_suffix(".runs").exists()


def die(times: int, path: Path):
    """Kill this process, so many times."""
    with open(path, "a") as file:
        file.write("x")
    if path.stat().st_size <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return path.stat().st_size


# --- A: a cancel beside a dependent that nobody holds ---------------------------------------------


def test_a_cancel_beside_a_dependent_that_nobody_holds_harms_nothing_else(client, tmp_path):
    others = client.map(twice, range(5))
    x = client.submit(hold, tmp_path / "x")
    y = client.submit(twice, x)
    z = client.submit(twice, y)
    del y
    gc.collect()
    wait_for(lambda: runs(tmp_path / "x"))
    client.cancel([x])
    with pytest.raises(CancelledError):
        z.result(20)
    assert x.status == "cancelled"
    assert client.gather(others) == [0, 2, 4, 6, 8]
    assert client.submit(twice, 21).result(20) == 42
    assert client._session.bond.link is not None


def test_a_cancel_of_what_waits_beside_a_dependent_that_nobody_holds(client, tmp_path):
    first = client.submit(hold, tmp_path / "go")
    x = client.submit(twice, first)
    z = client.submit(twice, client.submit(twice, x))
    gc.collect()
    client.cancel([x])
    with pytest.raises(CancelledError):
        z.result(20)
    (tmp_path / "go").touch()
    assert first.result(20) is None


# --- B: resources that have nothing to do with each other -----------------------------------------


def test_a_task_is_not_held_up_by_one_that_waits_for_another_resource(tmp_path):
    options = {"slots": 4, "resources": {"A": 1, "B": 1}, "validate": True}
    with Client(**options) as client:
        busy = client.submit(hold, tmp_path / "go", 1, resources={"A": 1})
        queued = client.submit(twice, busy, resources={"A": 1})
        also_queued = client.submit(hold, tmp_path / "go", 2, resources={"A": 1})
        wait_for(lambda: runs(tmp_path / "go"))
        assert client.submit(twice, 4, resources={"B": 1}).result(20) == 8
        assert client.submit(twice, 5).result(20) == 10
        assert not also_queued.done()
        (tmp_path / "go").touch()
        assert client.gather([busy, queued, also_queued]) == [1, 2, 2]


def test_nor_where_the_worker_was_given_both(tmp_path):
    # All that is ready has been sent to the one worker before the first has begun.
    with Client(slots=2, resources={"A": 1, "B": 1}, prefetch=10.0) as client:
        client.map(twice, range(20))  # they have taught it that such tasks are short
        client.gather(client.map(twice, range(20), pure=False))
        futures = [client.submit(hold, tmp_path / "go", n, resources={"A": 1}) for n in range(3)]
        assert client.submit(twice, 4, resources={"B": 1}).result(20) == 8
        (tmp_path / "go").touch()
        assert client.gather(futures) == [0, 1, 2]


# --- C: times that are below zero -----------------------------------------------------------------

_BELOW_ZERO = re.compile(r"(?<![\w.])-\d")


def below_zero(value: object, path: str = "") -> list[str]:
    """Where in nested containers a number is below zero, or a text tells of one."""
    if isinstance(value, dict):
        return [where for k, v in value.items() for where in below_zero(v, f"{path}/{k}")]
    if isinstance(value, (list, tuple)):
        return [where for n, v in enumerate(value) for where in below_zero(v, f"{path}/{n}")]
    if isinstance(value, str):
        return [f"{path}: {value}"] if _BELOW_ZERO.search(value) else []
    if isinstance(value, (int, float)):
        return [f"{path}: {value}"] if value < 0 else []
    return []


def test_no_time_that_is_told_is_below_zero(client, tmp_path):
    waiting = client.submit(twice, client.submit(hold, tmp_path / "go", 4))
    failed = client.submit(divmod, 1, 0, retries=2)
    dead = client.submit(die, 9, tmp_path / "dead")
    done = client.map(twice, range(20))
    told: dict[str, object] = {}

    def look(when: str) -> None:
        for future in (waiting, failed, dead, *done[:3]):
            told[f"{when}: explain {future.key}"] = client.explain(future)
            told[f"{when}: story {future.key}"] = client.story(future)
        for name in ("scheduler_info", "processing", "nthreads", "nbytes"):
            if hasattr(client, name):
                told[f"{when}: {name}"] = getattr(client, name)()

    wait_for(lambda: runs(tmp_path / "go"))
    look("while it runs")
    (tmp_path / "go").touch()
    assert waiting.result(20) == 8
    assert isinstance(failed.exception(20), ZeroDivisionError)
    assert isinstance(dead.exception(20), TaskDied)
    assert client.gather(done) == [2 * n for n in range(20)]
    look("at the end")
    assert len(told) > 12
    assert below_zero(told) == []


# --- D: deaths that are held against a task for ever ----------------------------------------------


def test_to_try_a_task_again_forgets_its_deaths(client, tmp_path):
    future = client.submit(die, 3, tmp_path / "deaths")
    error = future.exception(20)
    assert isinstance(error, TaskDied)
    assert "SIGKILL" in str(error)
    assert (tmp_path / "deaths").stat().st_size == 2
    client.retry([future])  # one more death than before would have been enough
    assert future.result(20) == 4


def test_deaths_are_held_against_what_ran_alone(client, tmp_path):
    # Those behind it were given to the same worker, and have seen two processes die.
    killer = client.submit(die, 9, tmp_path / "deaths")
    innocents = client.map(twice, range(50))
    assert isinstance(killer.exception(20), TaskDied)
    assert client.gather(innocents) == [2 * n for n in range(50)]


def test_a_killed_worker_accuses_what_ran_there_alone(tmp_path):
    workers = Workers(tmp_path)
    try:
        client = workers.client()
        for n in range(4):  # one more than a task may see
            workers.worker(f"w{n}")
            running = client.submit(hold, tmp_path / f"go{n}", n)
            if n == 0:
                innocents = client.map(twice, range(200), workers=[f"w{n}" for n in range(5)])
            wait_for(lambda n=n: runs(tmp_path / f"go{n}"))
            workers.kill(f"w{n}")
            running.cancel()
        workers.worker("w4")
        assert client.gather(innocents) == [2 * n for n in range(200)]
    finally:
        workers.end()


# --- E: a cancelled task that keeps its slot ------------------------------------------------------


def test_a_cancelled_task_gives_back_its_slot_at_once(client, tmp_path):
    never = tmp_path / "never"
    for n in range(3):
        running = client.submit(hold, never.with_name(f"never{n}"), pure=False)
        wait_for(lambda n=n: runs(never.with_name(f"never{n}")))
        running.cancel()
        assert client.submit(twice, n, pure=False).result(10) == 2 * n
    assert not list(tmp_path.glob("never?"))


def test_and_its_resources(client, tmp_path):
    running = client.submit(hold, tmp_path / "never", resources={"A": 1})
    behind = client.submit(twice, 4, resources={"A": 1})
    wait_for(lambda: runs(tmp_path / "never"))
    running.cancel()
    assert behind.result(10) == 8
