"""Datasets: kept under a name, whoever leaves."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import numpy as np
import pytest

from tests.integration.client_clusters import cluster_of, fail, twice
from tests.integration.cluster_cases import until
from treadle.client import Client, ClientFuture
from treadle.errors import TreadleError

pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    with cluster_of(tmp_path_factory.mktemp("cluster"), "a", "b") as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster.file) as client:
        yield client
        for name in client.list_datasets():
            client.unpublish_dataset(name)


@pytest.fixture
def other(cluster):
    with Client(cluster.file) as other:
        yield other


def test_a_dataset_is_had_by_others_with_its_shape(client, other):
    parts = client.map(twice, range(3))
    client.publish_dataset({"parts": parts, "of": ("three", 3)}, name="table")
    found = other.get_dataset("table")
    assert found["of"] == ("three", 3)
    assert [type(future) for future in found["parts"]] == [ClientFuture] * 3
    assert other.gather(found["parts"]) == [0, 2, 4]
    assert other.submit(sum, found["parts"]).result(20) == 6


def test_it_survives_its_publisher_and_all_futures(cluster, other):
    publisher = Client(cluster.file)
    computed = publisher.submit(twice, 21)
    given = publisher.scatter(np.arange(500_000))
    small = publisher.scatter("small")
    publisher.publish_dataset([computed, {"nested": (given, small)}], name="kept")
    publisher.close()
    del computed, given, small
    gc.collect()
    computed, nest = other.get_dataset("kept")
    assert computed.result(20) == 42
    assert int(nest["nested"][0].result(20)[-1]) == 499_999
    assert nest["nested"][1].result(20) == "small"
    other.unpublish_dataset("kept")
    assert int(other.submit(len, nest["nested"][0]).result(20)) == 500_000


def test_it_survives_a_publisher_that_dies(cluster, other):
    program = (
        "import os, sys, treadle\n"
        "client = treadle.Client(sys.argv[1])\n"
        "client.publish_dataset(client.submit(abs, -5), name='orphan')\n"
        "os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(cluster.file)], check=False, timeout=30)
    assert other.get_dataset("orphan").result(20) == 5
    other.unpublish_dataset("orphan")


def test_what_is_published_may_still_be_computing(client, other, tmp_path):
    def slowly(path):
        import time

        while not path.exists():
            time.sleep(0.01)
        return "done"

    client.publish_dataset(client.submit(slowly, tmp_path / "go"), name="soon")
    found = other.get_dataset("soon")
    assert found.status == "pending"
    (tmp_path / "go").touch()
    assert found.result(20) == "done"


def test_an_error_is_published_as_one(client, other):
    client.publish_dataset(client.submit(fail, "no"), name="bad")
    with pytest.raises(ValueError, match="no"):
        other.get_dataset("bad").result(20)


def test_names_are_listed_and_forgotten(client, other):
    client.publish_dataset(b=1, a=[client.submit(twice, 1)])
    assert other.list_datasets() == ("a", "b")
    assert other.get_dataset("b") == 1
    other.unpublish_dataset("a")
    assert client.list_datasets() == ("b",)
    with pytest.raises(KeyError, match=r"'a'.*\('b',\)"):
        client.get_dataset("a")
    with pytest.raises(KeyError, match="'a'"):
        client.unpublish_dataset("a")
    assert client.get_dataset("a", default=None) is None


def test_results_are_let_go_of_with_the_name(client, other):
    client.publish_dataset(client.submit(twice, 4), name="x")
    gc.collect()
    assert sum(map(len, other.has_what().values())) == 1
    other.unpublish_dataset("x")
    until(lambda: sum(map(len, other.has_what().values())) == 0)


def test_a_name_is_taken_until_it_is_overridden(client, other):
    client.publish_dataset(1, name="n")
    with pytest.raises(TreadleError, match="published already"):
        other.publish_dataset(2, name="n")
    other.publish_dataset(client_value := 3, name="n", override=True)
    assert client.get_dataset("n") == client_value


def test_datasets_are_a_mapping(client, other):
    client.datasets["t"] = [client.submit(twice, 2)]
    assert list(other.datasets) == ["t"]
    assert len(other.datasets) == 1
    assert "t" in other.datasets
    assert "u" not in other.datasets
    assert other.gather(other.datasets["t"]) == [4]
    other.datasets["t"] = 5
    assert dict(client.datasets) == {"t": 5}
    del client.datasets["t"]
    with pytest.raises(KeyError):
        other.datasets["t"]


def test_what_makes_no_sense_is_an_error_at_once(client):
    with pytest.raises(ValueError, match="name="):
        client.publish_dataset(1)
    with pytest.raises(ValueError, match="one value"):
        client.publish_dataset(1, 2, name="x")
    with pytest.raises(ValueError, match="nothing is given"):
        client.publish_dataset()
    with pytest.raises(ValueError, match="the name of a dataset: .* not 5"):
        client.get_dataset(5)
    with pytest.raises(ValueError, match="1 to 1000 characters"):
        client.publish_dataset(1, name="x" * 2_000)
    with pytest.raises(ValueError, match="scatter what is large"):
        client.publish_dataset(bytes(9 << 20), name="large")
    with Client(slots=1) as stranger, pytest.raises(ValueError, match="another client"):
        client.publish_dataset(stranger.scatter(1), name="x")


def test_an_asynchronous_client_has_them_too(cluster, other):
    async def main():
        async with Client(cluster.file, asynchronous=True) as client:
            await client.publish_dataset(await client.scatter([1, 2]), name="a")
            found = await client.get_dataset("a")
            with pytest.raises(TypeError, match="await"):
                client.datasets["a"]
            names = [name async for name in client.datasets]
            values = [await future for future in found]
            await client.unpublish_dataset("a")
            return names, values, await client.list_datasets()

    assert asyncio.run(main()) == (["a"], [1, 2], ())
