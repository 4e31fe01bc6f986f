"""Maps of a client: bundles, with a future for each row."""

from __future__ import annotations

import gc
import os
import time

import numpy as np
import pytest

from tests.integration.client_cases import (
    add,
    begin_and_wait,
    client,
    fail_unless,
    inc,
    own_client,
    wait_for_file,
)
from tests.integration.cluster_cases import until
from treadle.client import as_completed, wait

pytestmark = pytest.mark.timeout(60)
_ = client, own_client  # fixtures


def reciprocal(x):
    return 1 / x


def block(n):
    return np.full(n, 7)


def pid_of(_):
    return os.getpid()


def test_many_rows_are_gathered_in_order(client):
    futures = client.map(add, range(5000), range(5000), extra=1)
    assert len({future.key for future in futures}) == 5000
    assert client.gather(futures) == [2 * n + 1 for n in range(5000)]
    assert client.map(inc, []) == []


def test_rows_end_one_by_one_and_errors_are_their_own(client):
    rows = client.map(reciprocal, [1, 0, 4, 0])
    wait(rows, 20)
    assert [row.status for row in rows] == ["finished", "error", "finished", "error"]
    assert (rows[0].result(), rows[2].result()) == (1.0, 0.25)
    with pytest.raises(ZeroDivisionError):
        rows[3].result()
    assert rows[1].exception() is not rows[3].exception()
    assert client.gather(rows, errors="skip") == [1.0, 0.25]


def test_a_row_is_an_argument_like_any_other(client):
    rows = client.map(inc, range(100))
    assert client.submit(add, rows[3], rows[97]).result(20) == 102
    assert client.submit(sum, rows).result(20) == 5050
    assert client.gather(client.map(add, rows[:10], rows[90:])) == [
        n + 1 + n + 91 for n in range(10)
    ]


def test_rows_with_futures_are_tasks_of_their_own(client, tmp_path):
    slow = client.submit(wait_for_file, str(tmp_path / "go"), 1)
    quick = client.submit(inc, 1)
    rows = client.map(inc, [slow, quick])
    assert rows[1].result(20) == 3
    assert rows[0].status == "pending"
    (tmp_path / "go").touch()
    assert rows[0].result(20) == 2


def test_what_all_rows_have_in_common_may_be_a_future(client):
    extra = client.submit(inc, 99)
    assert client.gather(client.map(add, range(50), extra=extra)) == [100 + n for n in range(50)]


def test_large_results_of_rows(own_client):
    rows = own_client.map(block, [10, 100_000, 1_000_000])
    assert [int(array.sum()) for array in own_client.gather(rows)] == [70, 700_000, 7_000_000]
    array = rows[0].result()
    array[0] = 0  # it is the caller's


def test_large_arguments_go_once_for_all_rows(own_client):
    data = np.ones(1_000_000)
    assert own_client.gather(own_client.map(np.dot, [data] * 3, [data] * 3)) == [1e6] * 3


def test_the_same_map_is_the_same_futures(client):
    first = client.map(inc, range(20))
    again = client.map(inc, range(20))
    assert all(one is other for one, other in zip(first, again, strict=True))
    assert client.map(inc, range(20), pure=False)[0] is not first[0]
    assert client.map(inc, range(21))[0] is not first[0]
    first[5].cancel()


def test_keys_may_be_given(client):
    rows = client.map(inc, [1, 2], key="part")
    assert [row.key for row in rows] == ["part-0", "part-1"]
    rows = client.map(inc, [1, 2], key=["x", "y"])
    assert client.gather({row.key: row for row in rows}) == {"x": 2, "y": 3}
    with pytest.raises(ValueError, match="give one for each"):
        client.map(inc, [1, 2], key=["x"])


def test_slow_rows_are_spread_over_slots(client):
    client.gather(client.map(pid_of, range(4)))

    def slowly(_):
        time.sleep(0.05)
        return os.getpid()

    assert len(set(client.gather(client.map(slowly, range(8))))) == 2


def test_some_rows_are_cancelled_and_the_others_go_on(client, tmp_path):
    go = str(tmp_path / "go")
    rows = client.map(wait_for_file, [go] * 10, range(10))
    client.cancel(rows[2:5])
    (tmp_path / "go").touch()
    assert client.gather(rows, errors="skip") == [0, 1, 5, 6, 7, 8, 9]
    assert [row.status for row in rows[2:5]] == ["cancelled"] * 3


def test_rows_that_run_are_cancelled_and_free_their_slots(client, tmp_path):
    began = [str(tmp_path / f"{n}") for n in range(2)]
    rows = client.map(begin_and_wait, began, [str(tmp_path / "never")] * 2)
    until(lambda: all(map(os.path.exists, began)))
    client.cancel(rows)
    assert client.submit(inc, 1000).result(20) == 1001


def test_a_row_beside_one_that_is_cancelled_is_run_again(client, tmp_path):
    for _ in range(3):  # so that they are known to be short, and go together
        client.gather(client.map(time.sleep, [0.0] * 200, pure=False))
    rows = client.map(time.sleep, [60.0, *[0.0] * 20], pure=False)
    rows[0].cancel()
    assert client.gather(rows[1:]) == [None] * 20


def test_rows_of_which_no_future_is_left_are_not_run(client, tmp_path):
    blocks = client.map(wait_for_file, [str(tmp_path / "go")] * 2, range(2))
    rows = client.map(lambda n: (tmp_path / f"row-{n}").touch(), range(1000))
    del rows
    gc.collect()
    until(lambda: len(client._session.ledger.bundles) == 1)  # that of the blocks
    client.processing()  # what was said before this question is known when it is answered
    (tmp_path / "go").touch()
    assert client.gather(blocks) == [0, 1]
    assert client.submit(inc, 2000).result(20) == 2001
    assert len(list(tmp_path.glob("row-*"))) < 10


def test_a_part_is_kept_for_as_long_as_one_of_its_rows_is_wanted(client):
    def told_apart(x):
        return x + 1

    rows = client.map(told_apart, range(300))
    wait(rows, 20)
    last = rows.pop()
    del rows
    gc.collect()
    assert client.submit(inc, last).result(20) == 301
    assert last.result(20) == 300
    del last
    gc.collect()
    until(lambda: "told_apart" not in str(client.has_what()))


def test_nothing_is_left_of_many_futures(own_client):
    for _ in range(5):
        futures = own_client.map(inc, range(2000), pure=False)
        futures += [own_client.submit(inc, n, pure=False) for n in range(300)]
        assert sum(own_client.gather(futures)) == 2000 * 2001 // 2 + 300 * 301 // 2
        del futures
    gc.collect()
    ledger = own_client._session.ledger
    until(lambda: not own_client._table and not ledger.wants and not len(ledger.bundles))
    until(lambda: not any(own_client.has_what().values()))


def test_as_completed_over_rows(client):
    results = {result for _, result in as_completed(client.map(inc, range(500)), with_results=True)}
    assert results == set(range(1, 501))


def test_a_row_may_be_tried_again(client, tmp_path):
    def second_time(name):
        path = tmp_path / name
        if not path.exists():
            path.touch()
            raise OSError(name)
        return name

    assert client.gather(client.map(second_time, ["a", "b", "c"], retries=1)) == ["a", "b", "c"]


def test_rows_that_cannot_be_pickled_say_so(client):
    with pytest.raises(Exception, match="lock"):
        client.map(inc, [__import__("threading").Lock()])


def test_small_batches(client):
    assert client.gather(client.map(inc, range(25), batch_size=4)) == list(range(1, 26))
    assert client.map(fail_unless, ["/"], [5])[0].result(20) == 5
