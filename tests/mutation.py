"""Faults put into a machine on purpose, to see whether its tests notice.

python -m tests.mutation ROOM            every fault of a room, and which are not noticed
python -m tests.mutation ROOM NAME       the room's tests with this one put in ('none': without)

A room's faults and its tests stand in its `mutants.py`, as a `Campaign`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("dataflow", "scheduler", "coordination", "worker")

#: A run that takes longer has met a fault that makes the machine run for ever.
_PATIENCE_S = 120


@dataclass(frozen=True)
class Mutant:
    """A line or two that are not as they should be."""

    name: str
    #: Dotted, below `treadle`.
    module: str
    right: str
    wrong: str

    @property
    def path(self) -> Path:
        return ROOT.joinpath("src", "treadle", *self.module.split(".")).with_suffix(".py")

    def source(self) -> str:
        """The module with the fault in it."""
        text = self.path.read_text(encoding="utf-8")
        count = text.count(self.right)
        assert count == 1, f"{self.name}: {self.right!r} stands {count} times in {self.path.name}"
        return text.replace(self.right, self.wrong)


@dataclass(frozen=True)
class Campaign:
    """The faults of one room, and the tests that are to notice them, the quickest first."""

    room: str
    suite: Sequence[str]
    mutants: Sequence[Mutant]
    #: Faults that no test notices, and why that may be.
    unnoticed: dict[str, str] = field(default_factory=dict)


def faults(module: str, *rows: tuple[str, str, str]) -> list[Mutant]:
    """The faults of one module: name, what is right, what is wrong."""
    return [Mutant(name, module, right, wrong) for name, right, wrong in rows]


def campaign(room: str) -> Campaign:
    """The campaign of a room."""
    found = import_module(f"tests.unit.{room}.mutants").CAMPAIGN
    assert isinstance(found, Campaign)
    return found


class _Loader(SourceFileLoader):
    """Loads one module with the fault in it."""

    def __init__(self, mutant: Mutant) -> None:
        super().__init__(f"treadle.{mutant.module}", str(mutant.path))
        self._faulty = compile(mutant.source(), str(mutant.path), "exec", dont_inherit=True)

    def get_code(self, fullname: str) -> CodeType:
        return self._faulty


class _Finder(MetaPathFinder):
    """Finds that loader, and nothing else."""

    def __init__(self, loader: _Loader) -> None:
        self._loader = loader

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return spec_from_file_location(fullname, self._loader.path, loader=self._loader)


def _run_with(suite: Sequence[str], mutant: Mutant | None) -> int:
    """Run a room's tests in this process, up to the first that fails."""
    import pytest

    if mutant is not None:
        sys.meta_path.insert(0, _Finder(_Loader(mutant)))
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not soak", "--tb=no", "--no-header"]
    return int(pytest.main([f"--rootdir={ROOT}", *options, *(str(ROOT / test) for test in suite)]))


def notices(room: str, name: str) -> bool:
    """Whether the tests, in a process of their own, fail with this fault (or without: 'none')."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tests.mutation", room, name],
            cwd=ROOT,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TREADLE_SOAK": ""},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return True
    if done.returncode not in (0, 1, 2):  # 2: the fault keeps a test from being collected
        raise RuntimeError(f"{name}: {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.returncode != 0


def survivors(room: str, mutants: Sequence[Mutant]) -> list[str]:
    """The names of those that the tests do not notice."""
    with ThreadPoolExecutor(2) as two:
        noticed = list(two.map(lambda mutant: notices(room, mutant.name), mutants))
    return [m.name for m, seen in zip(mutants, noticed, strict=True) if not seen]


def main(room: str, *names: str) -> int:
    """Run one fault here, or all of them elsewhere."""
    chosen = campaign(room)
    if names:
        mutant = next((m for m in chosen.mutants if m.name == names[0]), None)
        return _run_with(chosen.suite, mutant)
    left = survivors(room, chosen.mutants)
    count = len(chosen.mutants)
    print(f"{count - len(left)} of {count} noticed; not: {', '.join(left) or 'none'}")
    return len(left) > count // 10


if __name__ == "__main__":
    from tests import mutation  # its classes, not a second set of them

    sys.exit(mutation.main(*sys.argv[1:]))
