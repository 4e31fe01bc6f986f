"""Pure modules decide and do nothing else: no clock, dice, threads, sockets, files, logs, pickles.

A second gate beside import-linter's, which sees modules only: calls, and orders that would differ
from run to run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.house import CONTRACTS, name_of, pure_modules, run_time_imports, tree_of

FORBIDDEN_MODULES = frozenset(CONTRACTS["purity"]["forbidden_modules"])
#: Acts, or answers that differ from run to run. (`id` does too, but is a good key of a dictionary.)
FORBIDDEN_CALLS = frozenset(
    {"open", "print", "input", "eval", "exec", "compile", "globals", "breakpoint", "hash"}
)

EACH_PURE_MODULE = pytest.mark.parametrize("path", pure_modules(), ids=name_of)


def test_the_machine_is_among_the_pure_modules():
    names = {name_of(path) for path in pure_modules()}
    assert {"treadle.dataflow._machine", "treadle.dataflow._transitions"} <= names


@EACH_PURE_MODULE
def test_a_pure_module_imports_nothing_that_acts(path):
    found = [
        f"line {line}: {module}"
        for line, module, _ in run_time_imports(tree_of(path))
        if module in FORBIDDEN_MODULES or module.split(".")[0] in FORBIDDEN_MODULES
    ]
    assert found == []


@EACH_PURE_MODULE
def test_a_pure_module_calls_nothing_that_acts(path):
    found = [
        f"line {node.lineno}: {node.func.id}()"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in FORBIDDEN_CALLS
    ]
    assert found == []


@EACH_PURE_MODULE
def test_a_pure_module_does_not_walk_through_a_set(path):
    found = [f"line {node.lineno}" for node in walked_through(tree_of(path)) if is_set(node)]
    assert found == [], "the order of a set is not the same in every run; sort it, or keep a dict"


def walked_through(tree: ast.AST) -> Iterator[ast.expr]:
    for node in ast.walk(tree):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.iter


def is_set(node: ast.expr) -> bool:
    if isinstance(node, ast.Set | ast.SetComp):
        return True
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in {"set", "frozenset"}
    )
