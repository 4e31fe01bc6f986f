"""All measures by name: each takes a started engine and a size, and returns figures by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import _graphs
import _simple

if TYPE_CHECKING:
    from collections.abc import Callable

    from _engine import Engine

MEASURES: dict[str, Callable[[Engine, int], _simple.Figures]] = {
    "submit": _simple.submit_loop,
    "map": _simple.mapped,
    "round-trip": _simple.round_trip,
    "chain": _graphs.chain,
    "held-chain": _graphs.held_chain,
    "fan-out": _graphs.fan_out,
    "fan-in": _graphs.fan_in,
    "memory": _simple.pending_memory,
    "million": _simple.many,
    "cached": _simple.cached,
    "checkpoint": _simple.cached,
}
