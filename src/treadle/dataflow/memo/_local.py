"""What belongs to the project, and what is installed.

Code of the project is edited between runs, so its digest is taken from the code. Installed code
changes with its distribution's version, so its name and that version stand for it. The project
is everything but the standard library, `site-packages` and Treadle itself: `__main__`,
notebooks, modules beside the script, editable installs.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from functools import cache
from types import ModuleType

_INSTALLED_FOLDERS = frozenset({"site-packages", "dist-packages"})
_STANDARD_LIBRARY = tuple(
    os.path.join(os.path.realpath(path), "")
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    if path
)
_OWN = "treadle"

_known: dict[str, bool] = {}


def is_local(module_name: object) -> bool:
    """Whether a module's code is the project's."""
    if not isinstance(module_name, str):
        return True
    known = _known.get(module_name)
    if known is None:
        known = _decide(module_name)
        if module_name in sys.modules:
            _known[module_name] = known
    return known


def is_local_import(module_name: str) -> bool | None:
    """Whether a module that may not be imported yet is the project's; None: nobody has it."""
    if module_name in sys.modules:
        return is_local(module_name)
    top = module_name.partition(".")[0]
    if top in sys.modules:
        return is_local(top)
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.origin is None:
        return _of_folders(list(spec.submodule_search_locations or ()))
    return spec.origin not in ("built-in", "frozen") and _of_file(spec.origin)


def installed_name(module_name: str) -> str:
    """A module that is not the project's, with the version of what brought it."""
    top = module_name.partition(".")[0]
    version = _version(top)
    return f"{module_name}=={version}" if version else module_name


def _decide(name: str) -> bool:
    if name == "__main__":
        return True
    top = name.partition(".")[0]
    if top == _OWN or top in sys.builtin_module_names:
        return False
    module = sys.modules.get(name)
    if not isinstance(module, ModuleType):
        # Executed text, or a module under a false name: what is not known is not trusted.
        return top == name or top not in sys.modules or is_local(top)
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return _of_file(file)
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    if origin in ("built-in", "frozen"):
        return False
    return _of_folders(list(getattr(module, "__path__", ())))


def _of_folders(folders: list[str]) -> bool:
    return not folders or _of_file(os.path.join(folders[0], ""))


def _of_file(path: str) -> bool:
    if path.startswith("<"):
        return True
    path = os.path.realpath(path)
    if not _INSTALLED_FOLDERS.isdisjoint(path.split(os.sep)):
        return False
    return not path.startswith(_STANDARD_LIBRARY)


@cache
def _version(top: str) -> str:
    # Lazy: half of what importing Treadle may cost, for programs that use no other package.
    import importlib.metadata  # noqa: PLC0415

    if top in sys.stdlib_module_names or top == _OWN:
        return ""
    try:
        return importlib.metadata.version(top)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        names = _distributions().get(top, ())
    try:
        return ",".join(sorted({importlib.metadata.version(name) for name in names}))
    except importlib.metadata.PackageNotFoundError:
        return ""


@cache
def _distributions() -> dict[str, list[str]]:
    # By what they install, which need not be their name; lazy as above.
    import importlib.metadata  # noqa: PLC0415

    return {top: list(names) for top, names in importlib.metadata.packages_distributions().items()}
