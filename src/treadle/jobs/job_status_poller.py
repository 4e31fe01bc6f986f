"""All of a kernel's executors that have blocks, and the watches over them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from treadle.jobs._watch import Watch


class JobStatusPoller:
    """Looks after the blocks of executors.

    Args:
        strategy: how many blocks there are: 'simple', 'htex_auto_scale', 'none' or None.
        strategy_period: seconds between two looks at an executor's blocks.
        max_idletime: seconds for which blocks without work are kept.
    """

    def __init__(
        self,
        *,
        strategy: str | None = "simple",
        strategy_period: float = 5,
        max_idletime: float = 120.0,
    ) -> None:
        self.strategy = strategy or "none"
        self.strategy_period = strategy_period
        self.max_idletime = max_idletime
        self._watches: dict[str, Watch] = {}

    def add(self, executor: Any) -> None:
        """Look after an executor from now on, if it has blocks; its `init_blocks` are started."""
        has_blocks = getattr(executor, "scaling_enabled", False)
        if not has_blocks or getattr(executor, "provider", None) is None:
            return
        from treadle.jobs._watch import watch_over  # noqa: PLC0415 - 20 ms, for who has blocks

        self._watches[executor.label] = watch_over(
            executor,
            strategy=self.strategy,
            period_s=self.strategy_period,
            max_idle_s=self.max_idletime,
        )

    def add_executors(self, executors: Iterable[Any]) -> None:
        """Look after these, too."""
        for executor in executors:
            self.add(executor)

    def release(self, executor: Any, *, wait: bool) -> None:
        """End an executor's blocks and look after it no more; may be called again if interrupted.

        Args:
            wait: until its open tasks have ended; blocks are started for them as before.
        """
        watch = self._watches.get(executor.label)
        if watch is not None:
            watch.finish(wait=wait)
            executor._on_nudge = None
            self._watches.pop(executor.label, None)

    def explain(self, label: str) -> str:
        """Why tasks of an executor may be waiting for blocks, in one sentence; '' without any."""
        watch = self._watches.get(label)
        return "" if watch is None else watch.explain()
