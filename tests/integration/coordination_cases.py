"""What tests of coordination share: a cluster, two clients of it, and a name for each test."""

from __future__ import annotations

import pytest

from treadle import wire
from treadle.client import Client, Lock


@pytest.fixture(name="client", scope="module")
def a_client():
    with Client(slots=2) as client:
        # The links that the client will have are there before a test counts descriptors.
        assert client.scatter([1], timeout=20)[0].result(20) == 1
        yield client


@pytest.fixture(name="other")
def another(client):
    """Another client of the same cluster."""
    with Client(client.connection_file, set_as_default=False) as other:
        yield other


@pytest.fixture(name="name")
def its_name(request, client):
    return request.node.name


def in_line(client, name):
    """How many wait for the lock."""
    asked = client._ask(lambda ask: wire.Holders(ask, f"lock/{name}"))
    return client._do(asked)[2]


def held(name):
    return Lock(name).locked()
