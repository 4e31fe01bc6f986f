"""Runs measures, engine beside engine, each in a fresh process; keeps every figure."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from _engines import ENGINES

if TYPE_CHECKING:
    from _rows import Measure

CHILD = Path(__file__).with_name("_child.py")

#: Measure, engine and figure.
Key = tuple[str, str, str]


@dataclass(slots=True)
class Book:
    """All figures of a run."""

    values: dict[Key, list[float]] = field(default_factory=dict)
    #: Why an engine gave no figures for a measure: by measure and engine.
    absent: dict[tuple[str, str], str] = field(default_factory=dict)

    def best(self, key: Key, *, most: bool = False) -> float | None:
        """The best of all repetitions: what the machine's other work disturbed least."""
        values = self.values.get(key)
        return None if not values else max(values) if most else min(values)

    def median(self, key: Key) -> float | None:
        """The middle one of all repetitions."""
        values = self.values.get(key)
        return median(values) if values else None


def run_all(
    measures: Iterable[Measure],
    engines: Collection[str],
    *,
    scale: float,
    repeat: int,
    limit_s: float,
) -> Book:
    """Take all measures; one repetition asks all engines before the next begins."""
    book = Book()
    for measure in measures:
        asked = [name for name in measure.engines if name in engines]
        for number in range(1 if measure.once else repeat):
            for name in asked:
                if (measure.name, name) in book.absent:
                    continue
                print(f"{measure.name} {number + 1}: {name}", file=sys.stderr)
                _run_one(book, measure, name, max(1, round(measure.size * scale)), limit_s)
    return book


def _run_one(book: Book, measure: Measure, name: str, size: int, limit_s: float) -> None:
    reason = ENGINES[name].missing()
    if reason is not None:
        book.absent[measure.name, name] = reason
        return
    what = ENGINES[name].module if measure.name == "start" else str(size)
    command = [sys.executable, str(CHILD), name, measure.name, what]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s)
    except subprocess.TimeoutExpired:
        book.absent[measure.name, name] = f"not done after {limit_s:g} s"
        return
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no words"])[-1]
        book.absent[measure.name, name] = f"exit code {done.returncode}: {last}"
        return
    for figure, value in json.loads(done.stdout.splitlines()[-1]).items():
        book.values.setdefault((measure.name, name, figure), []).append(value)
