"""From a name of Parsl's to the object here, through the table.

Everything is looked up when it is first asked for: importing Parsl's face must not import all of
Treadle, and a worker that only needs one class must not pay for the rest.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from treadle.compat.parsl._table import TABLE, Row


class _Missing:
    """Stands for "no such object": None may be a value."""


MISSING = _Missing()


def find(path: str, name: str) -> Any:
    """The object that stands for `parsl.<path>.<name>`, or MISSING."""
    row = TABLE[path]
    here = row.names.get(name, name)
    if here.startswith("_"):
        return MISSING
    for home in row.homes:
        module = _import_if_there(home)
        found = MISSING if module is None else getattr(module, here, MISSING)
        # A name that the table does not have may be a convenience of a home of ours, but never
        # one of the modules that the home happens to import.
        if found is not MISSING and (name in row.names or not isinstance(found, ModuleType)):
            return found
    return MISSING


def available(path: str) -> list[str]:
    """The names of `parsl.<path>` that exist here."""
    return [name for name in TABLE[path].names if find(path, name) is not MISSING]


def exists(path: str) -> bool:
    """Whether `parsl.<path>` can be imported: one of its names, or of its submodules', is here."""
    row = TABLE[path]
    if any(find(path, name) is not MISSING for name in row.names):
        return True
    return any(exists(other) for other in TABLE if _parent(other) == path and other != path)


def is_known_name(path: str, name: str) -> bool:
    """Whether Parsl has this name, be it here or not."""
    row: Row | None = TABLE.get(path)
    return row is not None and name in row.names


def not_yet(path: str, name: str = "") -> str:
    """What to say of a name of Parsl's that is not here."""
    full = ".".join(part for part in ("parsl", path, name) if part)
    return (
        f"Treadle does not have {full} yet; what it has of Parsl's interface is listed in "
        f"docs/howto/from-parsl.md"
    )


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _import_if_there(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # Only if it is the home itself that is missing, not something that the home needs.
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            return None
        raise
