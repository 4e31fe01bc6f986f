"""Parsl's ready configuration for threads."""

from __future__ import annotations

from treadle.config import Config
from treadle.executors import ThreadPoolExecutor

config = Config(executors=[ThreadPoolExecutor()])
