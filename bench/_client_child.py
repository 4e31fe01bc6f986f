"""One measure of one client in a process of its own: `python _client_child.py ENGINE MEASURE SIZE`.

Prints the figures as one line of JSON, the last one.
"""

from __future__ import annotations

import sys
import time


def start_up(name: str) -> dict[str, float]:
    """From nothing to the first result, with the import of the engine."""
    import tempfile

    from _cluster_tasks import noop

    began = time.perf_counter()
    from _client_engines import ENGINES

    with tempfile.TemporaryDirectory() as run_dir:
        engine = ENGINES[name]()
        engine.start(run_dir)
        engine.client.submit(noop, 1).result()
        seconds = time.perf_counter() - began
        engine.stop()
    return {"ms": 1e3 * seconds}


def measure(name: str, what: str, size: int) -> dict[str, float]:
    """Start the engine, take the measure, end the engine."""
    import tempfile

    from _client_engines import ENGINES
    from _client_measures import MEASURES

    with tempfile.TemporaryDirectory() as run_dir:
        engine = ENGINES[name]()
        engine.start(run_dir)
        figures = MEASURES[what](engine, size)
        engine.stop()
    return figures


if __name__ == "__main__":
    name, what, size = sys.argv[1:]
    result = start_up(name) if what == "start" else measure(name, what, int(size))
    import json

    print(json.dumps(result), flush=True)
