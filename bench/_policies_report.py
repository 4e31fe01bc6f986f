"""The table of policies: a line for each run."""

from __future__ import annotations

from typing import Any

GB = 1e9


def as_markdown(rows: list[dict[str, Any]], setting: dict[str, str]) -> str:
    """Facts, then a line for each workload and policy; the best of a workload is bold."""
    lines = ["# What the scheduler's policies gain and cost", ""]
    lines += [f"- {name}: {value}" for name, value in setting.items()]
    lines += [
        "",
        "Makespan: how many times max(critical path, work / slots), which no schedule can beat.",
        "Memory: the most that all workers held at once, copies included; what is least for each",
        "workload stands beside its name. Moved: between workers, and how much of all inputs that",
        "is. CPU: of the scheduler, for a task.",
        "",
        "| workload | policy | makespan | memory, GB | moved, GB | of inputs | CPU, us |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for workload in dict.fromkeys(row["workload"] for row in rows):
        its = [row for row in rows if row["workload"] == workload]
        lines += [_line(row, its) for row in its]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any], its: list[dict[str, Any]]) -> str:
    title = ""
    if row is its[0]:
        least = _short(row["least_memory_bytes"] / GB)
        title = f"{row['workload']}: {row['tasks']:,} tasks, {least} GB"
    cells = [
        _cell(row["makespan_s"] / row["bound_s"], [r["makespan_s"] / r["bound_s"] for r in its]),
        _cell(row["peak_bytes"] / GB, [r["peak_bytes"] / GB for r in its]),
        _cell(row["moved_bytes"] / GB, [r["moved_bytes"] / GB for r in its]),
        f"{100 * row['moved_bytes'] / max(1, row['input_bytes']):.0f} %",
        f"{row['cpu_us']:.0f}",
    ]
    return f"| {title} | {row['policy']} | " + " | ".join(cells) + " |"


def _cell(value: float, of: list[float]) -> str:
    """A figure, bold if none is better as far as it is shown."""
    text = _short(value)
    return f"**{text}**" if text == _short(min(of)) else text


def _short(value: float) -> str:
    """Three digits that count."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
