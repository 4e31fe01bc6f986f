"""Tasks of a client: options, keys, waiting, retrying, cancelling."""

from __future__ import annotations

import gc
import os
import time
from concurrent.futures import CancelledError

import pytest

from tests.integration.client_cases import (
    add,
    begin_and_wait,
    client,
    fail,
    fail_unless,
    inc,
    wait_for_file,
)
from tests.integration.cluster_cases import until
from treadle.client import Client, as_completed, fire_and_forget, wait
from treadle.errors import AppTimeout, KeyConflict

pytestmark = pytest.mark.timeout(60)
_ = client  # a fixture


# --- submit --------------------------------------------------------------------------------------


def test_an_equal_key_with_another_function_is_an_error(client):
    first = client.submit(inc, 1, key="one")
    with pytest.raises(KeyConflict, match="'one'.*choose another key"):
        client.submit(add, 1, key="one")
    with pytest.raises(KeyConflict):
        client.submit(inc, 2, key="one")
    assert client.submit(inc, 1, key="one") is first
    assert first.result(20) == 2


def test_a_key_is_free_again_when_its_future_is_gone(client):
    assert client.submit(inc, 1, key="again").result(20) == 2
    gc.collect()
    until(lambda: all("again" not in keys for keys in client.has_what().values()))
    assert client.submit(add, 5, key="again").result(20) == 5


def test_a_long_chain_may_let_go_of_each_link_as_soon_as_it_has_the_next(client):
    for start in range(3):
        future = client.submit(inc, start * 10_000)
        for _ in range(2_000):
            future = client.submit(inc, future)
        assert future.result(20) == start * 10_000 + 2_001


def test_a_task_may_take_so_long(client):
    future = client.submit(time.sleep, 60, walltime=0.3)
    with pytest.raises(AppTimeout):
        future.result(20)
    with pytest.raises(ValueError, match="walltime"):
        client.submit(inc, 1, walltime=0)


def test_what_cannot_be_called_is_an_error_at_once(client):
    with pytest.raises(TypeError, match="no function"):
        client.submit(5, 5)
    with pytest.raises(TypeError, match="no function"):
        client.map("inc", [1])
    with pytest.raises(ValueError, match="priority='high'"):
        client.submit(inc, 1, priority="high")


def test_the_higher_priority_goes_first(client, tmp_path):
    blocks = [client.submit(wait_for_file, str(tmp_path / "go"), n) for n in range(2)]
    low = [client.submit(time.time, pure=False, priority=-1) for _ in range(3)]
    high = [client.submit(time.time, pure=False, priority=1) for _ in range(3)]
    (tmp_path / "go").touch()
    assert max(client.gather(high)) <= min(client.gather(low))
    assert client.gather(blocks) == [0, 1]


def test_metadata_is_taken(client):
    assert client.submit(inc, 1, metadata={"batch": 7}, pure=False).result(20) == 2


# --- waiting -------------------------------------------------------------------------------------


def test_wait_for_all_and_for_the_first(client, tmp_path):
    slow = client.submit(wait_for_file, str(tmp_path / "go"))
    quick = client.submit(inc, 10)
    done, others = wait([slow, quick], timeout=20, return_when="FIRST_COMPLETED")
    assert (done, others) == ({quick}, {slow})
    with pytest.raises(TimeoutError):
        wait([slow, quick], timeout=0.05)
    (tmp_path / "go").touch()
    assert wait({"a": [slow], "b": quick}, timeout=20).not_done == set()
    assert wait([]).done == set()


def test_wait_for_the_first_error(client, tmp_path):
    slow = client.submit(wait_for_file, str(tmp_path / "go"))
    bad = client.submit(fail, "first")
    done, others = wait([slow, bad], 20, "FIRST_EXCEPTION")
    assert (done, others) == ({bad}, {slow})
    slow.cancel()


def test_wait_says_what_it_takes(client):
    future = client.submit(inc, 1)
    with pytest.raises(TypeError, match="futures go into one list"):
        wait(future, future)
    with pytest.raises(ValueError, match="return_when"):
        wait(future, return_when="SOME")


def test_as_completed_gives_each_as_it_ends(client, tmp_path):
    slow = client.submit(wait_for_file, str(tmp_path / "go"), "slow")
    quick = client.submit(inc, 20)
    walk = as_completed([slow, quick])
    assert next(walk) is quick
    assert (walk.count(), walk.has_ready(), walk.is_empty()) == (1, False, False)
    assert walk.next_batch(block=False) == []
    (tmp_path / "go").touch()
    assert next(walk) is slow
    with pytest.raises(StopIteration):
        next(walk)
    assert walk.is_empty()


def test_as_completed_takes_more_while_it_is_walked_through(client):
    walk = as_completed([client.submit(inc, 0)], with_results=True)
    seen = []
    for future, result in walk:
        seen.append(result)
        if result < 5:
            walk.add(client.submit(inc, future))
    assert seen == [1, 2, 3, 4, 5]


def test_as_completed_gives_a_future_as_often_as_it_was_added(client):
    future = client.submit(inc, 3)
    assert list(as_completed([future, future])) == [future, future]


def test_as_completed_raises_or_gives_errors(client):
    bad = client.submit(fail, "bad")
    with pytest.raises(ValueError, match="bad"):
        next(as_completed([bad], with_results=True))
    ((future, error),) = as_completed([bad], with_results=True, raise_errors=False)
    assert future is bad
    assert repr(error) == "ValueError('bad')"
    assert list(as_completed([bad])) == [bad]


