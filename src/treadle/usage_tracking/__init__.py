"""Telling, to an address of your own choice, that Treadle is used; off unless asked."""

from __future__ import annotations

from treadle.usage_tracking.tracker import ADDRESS_VARIABLE, UsageTracker, usage_level

__all__ = ["ADDRESS_VARIABLE", "UsageTracker", "usage_level"]
