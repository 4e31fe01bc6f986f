"""Imports go down the stair, and every module has its step."""

from __future__ import annotations

import subprocess
import sys
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


def exists(module: str) -> bool:
    return path_of(module).exists()
