"""What a task costs in the kernel, beside its peers: `scripts/bench kernel`.

Prints a table, and writes it with all figures into `bench/results/`. Peers that are not installed
are named and left out. A full run takes several minutes; `--scale 0.1` a tenth of the tasks.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from _engines import ENGINES
from _machine import facts
from _rows import MEASURES, ROWS
from _runs import run_all
from _table import as_json, as_markdown

RESULTS = Path(__file__).parent / "results"


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    names = [measure.name for measure in MEASURES]
    parser = argparse.ArgumentParser(prog="scripts/bench kernel", description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="runs of each engine (5)")
    parser.add_argument("--scale", type=float, default=1.0, help="so many times the tasks (1)")
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="MEASURE")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--million", action="store_true", help="also a million tasks in one run")
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run (300)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the results go")
    options = parser.parse_args(argv)
    if options.repeat < 1 or options.scale <= 0:
        parser.error("--repeat must be at least 1 and --scale greater than 0")
    return options


def main(argv: list[str]) -> int:
    """Measure, print, write."""
    options = parse(argv)
    engines = {name: ENGINES[name] for name in options.engines}
    book = run_all(
        [m for m in MEASURES if m.name in options.only and (options.million or not m.long)],
        engines,
        Path(__file__).with_name("_child.py"),
        scale=options.scale,
        repeat=options.repeat,
        limit_s=options.limit,
    )
    where = facts(shlex.join(["scripts/bench", "kernel", *argv]))
    table = as_markdown(
        "What a task costs in the kernel", book, ROWS, engines, where, options.repeat
    )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "kernel.md").write_text(table, encoding="utf-8")
    report = as_json(book, options.engines, where, options.repeat)
    (options.out / "kernel.json").write_text(report, encoding="utf-8")
    print(table, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
