"""Executors: where tasks run."""

from __future__ import annotations

from treadle.executors.base import ParslExecutor
from treadle.executors.threads import ThreadPoolExecutor

__all__ = ["ParslExecutor", "ThreadPoolExecutor"]
