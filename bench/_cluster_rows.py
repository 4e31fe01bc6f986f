"""The rows of the table of processes: what each shows, and how it is measured."""

from __future__ import annotations

from _cluster_engines import ENGINES
from _rows import Measure, Row

ALL = tuple(ENGINES)
SUBMITS = tuple(name for name, engine in ENGINES.items() if engine.submits)
#: Those that can be asked for a million in reasonable time.
MANY = ("treadle", "processes")
CHAINS = tuple(name for name in SUBMITS if ENGINES[name].dataflow or name in ("processes", "loky"))

MEASURES = (
    Measure("submit", 20_000, SUBMITS, rate=True),
    Measure("map", 100_000, ALL, rate=True),
    Measure("round-trip", 2_000, SUBMITS, rate=True),
    Measure("chain", 2_000, CHAINS, rate=True),
    Measure("tree", 4_096, SUBMITS, rate=True),
    Measure("fan-in", 5_000, SUBMITS),
    Measure("broadcast", 100, ALL),
    Measure("pipeline", 20, SUBMITS),
    Measure("efficiency", 1_000, ALL),
    Measure("start", 1, ALL),
    Measure("pending", 100_000, SUBMITS, once=True, rate=True),
    Measure("many", 1_000_000, MANY, once=True, long=True),
)

ROWS = (
    Row("no-op tasks, submit loop then results", "1/s", "submit", "rate", more_is_better=True),
    Row("the same, processor time of all processes for each", "us", "submit", "cpu"),
    Row("no-op tasks, map", "1/s", "map", "rate", more_is_better=True),
    Row("the same, processor time of all processes for each", "us", "map", "cpu"),
    Row("round trip, median", "us", "round-trip", "p50"),
    Row("round trip, 99 of 100", "us", "round-trip", "p99"),
    Row("the same, processor time of all processes", "us", "round-trip", "cpu"),
    Row("chain, each link", "us", "chain", "wall"),
    Row("tree of sums, each task", "us", "tree", "wall"),
    Row("fan-in of 5,000, each leaf", "us", "fan-in", "wall"),
    Row("the same 100 MB array to 100 tasks", "s", "broadcast", "seconds"),
    Row("pipeline of 50 MB arrays, each step", "ms", "pipeline", "ms"),
    Row("the same, most memory above the start", "MB", "pipeline", "peak_mb"),
    Row("tasks of 10 ms on two slots, efficiency", "%", "efficiency", "percent", True),
    Row("import, start and first result", "ms", "start", "ms"),
    Row("100,000 tasks that wait, each", "bytes", "pending", "bytes"),
    Row("the same, rate", "1/s", "pending", "rate", more_is_better=True),
    Row("1,000,000 tasks that wait, each", "bytes", "many", "bytes"),
    Row("the same, rate", "1/s", "many", "rate", more_is_better=True),
)
