"""The acceptance suite's test_kernel_apps, by reference."""

from __future__ import annotations

from tests.integration.references import suite

globals().update(suite("test_kernel_apps", without=("test_tasks_run_where_they_should",)))
