"""What tasks print: one pair of files for each place of a slot, and an index of what is whose.

A slot writes to its files itself (its standard output and error are these), so nothing of a flood
passes through the agent. What a task has written is known when it has ended, from how much the
files have grown; it is noted in the index, and passed on to who wants to see it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from treadle.cluster._agent_slot import SlotEnd
    from treadle.wire import Run, TaskId


class Output:
    """Files and index of one worker; nothing is kept without a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        #: Which place a slot has: files are appended to by one slot after the other.
        self._places: dict[int, int] = {}

    def open(self, slot: int) -> tuple[int, int]:
        """The files of a slot that is to be started: of its output, and of its errors."""
        taken = set(self._places.values())
        place = self._places[slot] = next(i for i in range(len(taken) + 1) if i not in taken)
        if not self._folder:
            return os.open(os.devnull, os.O_WRONLY), os.open(os.devnull, os.O_WRONLY)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        out = os.open(os.path.join(self._folder, f"slot-{place}.out"), flags, 0o600)
        try:
            err = os.open(os.path.join(self._folder, f"slot-{place}.err"), flags, 0o600)
        except BaseException:
            os.close(out)
            raise
        return out, err

    def close(self, slot: int) -> None:
        """A slot has ended."""
        self._places.pop(slot, None)

    def end(self) -> None:
        """No slot is left."""

    def printed(self, slot: SlotEnd, run: Run, id: TaskId, grown: tuple[int, int]) -> None:
        """A task has ended, and its files have grown by so much."""

    def died(self, slot: SlotEnd, run: Run, name: str, id: TaskId) -> None:
        """A slot has died in a task."""
