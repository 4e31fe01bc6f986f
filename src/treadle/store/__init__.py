"""The durable store behind memoization and checkpoints: bytes in, bytes out, nothing unpickled."""

from __future__ import annotations

from treadle.store._group import Ticket
from treadle.store.compact import compact
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
