"""Futures of a client: what they tell, in pickles, and when they are gone."""

from __future__ import annotations

import asyncio
import gc
import pickle
import threading
import time
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for_any
from weakref import ref

import pytest

from tests.integration.client_cases import add, client, fail, inc, own_client, wait_for_file
from tests.integration.cluster_cases import until
from treadle.client import Client, ClientFuture, Queue, get_client
from treadle.errors import NoClientError, ResultLost, SchedulerLost

pytestmark = pytest.mark.timeout(60)
_ = client, own_client  # fixtures


def in_a_pickle(future):
    """The pickle of a future that is gone when this returns."""
    return pickle.dumps(future)


class Holder:
    """Something of a user's with a future inside."""

    def __init__(self, future):
        self.future = future


# --- what they tell ------------------------------------------------------------------------------


def test_what_a_future_tells(client):
    future = client.submit(inc, 1)
    assert (future.result(20), future.status, future.done(), future.type) == (
        2, "finished", True, "int",
    )  # fmt: skip
    assert future.key.startswith("inc-")
    assert "finished" in repr(future)
    bad = client.submit(fail, "no")
    assert repr(bad.exception(20)) == "ValueError('no')"
    assert bad.status == "error"


def test_callbacks_keep_their_future_until_it_is_done(client, tmp_path):
    heard = []
    done = threading.Event()

    def tell(future):
        heard.append(future.result())
        done.set()

    client.submit(wait_for_file, str(tmp_path / "go"), 7).add_done_callback(tell)
    gc.collect()
    (tmp_path / "go").touch()
    assert done.wait(20)
    assert heard == [7]
    until(lambda: not client._heard_of)


def test_many_threads_may_wait_for_one_future(client, tmp_path):
    future = client.submit(wait_for_file, str(tmp_path / "go"), [1])
    results = []
    threads = [threading.Thread(target=lambda: results.append(future.result(20))) for _ in range(8)]
    for thread in threads:
        thread.start()
    (tmp_path / "go").touch()
    for thread in threads:
        thread.join(20)
    assert results == [[1]] * 8


def test_a_released_future_is_over(client):
    future = client.submit(time.sleep, 60, pure=False)
    future.release()
    with pytest.raises(CancelledError, match="released"):
        future.result(10)


# --- arguments -----------------------------------------------------------------------------------


def test_a_future_anywhere_in_an_argument_stands_for_its_result(client):
    future = client.submit(inc, 1)

    def look(holder, nest):
        return holder.future, nest["a"][0]

    assert client.submit(look, Holder(future), {"a": [future]}).result(20) == (2, 2)
    (row,) = client.map(look, [Holder(future)], [{"a": [future]}])
    assert row.result(20) == (2, 2)


def test_a_future_that_a_function_names_is_a_future_there(client):
    future = client.submit(inc, 41)

    def look():
        return future.result(20)

    assert client.submit(look).result(20) == 42


# --- pickles -------------------------------------------------------------------------------------


def test_a_future_in_a_pickle_is_the_same_result(client):
    future = client.submit(inc, 1)
    twin = pickle.loads(pickle.dumps(future))
    assert "not used yet" in repr(twin)
    assert (twin.result(20), twin.key, twin.id) == (2, future.key, future.id)
    assert client.gather([twin, future]) == [2, 2]
    assert client.submit(add, twin, future).result(20) == 4


def test_a_twin_ends_as_its_origin_does(client, tmp_path):
    future = client.submit(wait_for_file, str(tmp_path / "go"), 1)
    twin = pickle.loads(pickle.dumps(future))
    assert not twin.done()
    assert wait_for_any([twin], timeout=0.01).not_done == {twin}
    future.cancel()
    with pytest.raises(CancelledError):
        twin.result(10)


def test_a_result_lingers_when_its_future_was_pickled(client):
    data = in_a_pickle(client.submit(inc, 1, pure=False))
    gc.collect()
    assert client.submit(inc, 2).result(20) == 3  # what was let go of has been said by then
    assert pickle.loads(data).result(20) == 2


def test_rows_of_a_map_linger_too(client):
    rows = client.map(inc, range(30))
    client.gather(rows)
    data = pickle.dumps(rows)
    del rows
    gc.collect()
    assert client.submit(inc, 3).result(20) == 4
    assert client.gather(pickle.loads(data)) == list(range(1, 31))
    gc.collect()
    assert client.submit(sum, pickle.loads(data)[:3]).result(20) == 6


