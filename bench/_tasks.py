"""What the tasks of the benchmarks do: as little as possible. Importable, so any process finds it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import threading


def noop(*_args: Any, **_kwargs: Any) -> None:
    """Take anything and return nothing: the cost of the call is the engine's."""


def hold(gate: threading.Event, *_args: Any) -> None:
    """Occupy a thread until the gate opens."""
    gate.wait()
