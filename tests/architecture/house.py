"""What the architecture tests read: the modules, their syntax trees, and the floors they stand on."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"
PACKAGE = SRC / "treadle"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CONTRACTS = {c["id"]: c for c in PROJECT["tool"]["importlinter"]["contracts"]}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """Every Python file of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> str:
    """The dotted name of a module, given its file."""
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def path_of(name: str) -> Path:
    """The file of a module, given its dotted name."""
    path = SRC.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def floors() -> list[list[str]]:
    """The modules of each floor, from the lowest up, as import-linter is told."""
    layers = CONTRACTS["floors"]["layers"]
    return [re.findall(r"treadle[\w.]*", layer) for layer in reversed(layers)]


def floor_of(module: str) -> list[int]:
    """The floors that claim a module; just one, if the house is in order."""
    return [
        number
        for number, rooms in enumerate(floors())
        if any(module == room or module.startswith(room + ".") for room in rooms)
    ]


def pure_modules() -> list[Path]:
    """The files that the purity contract covers."""
    return [
        path
        for path in sources()
        for pure in CONTRACTS["purity"]["source_modules"]
        if name_of(path) == pure or name_of(path).startswith(pure + ".")
    ]


def run_time_imports(tree: ast.AST, *, lazy: bool = True) -> Iterator[tuple[int, str, str | None]]:
    """Line, module and name of each import at run time; those inside functions if asked for."""
    for node in _executed(tree, lazy=lazy):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, None
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, node.module, alias.name


def _executed(tree: ast.AST, *, lazy: bool) -> Iterator[ast.AST]:
    """Every node but those in `if TYPE_CHECKING:`, and but those in functions unless asked for."""
    for child in ast.iter_child_nodes(tree):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            for other in child.orelse:
                yield from _executed(other, lazy=lazy)
        elif lazy or not isinstance(child, Function):
            yield child
            yield from _executed(child, lazy=lazy)


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Function]]:
    """Every function of a module with its qualified name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name, node
            yield from functions(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.ClassDef):
            yield from functions(node, f"{prefix}{node.name}.")
        else:
            yield from functions(node, prefix)


def length(node: Function) -> int:
    """Lines of a function, decorators and docstring left out."""
    assert node.end_lineno is not None
    lines = node.end_lineno - node.lineno + 1
    first = node.body[0]
    if ast.get_docstring(node, clean=False) is not None:
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines
