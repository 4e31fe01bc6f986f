"""Draw the states of a task from the machines' tables of transitions into `docs/states.md`.

The kernel, the scheduler and the worker have a table each.

Only what stands between a pair of generated markers is replaced; the prose around it is kept.
`--check` writes nothing and fails if the page is stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from treadle.dataflow._transitions import TABLE
from treadle.dataflow.states import FINAL_FAILURE_STATES, FINAL_STATES, States
from treadle.scheduler import _transitions as scheduler
from treadle.worker import _job as worker

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "states.md"
BEGIN = "<!-- generated: {name} (scripts/draw_states.py) -->"
END = "<!-- end of {name} -->"


def shown() -> list[States]:
    """The states a task of the kernel can be in: those with a step in or out."""
    reached = {target for row in TABLE.values() for target in row.values()}
    return [state for state in TABLE if TABLE[state] or state in reached]


def diagram() -> str:
    """The table as a Mermaid state diagram, one arrow for each pair of states."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    lines.append(f"    [*] --> {next(iter(TABLE)).name}")
    for state in shown():
        arrows: dict[States, list[str]] = {}
        for step, target in TABLE[state].items():
            arrows.setdefault(target, []).append(step.name)
        for target, names in arrows.items():
            lines.append(f"    {state.name} --> {target.name}: {', '.join(names)}")
        if state in FINAL_STATES:
            lines.append(f"    {state.name} --> [*]")
    return "\n".join([*lines, "```"])


def numbers() -> str:
    """Each state, its number and whether it is final."""
    lines = ["| state | number | final |", "|---|---|---|"]
    for state in States:
        final = "without a result" if state in FINAL_FAILURE_STATES else "with a result"
        lines.append(
            f"| `{state.name}` | {state.value} | {final if state in FINAL_STATES else ''} |"
        )
    return "\n".join(lines)


def table() -> str:
    """Every legal step: where from, what happens, where to."""
    lines = ["| from | step | what happens | to |", "|---|---|---|---|"]
    for state in shown():
        for step, target in TABLE[state].items():
            lines.append(f"| `{state.name}` | `{step.name}` | {step.value} | `{target.name}` |")
    return "\n".join(lines)


def scheduler_diagram() -> str:
    """The scheduler's table as a Mermaid state diagram."""
    # An identifier of Mermaid's has no hyphen; the name that is shown may have one.
    names = {code: name.replace("-", "_") for code, name in enumerate(scheduler.STATES)}
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    lines += [
        f'    state "{scheduler.STATES[code]}" as {name}'
        for code, name in names.items()
        if name != scheduler.STATES[code]
    ]
    lines.append(f"    [*] --> {names[scheduler.RELEASED]}")
    for old, row in scheduler.TABLE.items():
        lines += [f"    {names[old]} --> {names[new]}" for new in row]
        if not row:
            lines.append(f"    {names[old]} --> [*]")
    return "\n".join([*lines, "```"])


def scheduler_table() -> str:
    """Every legal step at the scheduler: where from, where to, and what happens."""
    lines = ["| from | to | what happens |", "|---|---|---|"]
    for old, row in scheduler.TABLE.items():
        for new, why in row.items():
            lines.append(f"| `{scheduler.STATES[old]}` | `{scheduler.STATES[new]}` | {why} |")
    return "\n".join(lines)


def worker_diagram() -> str:
    """The worker's table of an attempt's stages as a Mermaid state diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    direction LR"]
    lines.append(f"    [*] --> {next(iter(worker.Stage)).name}")
    for old in worker.Stage:
        row = worker.TABLE[old]
        lines += [f"    {old.name} --> {new.name}" for new in row]
        if not row:
            lines.append(f"    {old.name} --> [*]")
    return "\n".join([*lines, "```"])


PARTS = {
    "numbers": numbers,
    "diagram": diagram,
    "table": table,
    "scheduler diagram": scheduler_diagram,
    "scheduler table": scheduler_table,
    "worker diagram": worker_diagram,
}


def redrawn(page: str) -> str:
    """The page with its generated parts drawn anew."""
    for name, draw in PARTS.items():
        begin, end = BEGIN.format(name=name), END.format(name=name)
        head, found, rest = page.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise SystemExit(
                f"{PAGE}: the markers {begin!r} ... {end!r} are missing; put them back"
            )
        page = f"{head}{begin}\n\n{draw()}\n\n{end}{tail}"
    return page


def main() -> int:
    """Redraw the page, or with --check say whether it would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if stale")
    check: bool = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    new = redrawn(page)
    if page == new:
        return 0
    if check:
        print("docs/states.md is stale: run scripts/draw_states.py and commit it", file=sys.stderr)
        return 1
    PAGE.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
