"""The acceptance suite's test_kernel_futures, by reference."""

from __future__ import annotations

from tests.integration.references import suite

#: What a sink runs can be stopped; the others are about threads; a list in a list in a list, three
#: thousand deep, is more than can be searched for futures or pickled.
WITHOUT = (
    "test_what_runs_in_a_thread_is_not_cancelled",
    "test_what_queues_at_its_executor_is_cancelled",
    "test_a_future_tells_whether_it_runs",
    "test_a_very_long_selection_does_not_recurse",
)

globals().update(suite("test_kernel_futures", without=WITHOUT))
