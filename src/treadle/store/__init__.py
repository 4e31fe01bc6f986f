"""The durable store behind memoization and checkpoints (bytes in, bytes out, nothing unpickled); and
the objects of workers, in memory that processes share.

What is named here is the former's, and is looked up when first used: processes that import
`objects` or `mapping` have no use for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treadle.store._group import Ticket
    from treadle.store.compaction import compact
    from treadle.store.index import CheckpointIndex
    from treadle.store.log import CheckpointLog, LogStatistics, new_checkpoint_directory
    from treadle.store.report import FileReport, ScanReport
    from treadle.store.secret import load_or_create_secret, read_secret
    from treadle.store.trust import check_trusted

__all__ = [
    "CheckpointIndex",
    "CheckpointLog",
    "FileReport",
    "LogStatistics",
    "ScanReport",
    "Ticket",
    "check_trusted",
    "compact",
    "load_or_create_secret",
    "new_checkpoint_directory",
    "read_secret",
]

#: Where the names are.
_LATER = {
    "CheckpointIndex": "treadle.store.index",
    "CheckpointLog": "treadle.store.log",
    "FileReport": "treadle.store.report",
    "LogStatistics": "treadle.store.log",
    "ScanReport": "treadle.store.report",
    "Ticket": "treadle.store._group",
    "check_trusted": "treadle.store.trust",
    "compact": "treadle.store.compaction",
    "load_or_create_secret": "treadle.store.secret",
    "new_checkpoint_directory": "treadle.store.log",
    "read_secret": "treadle.store.secret",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module  # noqa: PLC0415 - see the head

    if name not in _LATER:
        raise AttributeError(f"module 'treadle.store' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
