"""Clients that speak Dask's language, by name: each with a cluster of two processes of its own.

The measures are one code for both, but for what an engine needs to be at its best.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

SLOTS = 2


class ClientEngine:
    """A client and its cluster."""

    name: ClassVar[str]
    title: ClassVar[str]
    module: ClassVar[str]
    share_of_tasks: ClassVar[float] = 1.0
    #: What its scatter does best with, beside the data.
    scatter_options: ClassVar[dict[str, Any]] = {}

    client: Any
    #: Its `wait` and its `as_completed`.
    wait: Callable[[Sequence[Any]], Any]
    as_completed: Callable[[Sequence[Any]], Any]

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""
        found = importlib.util.find_spec(cls.module.partition(".")[0])
        return None if found else f"{cls.module} is not installed"

    def start(self, run_dir: str) -> None:
        """Make it ready for tasks."""
        raise NotImplementedError

    def stop(self) -> None:
        """End it."""
        raise NotImplementedError


class Treadle(ClientEngine):
    name, title, module = "treadle", "Treadle", "treadle"
    # Without a digest of the data.
    scatter_options: ClassVar[dict[str, Any]] = {"hash": False}

    def start(self, run_dir: str) -> None:
        from treadle import Client, as_completed, wait

        self.client, self.wait, self.as_completed = Client(slots=SLOTS), wait, as_completed

    def stop(self) -> None:
        self.client.close()


class Dask(ClientEngine):
    """Distributed, two worker processes of one thread each."""

    name, title, module = "dask", "Dask", "distributed"
    # Without a digest of the data, and straight to the workers: faster than its defaults.
    scatter_options: ClassVar[dict[str, Any]] = {"hash": False, "direct": True}

    def start(self, run_dir: str) -> None:
        from distributed import Client, LocalCluster, as_completed, wait

        self._cluster = LocalCluster(
            n_workers=SLOTS, threads_per_worker=1, processes=True, dashboard_address=None,
            local_directory=run_dir,
        )  # fmt: skip
        self.client, self.wait, self.as_completed = Client(self._cluster), wait, as_completed

    def stop(self) -> None:
        self.client.close()
        self._cluster.close()


ENGINES: dict[str, type[ClientEngine]] = {kind.name: kind for kind in (Treadle, Dask)}
