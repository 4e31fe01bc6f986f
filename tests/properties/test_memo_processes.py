"""A key is the same in every process, whatever its hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parents[2]

#: Prints the keys of many values and functions; the functions are the program's own.
PROGRAM = """
import collections, dataclasses, datetime, decimal, enum, functools, math, pathlib, random, re, types
import numpy as np
from tests.unit.memo.calls import KEYS, of_value
from treadle.dataflow.memo.registry import id_for_memo

class Colour(enum.Enum):
    RED = 1
    BLUE = 2

@dataclasses.dataclass
class Point:
    x: int
    tags: set = dataclasses.field(default_factory=set)

class Node:
    def __init__(self, name, parent=None):
        self.name, self.parent, self.kids = name, parent, set()
        if parent:
            parent.kids.add(self)

NAMES = {"alpha", "beta", "gamma", "delta"}
WAYS = {"a": lambda x: x, "b": lambda x: -x}
FUNCS = {len, sum, math.floor}
Z = frozenset({"one", "two", "three"})

def even(n):
    return n == 0 or odd(n - 1)

def odd(n):
    return n != 0 and even(n - 1)

def app(x, *rest, y=NAMES, **more):
    if x in {"p", "q", "r", "s"}:
        return Point(1), Colour.RED, WAYS["a"](x), FUNCS
    return [even(i) for i in rest], Z, re.compile("a"), collections.Counter(x), functools.reduce

@functools.lru_cache
def cached(x):
    return app(x)

root = Node("root")
for name in NAMES:
    Node(name + "'", Node(name, root))

values = [
    NAMES, {n: {n} for n in NAMES}, {(n, n): [n] for n in NAMES}, Z, Point(1, set(NAMES)), root, Colour.BLUE,
    {Colour.RED: 1, Colour.BLUE: 2}, {Point: 1, int: 2}, [even, odd, app], WAYS, FUNCS, np.arange(5),
    {np.int64(3), np.float64(2.5)}, np.array([{"a"}, {"b", "c"}], dtype=object), decimal.Decimal("1.10"),
    datetime.datetime(2024, 1, 1), pathlib.Path("a/b"), collections.Counter("hello"), float("nan"),
    collections.OrderedDict(a=1), types.SimpleNamespace(a=NAMES), functools.partial(app, 1), root.kids,
    Point(1).__eq__, Colour, types.MappingProxyType({n: 1 for n in NAMES}), random.Random(3), 10**5000,
    {frozenset({"a", "b"}), frozenset({"c"})}, collections.defaultdict(set, {n: {n} for n in NAMES}),
]
for value in values:
    print(of_value(value), id_for_memo(value).hex())
print(KEYS.make(app, ("x", 1), {"k": NAMES}).digest)
print(KEYS.make(cached, ("x",), {}).digest)
print(KEYS.make(root.__init__, ("x",), {}).digest)
"""


def keys_of(tmp_path: Path, seed: str) -> list[str]:
    script = tmp_path / f"program{seed}" / "main.py"
    script.parent.mkdir(exist_ok=True)
    script.write_text(PROGRAM)
    path = os.pathsep.join([str(HERE / "src"), str(HERE)])
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"PYTHONPATH": path, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.timeout(90)
def test_keys_are_the_same_in_processes_with_other_hash_seeds(tmp_path: Path) -> None:
    first = keys_of(tmp_path, "0")
    assert len(first) > 30
    assert len(set(first)) == len(first)
    for seed in ("1", "4242", "random"):
        assert keys_of(tmp_path, seed) == first
