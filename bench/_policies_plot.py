"""The plot of policies: bars for each workload, a panel for each figure.

The only module here that needs matplotlib.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PANELS: dict[str, Callable[[dict[str, Any], dict[str, float]], float]] = {
    "makespan / lower bound": lambda row, most: row["makespan_s"] / row["bound_s"],
    "peak memory, of the most": lambda row, most: row["peak_bytes"] / most["peak_bytes"],
    "moved, of all inputs": lambda row, most: row["moved_bytes"] / max(1, row["input_bytes"]),
}
COLOURS = ("#1b6ca8", "#8fc1e3", "#c8553d", "#f0b7a4")


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Write the plot as an SVG, the same bytes for the same figures."""
    workloads = list(dict.fromkeys(row["workload"] for row in rows))
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    most = {
        name: {"peak_bytes": max(1, *(r["peak_bytes"] for r in rows if r["workload"] == name))}
        for name in workloads
    }
    with rc_context({"svg.hashsalt": "treadle", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(10, 0.62 * len(workloads) + 1.3), layout="constrained")
        panels = figure.subplots(1, len(PANELS), sharey=True)
        height = 0.8 / len(policies)
        for panel, (title, value) in zip(panels, PANELS.items(), strict=True):
            for number, policy in enumerate(policies):
                its = {r["workload"]: r for r in rows if r["policy"] == policy}
                panel.barh(
                    [place + (number + 0.5) * height - 0.4 for place in range(len(its))],
                    [value(row, most[name]) for name, row in its.items()],
                    height,
                    color=COLOURS[number % len(COLOURS)],
                    label=policy,
                )
            panel.set_title(title)
            panel.set_yticks(range(len(workloads)), workloads)
            panel.spines[["top", "right"]].set_visible(False)
            panel.grid(axis="x", alpha=0.3)
            panel.set_axisbelow(True)
        panels[0].axvline(1, color="black", linewidth=0.8)
        panels[0].invert_yaxis()
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
        figure.savefig(path, metadata={"Date": None})
    text = path.read_text(encoding="utf-8")
    path.write_text("\n".join(line.rstrip() for line in text.splitlines()) + "\n", "utf-8")
