"""May a failed task try again? The budget, and nothing else, decides.

Each failure costs 1, or what the user's retry handler says; the costs add up, and a task is tried
again while their sum is within the budget. A cost of 0 is free, so a handler may allow endless
retries; infinity or NaN forbid any more.
"""

from __future__ import annotations


def charge(spent: float, cost: float, budget: float) -> tuple[float, bool]:
    """Add the cost of a failure; tell whether another attempt is allowed."""
    total = spent + cost
    return total, total <= budget