def test_rows_that_have_not_ended_linger_too(client, tmp_path):
    rows = client.map(wait_for_file, [str(tmp_path / "go")] * 5, range(5))
    data = pickle.dumps(rows)
    del rows
    gc.collect()
    (tmp_path / "go").touch()
    assert client.gather(pickle.loads(data)) == list(range(5))


def test_another_client_takes_a_future_from_a_pickle(client):
    rows = client.map(inc, range(10))
    one = client.submit(inc, 1)
    data = pickle.dumps([one, rows])
    with Client(client.connection_file) as guest, guest.as_current():
        theirs, their_rows = pickle.loads(data)
        assert guest.gather([theirs, their_rows]) == [2, list(range(1, 11))]
        assert theirs.client is guest
        assert guest.submit(sum, their_rows).result(20) == 55
        assert guest.submit(inc, their_rows[-1]).result(20) == 11
        with pytest.raises(ValueError, match="another client"):
            client.submit(inc, theirs)
    assert client.gather(rows) == list(range(1, 11))


def test_another_client_waits_for_rows_that_run(client, tmp_path):
    rows = client.map(wait_for_file, [str(tmp_path / "go")] * 6, range(6))
    data = pickle.dumps(rows)
    with Client(client.connection_file) as guest, guest.as_current():
        theirs = pickle.loads(data)
        assert not theirs[5].done()
        (tmp_path / "go").touch()
        assert guest.gather(theirs) == list(range(6))
    assert client.gather(rows) == list(range(6))


def test_a_future_by_way_of_a_queue(client):
    Queue("ways", client=client).put(client.submit(inc, 1, pure=False))
    gc.collect()
    with Client(client.connection_file) as guest:
        future = Queue("ways", client=guest).get(timeout=20)
        assert future.result(20) == 2


def test_a_task_may_return_futures(client):
    def spread(n):
        here = get_client()
        return [here.submit(inc, k, pure=False) for k in range(n)]

    futures = client.submit(spread, 3).result(20)
    assert client.gather(futures) == [1, 2, 3]
    assert client.submit(sum, futures).result(20) == 6


def test_without_a_client_a_future_from_a_pickle_says_so(client):
    with Client(client.connection_file, set_as_default=False) as guest:
        data = pickle.dumps(guest.submit(inc, 1))
    client_of_others = pickle.loads(data)
    from treadle.client import _current

    known, _current._open[:] = list(_current._open), []
    try:
        with pytest.raises(NoClientError, match="make one"):
            client_of_others.result(1)
        assert pickle.dumps(client_of_others) == data
        assert repr(client_of_others).endswith("not used yet>")
    finally:
        _current._open[:] = known


def test_a_result_that_nobody_knows_is_an_error(client):
    data = pickle.dumps(ClientFuture(client, "nobody-knows", "nobody-knows"))
    with pytest.raises(ResultLost, match="nobody"):
        pickle.loads(data).result(20)


# --- loss ----------------------------------------------------------------------------------------


def test_after_its_client_a_future_says_why(tmp_path):
    with Client(slots=1) as client:
        future = client.submit(wait_for_file, str(tmp_path / "never"))
        twin = pickle.loads(pickle.dumps(future))
        assert twin.status == "pending"
    for each in (future, twin):
        with pytest.raises(SchedulerLost):
            each.result(5)


def test_an_awaited_future_that_is_given_up_is_cancelled(own_client, tmp_path):
    async def main():
        future = own_client.submit(wait_for_file, str(tmp_path / "never"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await future
        return future

    assert asyncio.run(main()).cancelled()


def test_who_has_seen_a_failure_does_not_keep_its_future(client):
    future = client.submit(fail, "so be it")
    gone = ref(future)
    gc.collect()
    gc.disable()
    try:
        with pytest.raises(ValueError, match="so be it"):
            future.result()
        del future
        assert gone() is None
    finally:
        gc.enable()


def test_keys_that_no_wire_takes_harm_nothing(client):
    kept = client.submit(inc, 1)
    for key in ("", 5, "x" * 2_000):
        with pytest.raises(ValueError, match="key"):
            client.submit(inc, 2, key=key)
    assert client.gather([kept, client.submit(inc, 2)]) == [2, 3]
