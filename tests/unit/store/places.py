"""A run root with checkpoints for tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from treadle.store import (
    CheckpointIndex,
    CheckpointLog,
    load_or_create_secret,
    new_checkpoint_directory,
)


def key(name: object) -> str:
    """A key as memoization makes them."""
    return hashlib.blake2b(str(name).encode(), digest_size=32).hexdigest()


def checkpoint(root: Path, run: str = "000") -> tuple[Path, bytes]:
    """A checkpoint directory below a run root, and the root's secret."""
    secret = load_or_create_secret(root)
    return new_checkpoint_directory(root / run), secret


def written(root: Path, items: Mapping[str, bytes], run: str = "000") -> Path:
    """A checkpoint directory that holds these records, closed in order."""
    directory, secret = checkpoint(root, run)
    with CheckpointLog(directory, secret, run_id=run) as log:
        log.append_many(items.items())
    return directory


def contents(*directories: Path) -> dict[str, bytes | None]:
    """What an index finds."""
    with CheckpointIndex.open(directories) as index:
        return {name: index.get(name) for name in index.keys()}  # noqa: SIM118 - it is no dict


def only_segment(directory: Path) -> Path:
    """The one segment in a directory."""
    (segment,) = directory.glob("segment-*.tlog")
    return segment


def replace_bytes(path: Path, offset: int, new: bytes) -> None:
    """Damage a file in place."""
    with open(path, "r+b") as file:
        os.lseek(file.fileno(), offset, os.SEEK_SET)
        os.write(file.fileno(), new)
