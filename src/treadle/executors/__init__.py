"""Executors: where tasks run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.executors.base import ParslExecutor
from treadle.executors.threads import ThreadPoolExecutor

if TYPE_CHECKING:
    from treadle.executors.cluster import ClusterExecutor
    from treadle.executors.high_throughput import HighThroughputExecutor

__all__ = ["ClusterExecutor", "HighThroughputExecutor", "ParslExecutor", "ThreadPoolExecutor"]

#: What is loaded when it is first used, and where it is: threads need none of it.
_LATER = {
    "ClusterExecutor": "treadle.executors.cluster",
    "HighThroughputExecutor": "treadle.executors.high_throughput",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
