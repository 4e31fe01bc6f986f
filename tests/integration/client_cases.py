"""What tests of clients share: a client on two slots, and functions for its tasks."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.cluster_cases import gone
from treadle.client import Client


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """One for all tests of a module; nothing is left when it is closed."""
    before = psutil.Process().children(recursive=True)
    with Client(slots=2) as client:
        # Links that are kept from then on are not left behind by the test that needs one first.
        client.gather(client.map(bytes, [100_000] * 4))
        gc.collect()
        yield client
    mine = [p for p in psutil.Process().children(recursive=True) if p not in before]
    _, alive = psutil.wait_procs(mine, timeout=10)
    assert [process.cmdline() for process in alive if not gone(process)] == []


@pytest.fixture
def own_client() -> Iterator[Client]:
    """One for a test that leaves memory or links behind in it."""
    with Client(slots=2) as client:
        yield client


def inc(x):
    return x + 1


def add(*values, extra=0):
    return sum(values) + extra


def fail(text):
    raise ValueError(text)


def wait_for_file(path, value=None):
    """Runs until the file is there."""
    while not os.path.exists(path):
        time.sleep(0.005)
    return value


def begin_and_wait(path, other, value=None):
    """Says that it runs, and runs until the other file is there."""
    with open(path, "w"):
        pass
    return wait_for_file(other, value)


def fail_unless(path, value=None):
    if not os.path.exists(path):
        raise OSError(f"{os.path.basename(path)} is not there yet")
    return value
