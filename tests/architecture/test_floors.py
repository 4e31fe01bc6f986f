"""Imports go down the stair, and every module has its step."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.house import (
    PACKAGE,
    ROOT,
    floor_of,
    name_of,
    path_of,
    run_time_imports,
    sources,
    tree_of,
)

#: Packages whose rooms stand on several floors: their `__init__` may hand on nothing.
SPLIT_PACKAGES = ("treadle.dataflow", "treadle.data_provider")
#: Floors that are one room: the leaves, the kernel with its data manager, and the face.
OPEN_FLOORS = (0, 7, 9)


@pytest.mark.timeout(120)
def test_the_contracts_of_import_linter_are_kept():
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_has_just_one_floor():
    misplaced = {}
    for path in sources():
        name = name_of(path)
        if name != "treadle" and name not in SPLIT_PACKAGES and len(floor_of(name)) != 1:
            misplaced[name] = floor_of(name)
    assert misplaced == {}, "give it a place in the layers of pyproject.toml"


@pytest.mark.parametrize("package", SPLIT_PACKAGES)
def test_a_package_on_several_floors_imports_nothing(package):
    imports = [
        module
        for _, module, _ in run_time_imports(tree_of(path_of(package)))
        if module.startswith("treadle")
    ]
    assert imports == []


def test_neighbours_on_a_floor_do_not_know_each_other():
    found = []
    for path in sources():
        importer = name_of(path)
        for line, imported in module_imports(path):
            same_floor = floor_of(importer) and floor_of(importer) == floor_of(imported)
            if same_floor and room_of(importer) != room_of(imported):
                found.append(f"{importer}, line {line}: {imported}")
    assert found == [], "go through a room below, or declare a Protocol for what you need"


def test_no_modules_import_each_other_in_a_circle():
    graph = {
        name_of(path): {name for _, name in module_imports(path, lazy=False)} for path in sources()
    }
    while leaves := {name for name, needs in graph.items() if not needs & set(graph)}:
        for name in leaves:
            del graph[name]
    assert {name: needs & set(graph) for name, needs in graph.items()} == {}


def test_only_the_face_imports_the_face():
    found = []
    face = path_of("treadle")
    for path in sources():
        if path == face or path.is_relative_to(PACKAGE / "compat") or path.name == "__main__.py":
            continue
        for line, module, name in run_time_imports(tree_of(path)):
            if module == "treadle" and (name is None or not exists(f"treadle.{name}")):
                found.append(f"{name_of(path)}, line {line}: import from the room, not the face")
    assert found == []


def module_imports(path: Path, *, lazy: bool = True) -> Iterator[tuple[int, str]]:
    """Line and name of each module of ours that a module imports; lazy ones if asked for."""
    for line, module, name in run_time_imports(tree_of(path), lazy=lazy):
        if module.split(".")[0] == "treadle":
            inner = f"{module}.{name}"
            yield line, inner if name and exists(inner) else module


def room_of(module: str) -> str:
    """The room of a module: its folder, or the lowest or the kernel's floor as a whole."""
    (floor,) = floor_of(module)
    return str(floor) if floor in OPEN_FLOORS else module.split(".")[1]


def exists(module: str) -> bool:
    return path_of(module).exists()
