"""One measure of one engine in a process of its own; see `_one_measure`."""

from __future__ import annotations

from typing import Any

from _cluster_tasks import noop
from _one_measure import run


def first(engine: Any) -> None:
    """A first result."""
    if engine.submits:
        engine.result(engine.app(noop)(1))
    else:
        list(engine.map(noop, [1]))


if __name__ == "__main__":
    run("_cluster_engines", "_cluster_measures", first)
