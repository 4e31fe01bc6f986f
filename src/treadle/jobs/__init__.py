"""Who looks after blocks: one thread for each executor that has any."""

from __future__ import annotations

from treadle.jobs.job_status_poller import JobStatusPoller

__all__ = ["JobStatusPoller"]
