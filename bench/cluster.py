"""What a task costs across processes, beside the peers: `scripts/bench cluster`.

Prints a table, and writes it with all figures and a plot into `bench/results/`. Peers that are not
installed are named and left out. A full run takes half an hour; `--scale 0.1` a tenth of the tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from _cluster_engines import ENGINES
from _cluster_rows import MEASURES, ROWS
from _program import Comparison

if TYPE_CHECKING:
    from _runs import Book, Kind


def plot(book: Book, engines: Mapping[str, Kind], path: Path) -> None:
    """Draw the figures, where matplotlib is installed."""
    if find_spec("matplotlib") is not None:
        from _cluster_plot import draw

        draw(book, ROWS, engines, path)


CLUSTER = Comparison(
    name="cluster",
    heading="What a task costs across processes",
    description=__doc__,
    engines=ENGINES,
    measures=MEASURES,
    rows=ROWS,
    child=Path(__file__).with_name("_cluster_child.py"),
    repeat=3,
    draw=plot,
)

if __name__ == "__main__":
    sys.exit(CLUSTER.run(sys.argv[1:]))