def test_as_completed_gives_cancelled_ones_too(client):
    future = client.submit(time.sleep, 60, pure=False)
    walk = as_completed([future], with_results=True)
    future.cancel()
    ((same, error),) = walk
    assert same is future
    assert isinstance(error, CancelledError)


def test_as_completed_has_a_timeout_and_batches(client):
    slow = client.submit(time.sleep, 60, pure=False)
    with pytest.raises(TimeoutError):
        next(as_completed([slow], timeout=0.05))
    walk = as_completed([slow])
    walk.clear()
    assert list(walk) == []
    slow.cancel()
    batches = list(as_completed(client.map(inc, range(50))).batches())
    assert sum(map(len, batches)) == 50
    with pytest.raises(TypeError, match="no future"):
        as_completed([5])


# --- gather --------------------------------------------------------------------------------------


def test_gather_does_not_wait_for_the_others_when_one_failed(client, tmp_path):
    slow = client.submit(wait_for_file, str(tmp_path / "never"))
    with pytest.raises(ValueError, match="at once"):
        client.gather([slow, client.submit(fail, "at once")])
    slow.cancel()
    with pytest.raises(CancelledError):
        client.gather([slow])
    assert client.gather([slow, client.submit(inc, 1)], errors="skip") == [2]


# --- retry ---------------------------------------------------------------------------------------


def test_what_failed_is_tried_again_with_what_it_failed_by(client, tmp_path):
    root = client.submit(fail_unless, str(tmp_path / "data"), 5)
    middle = client.submit(inc, root)
    end = client.submit(inc, middle)
    with pytest.raises(OSError, match="data is not there"):
        end.result(20)
    (tmp_path / "data").touch()
    client.retry([end])
    assert client.gather([end, middle, root]) == [7, 6, 5]


def test_it_may_fail_again(client, tmp_path):
    future = client.submit(fail_unless, str(tmp_path / "x"))
    for _ in range(3):
        with pytest.raises(OSError, match="x is not there"):
            future.result(20)
        future.retry()
    fine = client.submit(inc, 1)
    fine.result(20)
    client.retry(fine)
    assert fine.result() == 2


def test_a_row_that_failed_is_tried_again(client, tmp_path):
    paths = [str(tmp_path / name) for name in "abc"]
    (tmp_path / "b").touch()
    rows = client.map(fail_unless, paths, "ABC")
    wait(rows, 20)
    assert [row.status for row in rows] == ["error", "finished", "error"]
    (tmp_path / "a").touch()
    client.retry(rows)
    assert rows[0].result(20) == "A"
    with pytest.raises(OSError, match="c is not there"):
        rows[2].result(20)


# --- cancel --------------------------------------------------------------------------------------


def test_a_running_task_that_is_cancelled_frees_its_slot(client, tmp_path):
    started = [str(tmp_path / f"{n}") for n in range(2)]
    running = [client.submit(begin_and_wait, path, str(tmp_path / "never")) for path in started]
    until(lambda: all(map(os.path.exists, started)))
    waiting = client.submit(inc, 100)
    client.cancel(running, reason="enough of it")
    assert waiting.result(20) == 101
    with pytest.raises(CancelledError, match="enough of it"):
        running[0].result()
    assert running[1].cancelled()


def test_what_is_cancelled_can_be_submitted_again(client, tmp_path):
    future = client.submit(wait_for_file, str(tmp_path / "go"), 3)
    future.cancel()
    (tmp_path / "go").touch()
    again = client.submit(wait_for_file, str(tmp_path / "go"), 3)
    assert again is not future
    assert again.result(20) == 3
    assert future.cancelled()


def test_others_who_wait_are_told_why_if_it_is_forced(client, tmp_path):
    with Client(client.connection_file, set_as_default=False) as other:
        path = str(tmp_path / "never")
        mine = client.submit(wait_for_file, path, key="common")
        theirs = other.submit(wait_for_file, path, key="common")
        until(lambda: "process" in other.explain(theirs) or "runs" in other.explain(theirs))
        mine.cancel()
        assert theirs.status == "pending"
        again = client.submit(wait_for_file, path, key="common")
        client.cancel(again, force=True, reason="the building burns")
        with pytest.raises(CancelledError, match="the building burns"):
            theirs.result(20)


# --- fire and forget -----------------------------------------------------------------------------


def test_what_is_fired_runs_without_a_future(client, tmp_path):
    def write(path, after):
        path.touch()

    gate = client.submit(wait_for_file, str(tmp_path / "go"))
    path = tmp_path / "written"
    future = client.submit(write, path, gate)
    fire_and_forget(future)
    del future, gate
    gc.collect()
    (tmp_path / "go").touch()
    until(path.exists)


def test_rows_that_are_fired_run_without_futures(client, tmp_path):
    blocks = [client.submit(wait_for_file, str(tmp_path / "go"), n) for n in range(2)]
    rows = client.map(lambda n: (tmp_path / f"row-{n}").touch(), range(20))
    fire_and_forget(rows)
    del rows
    gc.collect()
    (tmp_path / "go").touch()
    until(lambda: len(list(tmp_path.glob("row-*"))) == 20)
    assert client.gather(blocks) == [0, 1]


# --- after a loss --------------------------------------------------------------------------------


def test_what_was_lost_with_its_scheduler_is_computed_anew():
    with Client(slots=1) as client:
        future = client.submit(bytes, 1_000_000)
        rows = client.map(inc, range(3))
        wait([future, *rows], 20)
        client._session.home.process.kill()
        until(lambda: client.submit(bytes, 1_000_000) is not future)
        assert len(client.submit(bytes, 1_000_000).result(20)) == 1_000_000
        assert client.gather(client.map(inc, range(3))) == [1, 2, 3]
