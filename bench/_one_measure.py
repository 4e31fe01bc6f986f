"""One measure of one engine in a process of its own: `python CHILD.py ENGINE MEASURE SIZE`.

Prints the figures as one line of JSON, the last one.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any


def run(engines: str, measures: str, first: Callable[[Any], object]) -> None:
    """Do what the command line says.

    Args:
        engines, measures: the modules that have them.
        first: gets a first result of an engine.
    """
    name, what, size = sys.argv[1:]
    with tempfile.TemporaryDirectory() as run_dir:
        if what == "start":
            figures = _start_up(engines, name, run_dir, first)
        else:
            engine = import_module(engines).ENGINES[name]()
            engine.start(run_dir)
            figures = import_module(measures).MEASURES[what](engine, int(size))
            engine.stop()
    print(json.dumps(figures), flush=True)


def _start_up(
    engines: str, name: str, run_dir: str, first: Callable[[Any], object]
) -> dict[str, float]:
    """From nothing to the first result, with the import of the engine."""
    began = time.perf_counter()
    engine = import_module(engines).ENGINES[name]()
    engine.start(run_dir)
    first(engine)
    seconds = time.perf_counter() - began
    engine.stop()
    return {"ms": 1e3 * seconds}
