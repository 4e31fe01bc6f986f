"""How another Python is started that is like this one, and finds the same Treadle.

Imported before anything else in processes whose first result somebody waits for: it costs nothing.
"""

from __future__ import annotations

import os
import site
import sys
from typing import Final

#: What BLAS, OpenMP and their like read when they are loaded.
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


def python_command() -> list[str]:
    """This Python, with the switches that change what code means.

    `-P`: what happens to lie in the working directory is none of the engine's modules.

    Raises:
        ConfigurationError: it is not known where it is.
    """
    if not sys.executable:
        from treadle.errors import ConfigurationError  # noqa: PLC0415 - see the head

        raise ConfigurationError(
            "sys.executable is empty: this program embeds Python, and a cluster starts processes "
            "with it; set sys.executable to the path of a Python that has Treadle"
        )
    flags = sys.flags
    switches = [
        ("-P", True),
        ("-O", flags.optimize == 1),
        ("-OO", flags.optimize > 1),
        ("-B", bool(flags.dont_write_bytecode)),
        ("-s", bool(flags.no_user_site)),
        ("-E", bool(flags.ignore_environment)),
    ]
    return [sys.executable, *(switch for switch, wanted in switches if wanted)]


def environment() -> dict[str, str]:
    """This process's environment, with which another Python finds the same Treadle."""
    root = os.path.abspath(f"{__file__}/../../..")
    path = os.environ.get("PYTHONPATH", "")
    known = [*path.split(os.pathsep), *site.getsitepackages(), site.getusersitepackages()]
    if root in known or sys.flags.ignore_environment:
        return dict(os.environ)
    return {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{path}" if path else root}


def thread_variables(threads: int) -> dict[str, str]:
    """What tells libraries to use so many threads. To be set before they are loaded."""
    return {name: str(threads) for name in _THREAD_VARIABLES}
