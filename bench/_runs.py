"""Runs measures, engine beside engine, each in a fresh process; keeps every figure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Protocol

from _family import MARK, end_family

if TYPE_CHECKING:
    from _rows import Measure


class Kind(Protocol):
    """A class of engines, as far as it is looked at here."""

    title: str
    module: str
    share_of_tasks: float

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot run here, or None."""


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
    engines: Mapping[str, Kind],
    child: Path,
    *,
    scale: float,
    repeat: int,
    limit_s: float,
) -> Book:
    """Take all measures; one repetition asks all engines before the next begins.

    Args:
        child: the program that takes one measure of one engine.
    """
    book = Book()
    for measure in measures:
        asked = [name for name in measure.engines if name in engines]
        for number in range(1 if measure.once else repeat):
            for name in asked:
                if (measure.name, name) in book.absent:
                    continue
                print(f"{measure.name} {number + 1}: {name}", file=sys.stderr)
                share = engines[name].share_of_tasks if measure.rate else 1.0
                size = max(1, round(measure.size * scale * share))
                what = engines[name].module if measure.name == "start" else str(size)
                command = [sys.executable, str(child), name, measure.name, what]
                reason = engines[name].missing() or _run_one(book, command, limit_s)
                if reason is not None:
                    book.absent[measure.name, name] = reason
    return book


def _run_one(book: Book, command: list[str], limit_s: float) -> str | None:
    """Run one measure of one engine; why there are no figures, if there are none."""
    name, measure = command[2:4]
    # Daemons that an engine leaves behind are known by it, and end with the session.
    environment = {
        **os.environ,
        MARK: uuid.uuid4().hex,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONPATH": str(Path(__file__).parent),
    }
    program = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )
    try:
        out, err = program.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return f"not done after {limit_s:g} s"
    finally:
        end_family(environment[MARK])
        program.wait()
    if program.returncode:
        last = (err.strip().splitlines() or ["no words"])[-1]
        return f"exit code {program.returncode}: {last}"
    for figure, value in json.loads(out.splitlines()[-1]).items():
        book.values.setdefault((measure, name, figure), []).append(value)
    return None
