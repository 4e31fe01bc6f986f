"""The report: a table for people and the same as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _rows import Row
    from _runs import Book, Kind

OURS = "treadle"


def as_markdown(
    heading: str,
    book: Book,
    all_rows: Sequence[Row],
    engines: Mapping[str, Kind],
    facts: dict[str, str],
    repeat: int,
) -> str:
    """Facts, then a line for each figure: best (median) and, beside it, the ratio to ours."""
    lines = [f"# {heading}", ""]
    lines += [f"- {name}: {value}" for name, value in facts.items()]
    lines += [
        "",
        f"Each cell: the best of {repeat} interleaved runs, the median in parentheses; beside a "
        f"peer's, how many times Treadle's best goes into it (above 1: Treadle is better). Each "
        f"run is a fresh process with two workers.",
        "",
        "| | " + " | ".join(engine.title for engine in engines.values()) + " |",
        "|---|" + "---:|" * len(engines),
    ]
    rows = [row for row in all_rows if _has_any(book, row, tuple(engines))]
    for row in rows:
        cells = [_cell(book, row, name) for name in engines]
        lines.append(f"| {row.title}, {row.unit} | " + " | ".join(cells) + " |")
    notes = sorted({f"{engines[n].title}, {m}: {why}" for (m, n), why in book.absent.items()})
    if notes:
        lines += ["", "No figures:", "", *[f"- {note}" for note in notes]]
    return "\n".join(lines) + "\n"


def as_json(book: Book, engines: Sequence[str], facts: dict[str, str], repeat: int) -> str:
    """All figures of all repetitions."""
    figures: dict[str, dict[str, dict[str, list[float]]]] = {}
    for (measure, name, figure), values in book.values.items():
        row = figures.setdefault(measure, {}).setdefault(figure, {})
        row[name] = [round(value, 3) for value in values]
    absent = [
        {"measure": measure, "engine": name, "why": why}
        for (measure, name), why in book.absent.items()
    ]
    report = {
        "machine": facts,
        "engines": list(engines),
        "repeat": repeat,
        "figures": figures,
        "absent": absent,
    }
    return json.dumps(report, indent=1) + "\n"


def _has_any(book: Book, row: Row, engines: Sequence[str]) -> bool:
    return any(book.best((row.measure, name, row.figure)) is not None for name in engines)


def _cell(book: Book, row: Row, name: str) -> str:
    key = (row.measure, name, row.figure)
    best, middle = book.best(key, most=row.more_is_better), book.median(key)
    if best is None or middle is None:
        return "absent" if (row.measure, name) in book.absent else "-"
    text = f"{_number(best)} ({_number(middle)})"
    ours = book.best((row.measure, OURS, row.figure), most=row.more_is_better)
    if name == OURS or not ours or not best:
        return text
    ratio = ours / best if row.more_is_better else best / ours
    return f"{text} x{_number(ratio)}"


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"
