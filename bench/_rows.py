"""The rows of the table: what each shows, how it is measured, and which engines it asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

ALL = ("treadle", "threads", "processes", "parsl", "parsl-quiet")
THREADS = ("treadle", "threads", "parsl", "parsl-quiet")
DATAFLOW = ("treadle", "parsl", "parsl-quiet")


@dataclass(frozen=True, slots=True)
class Measure:
    """One run of an engine: how large, and which engines can do it."""

    name: str
    size: int
    engines: Collection[str]
    #: Repetition would show the same: bytes, or a run of minutes.
    once: bool = False
    #: Runs only when asked for by `--million`.
    long: bool = False
    #: It shows so much for each task: a slow engine may get fewer.
    rate: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a figure of a measure."""

    title: str
    unit: str
    measure: str
    figure: str
    more_is_better: bool = False


MEASURES = (
    Measure("submit", 20_000, ALL),
    Measure("map", 20_000, ALL),
    Measure("round-trip", 3_000, ALL),
    Measure("chain", 3_000, ALL),
    Measure("held-chain", 10_000, DATAFLOW),
    Measure("fan-in", 5_000, THREADS),
    Measure("fan-out", 5_000, DATAFLOW),
    Measure("memory", 100_000, THREADS, once=True),
    Measure("cached", 2_000, DATAFLOW),
    Measure("checkpoint", 2_000, DATAFLOW),
    Measure("start", 1, ALL),
    Measure("million", 1_000_000, THREADS, once=True, long=True),
)

ROWS = (
    Row("no-op task, submit loop then results", "us", "submit", "wall"),
    Row("the same, processor time of all threads", "us", "submit", "cpu"),
    Row("the same, in the caller until submitted", "us", "submit", "submit"),
    Row("no-op task, map", "us", "map", "wall"),
    Row("the same, processor time", "us", "map", "cpu"),
    Row("round trip, median", "us", "round-trip", "p50"),
    Row("round trip, 99 of 100", "us", "round-trip", "p99"),
    Row("round trip, processor time", "us", "round-trip", "cpu"),
    Row("chain, each link", "us", "chain", "link"),
    Row("the same, processor time", "us", "chain", "cpu"),
    Row("chain submitted before it starts, each link", "us", "held-chain", "link"),
    Row("the same, processor time", "us", "held-chain", "cpu"),
    Row("fan-in, each leaf", "us", "fan-in", "wall"),
    Row("fan-out, each leaf, from the release", "us", "fan-out", "wall"),
    Row("memory of a waiting task", "bytes", "memory", "bytes"),
    Row("cached call, not seen before", "us", "cached", "miss"),
    Row("cached call, seen before", "us", "cached", "hit"),
    Row("with checkpoints at task exit, not seen before", "us", "checkpoint", "miss"),
    Row("with checkpoints at task exit, seen before", "us", "checkpoint", "hit"),
    Row("import", "ms", "start", "import_ms"),
    Row("load to first result", "ms", "start", "first_ms"),
    Row("a million tasks, rate", "1/s", "million", "rate", more_is_better=True),
    Row("a million tasks, the first tenth", "us", "million", "first"),
    Row("a million tasks, the last tenth", "us", "million", "last"),
    Row("a million tasks, most memory", "MB", "million", "peak_mb"),
)
