"""Modules that exist only in the table: how `import parsl.dataflow.states` finds ours.

A finder answers for one root. The one for `treadle.compat.parsl` is always there, so that
`from treadle.compat.parsl.config import Config` works; the one for `parsl` itself only between
`install()` and `uninstall()`, and then before any Parsl that may be installed.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

from treadle.compat.parsl._lookup import (
    MISSING,
    available,
    exists,
    find,
    is_known_name,
    not_yet,
)
from treadle.compat.parsl._table import PARSL_VERSION, TABLE

if TYPE_CHECKING:
    from types import ModuleType

#: Set for the processes that this one starts, while `parsl` is ours.
VARIABLE = "TREADLE_COMPAT_PARSL"

_FACE = "treadle.compat.parsl"


class TableFinder(MetaPathFinder):
    """Finds the modules of the table below one root."""

    def __init__(self, root: str) -> None:
        self.root = root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The spec of a module of the table; raises for one that Treadle does not have yet."""
        if fullname == self.root:
            return self._spec(fullname, "") if self.root != _FACE else None
        if not fullname.startswith(self.root + "."):
            return None
        inner = fullname[len(self.root) + 1 :]
        if inner in TABLE:
            if exists(inner):
                return self._spec(fullname, inner)
            raise ModuleNotFoundError(not_yet(inner), name=fullname)
        parent, _, name = inner.rpartition(".")
        if is_known_name(parent, name):
            # `from parsl.x import Name` comes here after the attribute was not there.
            raise ImportError(not_yet(parent, name), name=fullname)
        return None

    def _spec(self, fullname: str, path: str) -> ModuleSpec:
        spec = ModuleSpec(fullname, _TableLoader(self.root, path), is_package=True)
        spec.origin = f"treadle's table for parsl.{path}".rstrip(".")
        return spec


class _TableLoader(Loader):
    def __init__(self, root: str, path: str) -> None:
        self._root = root
        self._path = path

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        # A plain module with PEP 562 functions: picklers know those and no subclass.
        attribute, names = attributes_of(self._root, self._path)
        vars(module)["__getattr__"] = attribute
        vars(module)["__dir__"] = names
        if not self._path:
            vars(module)["__version__"] = PARSL_VERSION


def attributes_of(root: str, path: str) -> tuple[Any, Any]:
    """`__getattr__` and `__dir__` for the module that stands for `parsl.<path>` below a root."""
    fullname = f"{root}.{path}" if path else root

    def __getattr__(name: str) -> Any:
        if name == "__all__":
            return available(path)
        if name.startswith("__"):
            raise AttributeError(f"module {fullname!r} has no attribute {name!r}")
        if (f"{path}.{name}" if path else name) in TABLE and not is_known_name(path, name):
            try:
                return importlib.import_module(f"{fullname}.{name}")
            except ModuleNotFoundError as error:
                raise AttributeError(str(error)) from None
        found = find(path, name)
        if found is MISSING:
            if is_known_name(path, name):
                raise AttributeError(not_yet(path, name))
            raise AttributeError(f"module {fullname!r} has no attribute {name!r}")
        vars(sys.modules[fullname])[name] = found
        return found

    def __dir__() -> list[str]:
        prefix = f"{path}." if path else ""
        inner = [p[len(prefix) :] for p in TABLE if p.startswith(prefix) and p != path]
        return sorted({*available(path), *(p for p in inner if "." not in p and p)})

    return __getattr__, __dir__


# --- the root `parsl` --------------------------------------------------------------------------

_finder = TableFinder("parsl")


def is_installed() -> bool:
    """Whether `import parsl` gives Treadle in this process."""
    return _finder in sys.meta_path


def install() -> None:
    """Make `import parsl` give Treadle, in this process and in those that it starts.

    Raises:
        ImportError: another `parsl` has been imported already.
    """
    if is_installed():
        return
    if "parsl" in sys.modules:
        raise ImportError(
            "parsl has been imported already, and it is not Treadle; call "
            "treadle.compat.parsl.install() before the first `import parsl`",
            name="parsl",
        )
    sys.meta_path.insert(0, _finder)
    os.environ[VARIABLE] = "1"
    _install_in_spawned_children()


def uninstall() -> None:
    """Take back `install()`; modules that were imported meanwhile keep what they hold."""
    if not is_installed():
        return
    sys.meta_path.remove(_finder)
    os.environ.pop(VARIABLE, None)
    for name in [n for n in sys.modules if n == "parsl" or n.startswith("parsl.")]:
        del sys.modules[name]


def install_from_environment() -> bool:
    """What a worker calls first: `install()`, if the process that started it had done so.

    Returns:
        Whether `import parsl` gives Treadle now.
    """
    if os.environ.get(VARIABLE) == "1" and "parsl" not in sys.modules:
        install()
    return is_installed()


# --- children that multiprocessing starts anew -------------------------------------------------


class _InstallWhenLoaded:
    """Unpickling it calls `install_from_environment`."""

    def __reduce__(self) -> tuple[Callable[[], bool], tuple[()]]:
        return install_from_environment, ()


def _install_in_spawned_children() -> None:
    # A spawned child imports the script, and with it `parsl`, before any code of ours runs. What
    # it reads first is a dict of preparations, of which it ignores the keys it does not know.
    import multiprocessing.spawn as spawn  # noqa: PLC0415 - only in this mode

    original: Callable[[str], dict[str, Any]] = spawn.get_preparation_data
    if getattr(original, "installs_parsl", False):
        return

    def get_preparation_data(name: str) -> dict[str, Any]:
        # Always there: after `uninstall` the variable is gone, and it does nothing.
        return {"treadle.compat.parsl": _InstallWhenLoaded(), **original(name)}

    vars(get_preparation_data)["installs_parsl"] = True
    spawn.get_preparation_data = get_preparation_data
