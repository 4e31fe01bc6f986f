"""What a task costs across processes, beside the peers: `scripts/bench cluster`.

Prints a table, and writes it with all figures and a plot into `bench/results/`. Peers that are not
installed are named and left out. A full run takes half an hour; `--scale 0.1` a tenth of the tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _cluster_engines import ENGINES
from _cluster_rows import MEASURES, ROWS
from _program import Comparison

CLUSTER = Comparison(
    name="cluster",
    heading="What a task costs across processes",
    description=__doc__,
    engines=ENGINES,
    measures=MEASURES,
    rows=ROWS,
    child=Path(__file__).with_name("_cluster_child.py"),
    repeat=3,
    plots=True,
)

if __name__ == "__main__":
    sys.exit(CLUSTER.run(sys.argv[1:]))
