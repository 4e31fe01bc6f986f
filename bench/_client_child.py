"""One measure of one client in a process of its own; see `_one_measure`."""

from __future__ import annotations

from typing import Any

from _cluster_tasks import noop
from _one_measure import run


def first(engine: Any) -> None:
    """A first result."""
    engine.client.submit(noop, 1).result()


if __name__ == "__main__":
    run("_client_engines", "_client_measures", first)
