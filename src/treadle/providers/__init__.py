"""Providers: who starts blocks, asks how they are, and ends them."""

from __future__ import annotations

from treadle.providers.local import LocalProvider
from treadle.providers.provider_base import ExecutionProvider, JobState, JobStatus

__all__ = ["ExecutionProvider", "JobState", "JobStatus", "LocalProvider"]
