"""May a failed task try again? The budget, and nothing else, decides.

Each failure costs 1, or what the user's retry handler says; the costs add up, and a task is tried
again while their sum is within the budget. A cost of 0 is free, so a handler may allow endless
retries, and a negative one gives back; infinity or NaN forbid any more, whatever the budget.
"""

from __future__ import annotations

_INFINITE = float("inf")


def charge(spent: float, cost: float, budget: float) -> tuple[float, bool]:
    """Add the cost of a failure; tell whether another attempt is allowed."""
    try:
        total = spent + float(cost)
    except OverflowError:  # an integer that no float can hold
        total = _INFINITE
    return total, total <= budget and total != _INFINITE
