"""Print the store's rates on this machine: `python bench/store.py [directory]`.

Puts of 200-byte payloads under 32-byte keys: one commit each, and one commit per 100, for both
durabilities; then the rate of a scan that indexes and verifies everything, and of lazy reads.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from treadle.store import (
    CheckpointIndex,
    CheckpointLog,
    load_or_create_secret,
    new_checkpoint_directory,
)

if TYPE_CHECKING:
    from treadle.store.log import Durability

PAYLOAD = os.urandom(200)


def key(number: int) -> str:
    return hashlib.blake2b(str(number).encode(), digest_size=32).hexdigest()


def puts(
    root: Path, name: str, durability: Durability, count: int, group: int, threads: int = 1
) -> None:
    secret = load_or_create_secret(root)
    keys = [key(i) for i in range(count)]
    with CheckpointLog(
        new_checkpoint_directory(root / name), secret, run_id=name, durability=durability
    ) as log:

        def write(mine: list[str]) -> None:
            for start in range(0, len(mine), group):
                log.commit(log.append_many((k, PAYLOAD) for k in mine[start : start + group]))

        workers = [threading.Thread(target=write, args=(keys[i::threads],)) for i in range(threads)]
        started = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = time.perf_counter() - started
    print(f"{durability:8} group {group:4} threads {threads:3}: {count / took:12,.0f} puts/s")


def reads(root: Path, name: str) -> None:
    directory = root / name / "checkpoint"
    size = sum(path.stat().st_size for path in directory.iterdir())
    started = time.perf_counter()
    with CheckpointIndex.open([directory]) as index:
        took = time.perf_counter() - started
        print(f"scan: {len(index) / took:,.0f} records/s, {size / took / 1e6:,.0f} MB/s")
        keys = list(index.keys())[:50_000]
        started = time.perf_counter()
        for k in keys:
            index.get(k)
        print(f"get: {len(keys) / (time.perf_counter() - started):,.0f} records/s")


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as folder:
        root = Path(folder) / "runinfo"
        puts(root, "000", "process", 50_000, 1)
        puts(root, "001", "process", 300_000, 100)
        puts(root, "002", "process", 50_000, 1, threads=8)
        puts(root, "003", "power", 1_000, 1)
        puts(root, "004", "power", 50_000, 100)
        puts(root, "005", "power", 5_000, 1, threads=64)
        reads(root, "001")


if __name__ == "__main__":
    main()
