"""Which cores and accelerators a slot has, and the variables that tell libraries so."""

from __future__ import annotations

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


def thread_variables(threads: int) -> dict[str, str]:
    """What tells libraries to use so many threads. To be set before they are loaded."""
    return {name: str(threads) for name in _THREAD_VARIABLES}
