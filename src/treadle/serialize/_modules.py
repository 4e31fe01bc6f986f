"""Which classes and functions can a worker find by their names?

What lies in an installed package: yes. `__main__` and the modules beside the script: no, unless
the worker shares our file system, which nobody knows here. A decorated function: by its app.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

#: What every pickler of ours writes.
PROTOCOL = 5

_by_value_modules: dict[str, bool] = {}


def travels_by_value(name: str | None) -> bool:
    """Whether the module lies beside the script, so that other machines cannot import it."""
    if name is None:
        return False
    known = _by_value_modules.get(name)
    if known is not None:
        return known
    module = sys.modules.get(name)
    if module is None:
        return False
    known = _by_value_modules[name] = _lies_beside_script(module)
    return known


def _lies_beside_script(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        folder = _script_folder(script or os.path.join(os.getcwd(), "(interactive)"))
    except OSError:
        return False  # the working directory has been removed
    if not isinstance(file, str) or folder is None:
        return False
    file = os.path.realpath(file)
    return _is_under(file, folder) and not any(_is_under(file, f) for f in _installed_folders())


@lru_cache(maxsize=8)
def _script_folder(script: str) -> str | None:
    """Where the script lies; None where it is a program that was installed (pytest, jupyter)."""
    path = os.path.realpath(script)
    if any(_is_under(path, folder) for folder in _installed_folders()):
        return None
    return os.path.dirname(path)


@lru_cache(maxsize=1)
def _installed_folders() -> tuple[str, ...]:
    import sysconfig  # noqa: PLC0415 - only for programs that use other processes

    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in names}
    # Treadle itself is installed wherever it lies: a worker could not run without it.
    folders.add(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    return tuple(folders)


def _is_under(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def module_of(obj: object) -> str | None:
    """The name of a module, or of the one that a class or function says it is of."""
    # None where a class or function was made by hand; another type where a user made it so.
    module = getattr(obj, "__name__" if isinstance(obj, ModuleType) else "__module__", None)
    return module if isinstance(module, str) else None


def reference_through_app(obj: Any) -> Any:
    """Name a decorated function by its app: `module.name` is the app, the app has the function."""
    if not isinstance(obj, FunctionType):
        return NotImplemented
    module, name = obj.__module__, obj.__qualname__
    found = look_up(module, name)
    if found is None or found is obj or isinstance(found, type):
        return NotImplemented
    if getattr(found, "func", None) is obj:
        return _import_function_of_app, (module, name)
    return NotImplemented


def look_up(module: str | None, qualname: str) -> Any:
    """What an imported module has under this name, or None; never raises."""
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        if found is None or part == "<locals>":
            return None
        try:
            found = getattr(found, part, None)
        except BaseException:  # noqa: BLE001 - a property or module __getattr__ of the user's
            return None
    return found


def import_object(module: str, qualname: str) -> Any:
    """Import a module and get what it has under this name."""
    __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _import_function_of_app(module: str, qualname: str) -> Any:
    return import_object(module, qualname).func
