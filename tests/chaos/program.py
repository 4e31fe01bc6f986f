"""A user's program for the kill rounds: `python -m tests.chaos.program SEED DIRECTORY blocks|node`.

It submits a graph, writes each result that it has got as a line, and submits again what a lost
scheduler took along. It ends with 0 once every result has been had once and was right.
"""

from __future__ import annotations

import os
import random
import sys
import time
from concurrent.futures import as_completed
from pathlib import Path
from typing import Any

import numpy as np

import treadle
from treadle.errors import DependencyError, ResultLost, SchedulerLost, TaskDied
from treadle.executors import ClusterExecutor

TASKS = 120
#: What a kill may do to a task; all else is a fault.
EXCUSED = (SchedulerLost, ResultLost, TaskDied)


@treadle.python_app
def number(value: int, seconds: float) -> int:
    time.sleep(seconds)
    return value


@treadle.python_app
def array(value: int) -> Any:
    return np.full(600_000, float(value))


@treadle.python_app
def add(left: int, right: int) -> int:
    return left + right


@treadle.python_app
def first(values: Any) -> int:
    return int(values[0]) if values[0] == values[-1] else -1


def submit(dice: random.Random, count: int) -> dict[Any, tuple[int, int]]:
    """So many tasks of all kinds: their futures, with their number and the right result."""
    wanted: dict[Any, tuple[int, int]] = {}
    last: tuple[Any, int] | None = None
    for index in range(count):
        kind, value = dice.randrange(4), dice.randrange(1000)
        if kind == 0 or (kind == 1 and last is None):
            future, right = number(value, dice.choice((0, 0, 0.002, 0.02))), value
        elif kind == 1:
            assert last is not None
            future, right = add(last[0], value), last[1] + value
        elif kind == 2:
            future, right = first(array(value)), value
        else:
            future, right = add(number(value, 0.001), number(1, 0)), value + 1
        last = (future, right) if dice.random() < 0.7 else last
        wanted[future] = (index, right)
    return wanted


def excused(error: BaseException) -> bool:
    """Whether a kill may have done this."""
    while isinstance(error, DependencyError) and error.__cause__ is not None:
        error = error.__cause__
    return isinstance(error, EXCUSED)


def run(seed: int, directory: Path, kind: str) -> None:
    dice = random.Random(seed)
    kept = os.open(directory / "kept", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    executor = ClusterExecutor(slots=2) if kind == "node" else blocks()
    config = treadle.Config([executor], run_dir=directory / "runinfo", initialize_logging=False)
    with treadle.load(config):
        number(0, 0).result(timeout=30)
        print("ready", flush=True)
        left, rounds = TASKS, 0
        while left:
            rounds += 1
            if rounds > 20:
                raise SystemExit("too many rounds")
            wanted = submit(dice, left)
            left = 0
            for future in as_completed(wanted, timeout=40):
                index, right = wanted[future]
                try:
                    result = future.result(timeout=20)
                except BaseException as error:
                    if not excused(error):
                        raise
                    left += 1
                else:
                    if result != right:
                        raise SystemExit(f"task {index}: {result}, not {right}")
                    os.write(kept, f"{rounds} {index} {result}\n".encode())


def blocks() -> Any:
    """The same with a scheduler that stands alone and a worker in a block of its own."""
    from treadle.providers import LocalProvider

    provider = LocalProvider(init_blocks=1, min_blocks=1, max_blocks=2)
    return ClusterExecutor(slots=2, provider=provider)


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
