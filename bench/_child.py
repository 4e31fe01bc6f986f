"""One measure of one engine in a process of its own: `python _child.py ENGINE MEASURE SIZE`.

Prints the figures as one line of JSON, the last one. The measure `start` takes the name of the
engine's module in place of the size, and imports it before anything else.
"""

from __future__ import annotations

import sys
import time


def start_up(engine_name: str, module: str) -> dict[str, float]:
    """From nothing to the first result: the import, then the load with one task."""
    before = time.perf_counter()
    __import__(module)
    import_ms = 1e3 * (time.perf_counter() - before)
    import tempfile

    from _engines import ENGINES
    from _tasks import noop

    with tempfile.TemporaryDirectory() as run_dir:
        engine = ENGINES[engine_name]()
        before = time.perf_counter()
        engine.start(run_dir)
        engine.app(noop)().result()
        first_ms = 1e3 * (time.perf_counter() - before)
        engine.stop()
    return {"import_ms": import_ms, "first_ms": first_ms}


def measure(engine_name: str, name: str, size: int) -> dict[str, float]:
    """Start the engine, take the measure, end the engine."""
    import tempfile

    from _engines import ENGINES
    from _measures import MEASURES

    with tempfile.TemporaryDirectory() as run_dir:
        engine = ENGINES[engine_name]()
        engine.start(run_dir, checkpoint=name == "checkpoint")
        figures = MEASURES[name](engine, size)
        engine.stop()
    return figures


if __name__ == "__main__":
    engine_name, name, size = sys.argv[1:]
    if name == "start":
        result = start_up(engine_name, size)
    else:
        result = measure(engine_name, name, int(size))
    import json

    print(json.dumps(result), flush=True)
