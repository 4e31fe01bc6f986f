"""What must still be so for a remembered digest to hold.

A digest of code is remembered with the identity of everything it was made from. Looking that up
again is cheap; so a global that is bound anew, a cell that is filled anew, a method that is
replaced are all seen at the next call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CellType, FunctionType

#: Stands for what is not there.
MISSING = object()


class Guard:
    """Remembers where values were found, and tells whether they are still there."""

    __slots__ = ("_cells", "_functions", "_names", "_spaces")

    def __init__(self) -> None:
        self._names: list[tuple[Mapping[str, Any], str, Any]] = []
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any]] = []
        self._spaces: list[tuple[Mapping[str, Any], dict[str, Any]]] = []

    def look_up(self, space: Mapping[str, Any], name: str) -> Any:
        """The value of a name in a module, or MISSING; it is to stay the same."""
        value = space.get(name, MISSING)
        self._names.append((space, name, value))
        return value

    def look_into(self, cell: CellType) -> Any:
        """The value in a cell, or MISSING; it is to stay the same."""
        value = _contents(cell)
        self._cells.append((cell, value))
        return value

    def watch_function(self, function: FunctionType) -> None:
        """Its code and its defaults are to stay the same."""
        parts = (function.__code__, function.__defaults__, function.__kwdefaults__)
        self._functions.append((function, *parts))

    def watch_space(self, space: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a namespace, which is to stay the same as a whole."""
        copy = dict(space)
        self._spaces.append((space, copy))
        return copy

    def holds(self) -> bool:
        """Whether everything is as it was."""
        for space, name, value in self._names:
            if space.get(name, MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _contents(cell) is not value:
                return False
        for function, code, defaults, kwdefaults in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not kwdefaults
            ):
                return False
        return all(_is_same(space, copy) for space, copy in self._spaces)


def _contents(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return MISSING


def _is_same(space: Mapping[str, Any], copy: dict[str, Any]) -> bool:
    if len(space) != len(copy):
        return False
    return all(copy.get(name, MISSING) is value for name, value in dict(space).items())
