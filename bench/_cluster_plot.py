"""The plot of processes: a panel for each row, a bar for each engine, ours in colour.

The only module here that needs matplotlib.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from pathlib import Path

    from _rows import Row
    from _runs import Book, Kind

OURS, THEIRS = "#1b6ca8", "#b9c3cc"
_COLUMNS = 4


def draw(book: Book, rows: Sequence[Row], engines: Mapping[str, Kind], path: Path) -> None:
    """Write the plot as an SVG, the same bytes for the same figures."""
    shown = [row for row in rows if _figures(book, row, engines)]
    lines = -(-len(shown) // _COLUMNS)
    with rc_context({"svg.hashsalt": "treadle", "svg.fonttype": "none", "font.size": 8}):
        figure = Figure(figsize=(13, 2.1 * lines), layout="constrained")
        panels = figure.subplots(lines, _COLUMNS, squeeze=False)
        for panel in panels.flat:
            panel.set_visible(False)
        for panel, row in zip(panels.flat, shown, strict=False):
            panel.set_visible(True)
            figures = _figures(book, row, engines)
            names = list(figures)
            colours = [OURS if name == "treadle" else THEIRS for name in names]
            panel.barh(range(len(names)), list(figures.values()), color=colours)
            panel.set_yticks(range(len(names)), [engines[name].title for name in names])
            panel.invert_yaxis()
            panel.set_xscale("log")
            better = "more" if row.more_is_better else "less"
            panel.set_title(f"{row.title}, {row.unit} ({better} is better)", fontsize=7)
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(axis="x", alpha=0.3)
            panel.set_axisbelow(True)
        figure.savefig(path, metadata={"Date": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")


def _figures(book: Book, row: Row, engines: Mapping[str, Kind]) -> dict[str, float]:
    found = {}
    for name in engines:
        best = book.best((row.measure, name, row.figure), most=row.more_is_better)
        if best is not None and best > 0:
            found[name] = best
    return found
