"""The acceptance suite's test_kernel_retries, by reference."""

from __future__ import annotations

from tests.integration.references import suite

#: They say how often each executor pickles, and of which that is not asked.
WITHOUT = (
    "test_a_task_is_pickled_once_however_often_it_is_tried",
    "test_an_argument_that_raises_when_pickled_is_the_tasks_error",
)

globals().update(suite("test_kernel_retries", without=WITHOUT))
