"""The processes that belong to a command: which they are, and how they are told to end.

A command runs in a session and a process group of its own, and a signal to the group reaches all
it started. What left the group (`setsid`, an interactive shell's jobs) is found by walking down
from parents to children, where the system shows processes under `/proc`.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import signal

_PROC = "/proc"


@dataclass(frozen=True, slots=True)
class Process:
    """A process, told from a later one with the same number by the time it was started."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class _Row:
    parent: int
    session: int
    state: str
    started: str


def family(leader: int) -> list[Process]:
    """The living members of the leader's session and all descendants of the leader."""
    table = _table()
    found = {pid for pid, row in table.items() if row.session == leader or pid == leader}
    children: dict[int, list[int]] = {}
    for pid, row in table.items():
        children.setdefault(row.parent, []).append(pid)
    todo = list(found)
    while todo:
        for child in children.get(todo.pop(), ()):
            if child not in found:
                found.add(child)
                todo.append(child)
    return [
        Process(pid, table[pid].started) for pid in found if pid in table and _lives(table[pid])
    ]


def is_alive(process: Process) -> bool:
    """Whether it still runs; one that waits for its parent to take notice does not."""
    row = _row(process.pid)
    return row is not None and row.started == process.started and _lives(row)


def signal_group(leader: int, number: signal.Signals) -> None:
    """Signal the leader's process group; nothing happens if it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def signal_one(process: Process, number: signal.Signals) -> None:
    """Signal a process if it is still the one that was found."""
    if is_alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _lives(row: _Row) -> bool:
    return row.state not in "ZX"


def _table() -> dict[int, _Row]:
    try:
        names = [entry.name for entry in os.scandir(_PROC) if entry.name.isdigit()]
    except OSError:  # not Linux
        return {}
    rows = ((int(name), _row(int(name))) for name in names)
    return {pid: row for pid, row in rows if row is not None}


def _row(pid: int) -> _Row | None:
    try:
        with open(f"{_PROC}/{pid}/stat", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    # The name in parentheses may hold anything, parentheses too; after it come plain fields.
    fields = text.rpartition(")")[2].split()
    return _Row(state=fields[0], parent=int(fields[1]), session=int(fields[3]), started=fields[19])
