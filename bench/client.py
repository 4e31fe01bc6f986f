"""What a client costs, beside Dask's: `scripts/bench client`.

Prints a table, and writes it with all figures and a plot into `bench/results/`. What is not
installed is named and left out. A full run takes five minutes; `--scale 0.1` a tenth of the tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _client_engines import ENGINES
from _program import Comparison
from _rows import Measure, Row

ALL = tuple(ENGINES)

MEASURES = (
    Measure("submit", 10_000, ALL),
    Measure("map", 10_000, ALL),
    Measure("round-trip", 1_000, ALL),
    Measure("gather", 10_000, ALL),
    Measure("as-completed", 10_000, ALL),
    Measure("chain", 1_000, ALL),
    Measure("tree", 4_096, ALL),
    Measure("actor", 1_000, ALL),
    Measure("scatter", 100, ALL),
    Measure("gather-arrays", 100, ALL),
    Measure("start", 1, ALL),
)

ROWS = (
    Row("submit in a loop then gather, each task", "us", "submit", "wall"),
    Row("the same, processor time of all processes", "us", "submit", "cpu"),
    Row("the same, in the caller until submitted", "us", "submit", "submit"),
    Row("map then gather, each task", "us", "map", "wall"),
    Row("the same, processor time of all processes", "us", "map", "cpu"),
    Row("round trip, median", "us", "round-trip", "p50"),
    Row("round trip, 99 of 100", "us", "round-trip", "p99"),
    Row("gather of 10,000 that are done, each", "us", "gather", "wall"),
    Row("map, then each result as it is completed", "us", "as-completed", "wall"),
    Row("chain of 1,000 through get, each link", "us", "chain", "wall"),
    Row("tree of sums through get, each task", "us", "tree", "wall"),
    Row("call of an actor, round trip, median", "us", "actor", "p50"),
    Row("1,000 calls of an actor at once, each", "us", "actor", "wall"),
    Row("scatter of 1 GB in 100 parts", "s", "scatter", "seconds"),
    Row("the same, until a task has looked at each", "s", "scatter", "used"),
    Row("gather of 1 GB in 100 parts", "s", "gather-arrays", "seconds"),
    Row("the same, until all of it was read", "s", "gather-arrays", "used"),
    Row("import, start and first result", "ms", "start", "ms"),
)


CLIENT = Comparison(
    name="client",
    heading="What a client costs",
    description=__doc__,
    engines=ENGINES,
    measures=MEASURES,
    rows=ROWS,
    child=Path(__file__).with_name("_client_child.py"),
    repeat=3,
    plots=True,
)

if __name__ == "__main__":
    sys.exit(CLIENT.run(sys.argv[1:]))
