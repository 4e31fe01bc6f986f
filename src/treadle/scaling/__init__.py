"""How many blocks do we want? A pure machine: what is there goes in, orders come out."""

from __future__ import annotations

from treadle.scaling._events import (
    Closing,
    Command,
    Event,
    Limits,
    Looked,
    ScaleIn,
    ScaleOut,
    Started,
)
from treadle.scaling._history import EARLY_S, History, Past
from treadle.scaling._machine import STRATEGIES, Scaler
from treadle.scaling._states import TERMINAL_STATES, JobState

__all__ = [
    "EARLY_S",
    "STRATEGIES",
    "TERMINAL_STATES",
    "Closing",
    "Command",
    "Event",
    "History",
    "JobState",
    "Limits",
    "Looked",
    "Past",
    "ScaleIn",
    "ScaleOut",
    "Scaler",
    "Started",
]
