"""Data of clients on live workers: given, copied, moved, counted."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import OrderedDict, namedtuple

import numpy as np
import pytest

from tests.integration.client_clusters import cluster_of, twice
from tests.integration.cluster_cases import until
from tests.integration.test_cluster_standalone import Programs
from tests.leaks import open_descriptors
from treadle.client import Client, ClientFuture
from treadle.errors import TreadleError

pytestmark = pytest.mark.timeout(60)

Pair = namedtuple("Pair", "a b")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("cluster"), "a", "b", "c") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster.file) as client:
        yield client


def holders(client, future):
    return client.who_has([future])[future.key]


# --- scatter -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset])
def test_containers_are_taken_apart_and_keep_their_kind(client, kind):
    futures = client.scatter(kind([1, 2, 3]))
    assert type(futures) is kind
    assert client.gather(futures) == kind([1, 2, 3])


def test_a_mapping_keeps_its_names(client):
    futures = client.scatter({"x": 1, ("y", 2): [3]})
    assert client.gather(futures) == {"x": 1, ("y", 2): [3]}


@pytest.mark.parametrize("value", [OrderedDict(a=1), Pair(1, 2), "text", 5, None, np.arange(3)])
def test_subclasses_and_all_else_are_one_value(client, value):
    future = client.scatter(value)
    assert isinstance(future, ClientFuture)
    assert type(future.result(20)) is type(value)


def test_nothing_is_nothing(client):
    assert client.scatter([]) == []
    assert client.scatter({}) == {}


def test_what_becomes_of_the_data_afterwards_changes_nothing(client):
    small, large = np.zeros(10), np.zeros(2_000_000)
    futures = client.scatter([small, large])
    small[:] = large[:] = 1
    assert [float(value.sum()) for value in client.gather(futures)] == [0, 0]


def test_equal_data_is_one_future(client):
    array = np.arange(300_000)
    first = client.scatter(array)
    assert client.scatter(array.copy()) is first
    a, b, c = client.scatter(["x", "y", "x"])
    assert a is c
    assert a is not b


def test_nearly_equal_data_is_not_taken_for_equal(client):
    array = np.zeros(1_000_000, dtype=np.uint8)
    futures = [client.scatter(array)]
    for place in (1, 77_777, 500_001, 999_998):
        other = array.copy()
        other[place] = 1
        futures.append(client.scatter(other))
    assert len(set(futures)) == 5
    assert [int(value.sum()) for value in client.gather(futures)] == [0, 1, 1, 1, 1]


def test_values_that_only_compare_equal_are_not_one(client):
    one, true, floating = client.scatter([1, True, 1.0])
    assert [type(f.result(20)) for f in (one, true, floating)] == [int, bool, float]


def test_without_hash_each_is_its_own(client):
    a, b = client.scatter([7, 7], hash=False)
    assert a is not b
    assert client.scatter(7, hash=False) not in (a, b)


def test_equal_data_is_given_again_once_its_future_is_gone(client):
    client.scatter("gone soon")
    gc.collect()
    until(lambda: client.who_has() == {})
    assert client.scatter("gone soon").result(20) == "gone soon"


def test_data_goes_where_it_shall(client, cluster):
    future = client.scatter("there", workers="b")
    assert holders(client, future) == ["b"]
    for name in cluster.names:
        assert holders(client, client.scatter(f"only {name}", workers=[name])) == [name]


def test_data_is_spread_over_workers(client, cluster):
    futures = client.scatter([np.full(1_000_000, n) for n in range(6)])
    used = {name for names in client.who_has(futures).values() for name in names}
    assert used == set(cluster.names)


def test_a_broadcast_is_everywhere_when_it_returns(client, cluster):
    future, other = client.scatter(["every", "where"], broadcast=True)
    assert holders(client, future) == holders(client, other) == cluster.names
    two = client.scatter(np.arange(1_000), broadcast=2)
    assert len(holders(client, two)) == 2
    among = client.scatter("among", workers=["a", "c"], broadcast=True)
    assert holders(client, among) == ["a", "c"]


def test_more_copies_than_there_are_workers_are_one_on_each(client, cluster):
    future = client.scatter("much wanted", broadcast=10)
    assert holders(client, future) == cluster.names
    other = client.submit(twice, 1, workers="a")
    client.replicate(other, n=7, workers=["a", "b"])
    assert holders(client, other) == ["a", "b"]


def test_equal_data_that_cannot_be_where_it_shall_is_an_error(client):
    future = client.scatter("somewhere")
    with pytest.raises(TimeoutError, match=future.key):
        client.scatter("somewhere", workers="nobody")


def test_equal_data_that_is_broadcast_is_copied(client, cluster):
    future = client.scatter("equal")
    assert len(holders(client, future)) == 1
    assert client.scatter("equal", broadcast=True) is future
    assert holders(client, future) == cluster.names


def test_who_cannot_have_it_in_time_is_an_error_that_says_why(client):
    with pytest.raises(TimeoutError, match=r"after 0.2 s 2 of 2 values are on no worker: .*none"):
        client.scatter([1, 2], workers="nobody", timeout=0.2)
    until(lambda: not client._session.depot.parcels.by_id)
    with pytest.raises(ValueError, match="broadcast=0"):
        client.scatter(1, broadcast=0)


def test_what_cannot_be_pickled_leaves_nothing(client):
    before = dict(client._session.depot.parcels.by_id)
    with pytest.raises(Exception, match=r"\[1\]|lock|pickle"):
        client.scatter([1, threading.Lock()])
    assert client._session.depot.parcels.by_id == before


def test_many_small_values_take_no_descriptors(client):
    before = len(open_descriptors())
    futures = client.scatter(list(range(3_000)))
    assert len(open_descriptors()) < before + 20
    assert client.gather(futures) == list(range(3_000))


def test_large_values_take_no_more_descriptors_than_they_may(client):
    keeper = client._session.depot.parcels._share
    keeper._free = 5
    futures = client.scatter([np.full(20_000, n) for n in range(20)])
    assert keeper._free == 0
    assert [int(value[0]) for value in client.gather(futures)] == list(range(20))
    del futures
    gc.collect()
    until(lambda: keeper._free == 5)


def test_scattered_data_is_an_argument_like_any_other(client):
    futures = client.scatter({"a": 20, "b": [1]})
    assert client.submit(twice, futures["a"]).result(20) == 40
    assert client.submit(lambda nest: nest["x"][0] + [2], {"x": [futures["b"]]}).result(20) == [
        1,
        2,
    ]


# --- replicate, rebalance ------------------------------------------------------------------------


def test_results_are_copied_once_they_are_there(client, cluster):
    future = client.submit(np.arange, 1_000)
    client.replicate([future], n=2)
    assert len(holders(client, future)) == 2
    client.replicate({"nested": (future,)})
    assert holders(client, future) == cluster.names
    other = client.submit(np.ones, 10, workers="a")
    client.replicate(other, workers=["a", "b"])
    assert holders(client, other) == ["a", "b"]
    client.replicate([])


def test_what_has_failed_cannot_be_copied(client):
    failed = client.submit(twice)
    with pytest.raises(TreadleError, match="no result"):
        client.replicate(failed)
    with pytest.raises(ValueError, match="n=0"):
        client.replicate(failed, n=0)


def test_rebalance_takes_from_the_full(client, cluster):
    futures = client.map(np.full, [200_000] * 9, range(9), workers="a")
    client.rebalance(futures)
    counts = dict.fromkeys(cluster.names, 0)
    for names in client.who_has(futures).values():
        for name in names:
            counts[name] += 1
    assert counts["a"] < 9
    assert min(counts.values()) > 0
    assert [int(v[0]) for v in client.gather(futures)] == list(range(9))
    client.rebalance()


# --- where it is ---------------------------------------------------------------------------------


def test_bytes_are_counted_by_name_and_by_key(client):
    array = client.submit(np.zeros, 10_000)
    copied = client.scatter(b"x" * 5_000, broadcast=True)
    client.gather([array])
    by_name = client.nbytes()
    assert by_name["zeros"] >= 80_000
    assert 5_000 <= by_name["bytes"] < 6_000, "each is counted once, however many copies there are"
    by_key = client.nbytes([array, copied], summary=False)
    assert list(by_key) == [array.key, copied.key]
    assert client.nbytes([]) == {}


def test_rows_of_a_map_have_their_share_of_the_bytes(client):
    rows = client.map(twice, range(500))
    client.gather(rows)
    whole = client.nbytes(rows)["twice"]
    assert client.nbytes()["twice"] == pytest.approx(whole, rel=0.01)
    assert client.nbytes(rows[:250])["twice"] == pytest.approx(whole / 2, rel=0.5)
    assert len(client.nbytes(rows, summary=False)) == 500


def test_who_has_tells_of_all_futures_of_this_client(client):
    a, b = client.scatter([1, 2])
    assert set(client.who_has()) == {a.key, b.key}
    assert a.key in client.has_what()[holders(client, a)[0]]


# --- other machines, and workers that die ---------------------------------------------------------


def test_data_goes_over_a_network_too(tmp_path):
    programs = Programs(tmp_path)
    try:
        programs.scheduler("--tls", "--address", "127.0.0.1")
        elsewhere = programs.over_network_alone()
        worker = ("--address", "127.0.0.1", "--credential", f"{programs.file}.worker.pem")
        names = ["worker/a", "worker/b"]  # as the credential has it
        for name in names:
            programs.worker("--id", name, *worker, file=elsewhere)
        with Client(elsewhere, credential=f"{programs.file}.client.pem") as client:
            client.wait_for_workers(2, timeout=30)
            large = np.arange(2_000_000)
            futures = client.scatter({"small": 5, "large": large}, broadcast=True)
            assert client.who_has(futures) == {f.key: names for f in futures.values()}
            for name in names:
                total = client.submit(np.sum, futures["large"], workers=name, pure=False)
                assert int(total.result(20)) == int(large.sum())
            assert client.gather(futures)["small"] == 5
            client.publish_dataset(futures, name="both")
            assert client.get_dataset("both")["small"].result(20) == 5
            assert client.run(twice, 1) == dict.fromkeys(names, 2)
            assert sorted(client.get_versions(check=True)["workers"]) == names
    finally:
        programs.end()


def test_data_is_given_again_when_its_worker_dies(tmp_path):
    with cluster_of(tmp_path, "a", "b") as cluster:
        client = cluster.client
        futures = client.scatter([np.arange(500_000), "small"], workers="a")
        (a,) = [p for p in cluster.programs.all if "a" in p.args]
        a.kill()
        until(lambda: all(names == ["b"] for names in client.who_has(futures).values()))
        assert int(client.submit(np.max, futures[0]).result(20)) == 499_999
        assert futures[1].result(20) == "small"


# --- without blocking ----------------------------------------------------------------------------


def test_an_asynchronous_client_awaits_all_of_it(cluster):
    async def main():
        async with Client(cluster.file, asynchronous=True) as client:
            small, large = await client.scatter([1, np.zeros(3_000_000)], broadcast=True)
            held = await client.who_has([small, large])
            await client.replicate([small])
            await client.rebalance([large])
            total = await client.nbytes([large])
            with pytest.raises(TimeoutError):
                await client.scatter(1, workers="nobody", timeout=0.1)
            return held[small.key], held[large.key], total["ndarray"], float((await large).sum())

    small, large, nbytes, total = asyncio.run(main())
    assert small == large == cluster.names
    assert nbytes > 24_000_000
    assert total == 0
