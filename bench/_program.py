"""What the programs that compare engines share: a command line, a run, a report."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from _machine import facts
from _runs import Kind, run_all
from _table import as_json, as_markdown

if TYPE_CHECKING:
    from _rows import Measure, Row

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """What is compared: `scripts/bench NAME`.

    `child`: the program that takes one measure of one engine. `repeat`: runs of each by default.
    `plots`: a plot is drawn, if there are figures and matplotlib is installed.
    """

    name: str
    heading: str
    description: str
    engines: Mapping[str, Kind]
    measures: Sequence[Measure]
    rows: Sequence[Row]
    child: Path
    repeat: int
    plots: bool = False

    def run(self, argv: list[str]) -> int:
        """Measure, print, write into `bench/results/`."""
        options = self._parse(argv)
        engines = {name: self.engines[name] for name in options.engines}
        chosen = [
            m for m in self.measures if m.name in options.only and (options.million or not m.long)
        ]
        book = run_all(
            chosen,
            engines,
            self.child,
            scale=options.scale,
            repeat=options.repeat,
            limit_s=options.limit,
        )
        where = facts(shlex.join(["scripts/bench", self.name, *argv]))
        table = as_markdown(self.heading, book, self.rows, engines, where, options.repeat)
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / f"{self.name}.md").write_text(table, encoding="utf-8")
        report = as_json(book, options.engines, where, options.repeat)
        (options.out / f"{self.name}.json").write_text(report, encoding="utf-8")
        if self.plots and book.values and find_spec("matplotlib") is not None:
            from _cluster_plot import draw

            draw(book, self.rows, engines, options.out / f"{self.name}.svg")
        print(table, end="")
        return 0

    def _parse(self, argv: list[str]) -> argparse.Namespace:
        names = [measure.name for measure in self.measures]
        engines = list(self.engines)
        parser = argparse.ArgumentParser(
            prog=f"scripts/bench {self.name}", description=self.description
        )
        parser.add_argument(
            "--repeat",
            type=int,
            default=self.repeat,
            help=f"runs of each engine ({self.repeat})",
        )
        parser.add_argument("--scale", type=float, default=1.0, help="so many times the tasks (1)")
        parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="MEASURE")
        parser.add_argument("--engines", nargs="+", choices=engines, default=engines)
        parser.add_argument("--million", action="store_true", help="also a million tasks in a run")
        parser.add_argument("--limit", type=float, default=300, help="seconds for one run (300)")
        parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
        options = parser.parse_args(argv)
        if options.repeat < 1 or options.scale <= 0:
            parser.error("--repeat must be at least 1 and --scale greater than 0")
        return options
