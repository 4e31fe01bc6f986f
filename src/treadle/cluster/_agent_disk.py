"""Objects go to disk and come back, on threads of their own: the loop never waits for a disk."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from treadle import worker
from treadle.errors import StoreDamaged

if TYPE_CHECKING:
    import asyncio
    from concurrent.futures import ThreadPoolExecutor

    from treadle.wire import TaskId
    from treadle.worker import ShellEvent

    Key = tuple[TaskId, int]

_log = logging.getLogger(__name__)

#: More would only move the disk's head to and fro.
THREADS: Final = 2


class Mover(Protocol):
    """What moves objects; both may take long, and raise OSError or StoreDamaged."""

    def spill(self, key: Key) -> None:
        """Write the object to disk and free its memory."""

    def restore(self, key: Key) -> None:
        """Bring it back."""


class Disk:
    """Carries out spills and restores, and tells how they ended.

    Args:
        tell: is given the answers, on the loop.
        threads: where it is done.
    """

    def __init__(
        self,
        mover: Mover,
        loop: asyncio.AbstractEventLoop,
        tell: Callable[[ShellEvent], None],
        threads: ThreadPoolExecutor,
    ) -> None:
        self._mover = mover
        self._loop = loop
        self._tell = tell
        self._threads = threads

    def spill(self, command: worker.Spill) -> None:
        """Have an object written."""
        self._threads.submit(self._spill, command.id, command.attempt)

    def restore(self, command: worker.Restore) -> None:
        """Have an object brought back."""
        self._threads.submit(self._restore, command.id, command.attempt)

    # --- on a helper thread ----------------------------------------------------------------------

    def _spill(self, id: TaskId, attempt: int) -> None:
        try:
            self._mover.spill((id, attempt))
        except Exception as error:  # noqa: BLE001 - whatever it is, the machine waits for an answer
            _log.warning("an object cannot be written to disk: %s", error)
            self._answer(worker.NotSpilled(id, attempt, str(error)))
        else:
            self._answer(worker.Spilled(id, attempt))

    def _restore(self, id: TaskId, attempt: int) -> None:
        try:
            self._mover.restore((id, attempt))
        except Exception as error:  # noqa: BLE001 - as above
            damaged = isinstance(error, StoreDamaged)
            _log.warning("an object cannot be read back: %s", error)
            why = f"its copy on disk is damaged: {error}" if damaged else str(error)
            self._answer(worker.NotRestored(id, attempt, why))
        else:
            self._answer(worker.Restored(id, attempt))

    def _answer(self, event: ShellEvent) -> None:
        try:
            self._loop.call_soon_threadsafe(self._tell, event)
        except RuntimeError:  # the loop is closed: nobody waits
            pass
