"""Parsl's ready configuration for one machine: a block of workers."""

from __future__ import annotations

from treadle.config import Config
from treadle.executors import HighThroughputExecutor
from treadle.providers import LocalProvider

config = Config(
    executors=[
        HighThroughputExecutor(
            label="htex_local",
            cores_per_worker=1,
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
    ],
    strategy="none",
)
