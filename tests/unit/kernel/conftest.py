"""A kernel on an executor that takes references."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import treadle
from tests.unit.kernel.fake_sink import FakeCluster
from treadle import Config
from treadle.errors import NoDataFlowKernelError


@pytest.fixture
def load(run_dir: Any) -> Iterator[Callable[..., FakeCluster]]:
    """Load a kernel with such an executor, and give that; its complaints fail the test."""
    clusters: list[FakeCluster] = []

    def load(*others: Any, config: dict[str, Any] | None = None, **options: Any) -> FakeCluster:
        cluster = FakeCluster(**options)
        clusters.append(cluster)
        executors = [cluster, *others]
        kernel = treadle.load(
            Config(executors, run_dir=run_dir, initialize_logging=False, **(config or {}))
        )
        cluster.kernel = kernel
        return cluster

    yield load
    for cluster in clusters:
        with contextlib.suppress(NoDataFlowKernelError):
            cluster.kernel.cleanup()
        assert cluster.sink.complaints == []
