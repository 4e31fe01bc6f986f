"""What a process runs on: its Python, its system, its packages. Reads files: not for a loop."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any, Final

from treadle._version import VERSION

#: Packages whose versions matter between processes: what is pickled here is loaded there.
PACKAGES: Final = ("msgspec", "cloudpickle", "psutil", "numpy", "pandas")


def versions_here(packages: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """'host': of this machine; 'packages': by name, None where one is not installed.

    Args:
        packages: names of others that are asked for.
    """
    host = {
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "system": platform.system(),
        "release": platform.release(),
        "machine": platform.machine(),
    }
    found: dict[str, Any] = {"python": host["python"], "treadle": VERSION}
    for name in dict.fromkeys((*PACKAGES, *packages)):
        if name not in found:
            found[name] = _version_of(name)
    return {"host": host, "packages": found}


def _version_of(package: str) -> str | None:
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return None
