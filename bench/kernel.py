"""What a task costs in the kernel, beside its peers: `scripts/bench kernel`.

Prints a table, and writes it with all figures into `bench/results/`. Peers that are not installed
are named and left out. A full run takes several minutes; `--scale 0.1` a tenth of the tasks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from _engines import ENGINES
from _program import Comparison
from _rows import MEASURES, ROWS

KERNEL = Comparison(
    name="kernel",
    heading="What a task costs in the kernel",
    description=__doc__,
    engines=ENGINES,
    measures=MEASURES,
    rows=ROWS,
    child=Path(__file__).with_name("_child.py"),
    repeat=5,
)

if __name__ == "__main__":
    sys.exit(KERNEL.run(sys.argv[1:]))
