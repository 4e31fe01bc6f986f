"""What tests of clients share: a cluster of several workers, and tasks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.integration.test_cluster_standalone import Programs
from treadle.client import Client


class Cluster:
    """A scheduler and workers in processes of their own, and a client."""

    def __init__(self, programs: Programs, client: Client, names: list[str]) -> None:
        self.programs = programs
        self.client = client
        self.names = names

    @property
    def file(self) -> Path:
        """What other clients are given as an address."""
        return self.programs.file

    def start_worker(self, name: str, *arguments: str) -> Any:
        """One more worker."""
        return self.programs.worker("--id", name, *arguments)


@contextmanager
def cluster_of(folder: Path, *names: str) -> Iterator[Cluster]:
    """A cluster of workers with these names, one slot each; all that was started ends with it."""
    programs = Programs(folder)
    try:
        programs.scheduler()
        for name in names:
            programs.worker("--id", name)
        with Client(programs.file) as client:
            client.wait_for_workers(len(names), timeout=30)
            yield Cluster(programs, client, list(names))
    finally:
        programs.end()


def twice(x: Any) -> Any:
    return 2 * x


def fail(text: str) -> None:
    raise ValueError(text)
